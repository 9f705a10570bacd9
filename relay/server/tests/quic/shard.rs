//! The loop of a shard with the real ring and the real steering, and echo in place of the relay's logic.

use crate::world::{Tls, keys};
use relay_server::ring::{
    Completion, OutgoingDatagrams, Ring, RingConfig, SendRefusal, UdpKey, Waker, socket,
};
use relay_server::transport::quic::{Issuer, QuicConfig, QuicEndpoint, QuicEvent, QuicLimits, Via};
use relay_server::transport::steer;
use schema_wire::Frame;
use schema_wire::frame::Lane;
use schema_wire::v1::{Pong, ServerFrame, server_frame};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

/// A frame of this body makes the shard close the connection with code 4000, after everything queued.
pub const CLOSE: &[u8] = b"close";

#[derive(Debug, Default)]
pub struct Report {
    pub opened: usize,
    pub opened_early: usize,
    pub moved: usize,
    pub coalesced: usize,
    pub segmented: usize,
}

pub struct Node {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    shards: Vec<(Waker, JoinHandle<Report>)>,
}

impl Node {
    pub fn start(tls: &Tls, shards: u8) -> Node {
        let sockets = socket::open_udp("127.0.0.1:0".parse().unwrap(), shards.into()).unwrap();
        steer::attach(&sockets).unwrap();
        let address = socket::local_address(&sockets[0]).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let start = |(shard, socket): (u8, OwnedFd)| {
            let config = QuicConfig {
                issuer: Issuer { shard, generation: 1, node: 1 },
                shards,
                tls: tls.server.clone(),
                limits: QuicLimits::default(),
                keys: keys(),
                dont_fragment: true,
                seed: None,
            };
            let (stop, (wakers, waker)) = (stop.clone(), mpsc::channel());
            let thread = std::thread::spawn(move || {
                let ring = Ring::new(&small_ring()).unwrap();
                wakers.send(ring.waker()).unwrap();
                Shard::new(ring, socket, &config).run(&stop)
            });
            (waker.recv().unwrap(), thread)
        };
        let shards = (0..).zip(sockets).map(start).collect();
        Node { address, stop, shards }
    }

    pub fn stop(self) -> Vec<Report> {
        self.stop.store(true, Ordering::SeqCst);
        let end = |(waker, thread): (Waker, JoinHandle<Report>)| {
            waker.wake();
            thread.join().unwrap()
        };
        self.shards.into_iter().map(end).collect()
    }
}

/// Many tests run at once, and the kernel counts every ring against one limit of locked memory.
fn small_ring() -> RingConfig {
    RingConfig {
        submissions: 128,
        completions: 512,
        receive_buffers: 4,
        datagram_buffers: 16,
        datagram_sends_max: 64,
        ..RingConfig::default()
    }
}

struct Shard {
    ring: Ring,
    udp: UdpKey,
    quic: QuicEndpoint,
    events: Vec<QuicEvent>,
    refused: Option<OutgoingDatagrams>,
    report: Report,
}

impl Shard {
    fn new(mut ring: Ring, socket: OwnedFd, config: &QuicConfig) -> Shard {
        let udp = ring.add_udp(socket).unwrap();
        let quic = QuicEndpoint::new(config).unwrap();
        Shard { ring, udp, quic, events: Vec::new(), refused: None, report: Report::default() }
    }

    fn run(mut self, stop: &AtomicBool) -> Report {
        while !stop.load(Ordering::SeqCst) {
            self.receive();
            self.quic.handle_timeout(Instant::now(), &mut self.events);
            self.answer();
            self.send();
            let wait = self.quic.next_timeout().map(|at| at.saturating_duration_since(Instant::now()));
            self.ring.wait(wait).unwrap();
        }
        self.report
    }

    fn receive(&mut self) {
        let Shard { ring, quic, events, report, .. } = self;
        let now = Instant::now();
        ring.turn(&mut |completion| match completion {
            Completion::Datagram(got) => {
                report.coalesced += usize::from(got.segment < got.bytes.len());
                quic.handle_datagram(now, got.from, got.to_ip, got.ecn, got.segment, got.bytes, events);
            }
            Completion::DatagramSent { error, segmented, .. } => {
                // Probes for a larger MTU may exceed the interface's.
                assert!(error.is_none_or(|errno| errno == libc::EMSGSIZE), "{error:?}");
                report.segmented += usize::from(segmented);
            }
            _ => unreachable!("there is one UDP socket"),
        })
        .unwrap();
    }

    fn answer(&mut self) {
        let now = Instant::now();
        let mut more = Vec::new();
        for event in self.events.drain(..) {
            match event {
                QuicEvent::Opened { early, .. } => {
                    self.report.opened += 1;
                    self.report.opened_early += usize::from(early);
                }
                QuicEvent::PeerMoved { .. } => self.report.moved += 1,
                QuicEvent::Frame { handle, bytes, .. } if bytes == CLOSE => {
                    self.quic.close_after_flush(now, handle, 4_000, "DRAINING", &mut more);
                }
                QuicEvent::Frame { handle, bytes, via: Via::Datagram, .. } => {
                    let _ = self.quic.write(handle, &echo(&bytes, Lane::Ephemeral));
                }
                QuicEvent::Frame { handle, bytes, .. } => {
                    let lane = Lane::Conversation(bytes[0].into());
                    self.quic.write(handle, &echo(&bytes, Lane::Control)).unwrap();
                    self.quic.write(handle, &echo(&bytes, lane)).unwrap();
                }
                QuicEvent::Confirmed { .. } | QuicEvent::Writable { .. } | QuicEvent::Closed { .. } => {}
            }
        }
        assert_eq!(more, [], "a flush takes at least one round trip");
    }

    fn send(&mut self) {
        let now = Instant::now();
        loop {
            let out = match self.refused.take() {
                Some(out) => out,
                None => {
                    let mut payload = self.ring.slab();
                    let Some(next) = self.quic.poll_transmit(now, &mut payload) else { return };
                    OutgoingDatagrams {
                        to: next.to,
                        from_ip: next.src_ip,
                        ecn: next.ecn,
                        segment: next.segment_size,
                        payload,
                    }
                }
            };
            let (to, from_ip, ecn, segment) = (out.to, out.from_ip, out.ecn, out.segment);
            match self.ring.send_datagrams(self.udp, out) {
                Ok(()) => {}
                Err((SendRefusal::Full, payload)) => {
                    self.refused = Some(OutgoingDatagrams { to, from_ip, ecn, segment, payload });
                    return;
                }
                Err((refusal, _)) => panic!("{refusal:?}"),
            }
        }
    }
}

/// What the shard answers: the bytes inside a real frame.
pub fn echo(bytes: &bytes::Bytes, lane: Lane) -> Frame {
    let pong = Pong { payload: bytes.clone(), ..Pong::default() };
    Frame::new(&ServerFrame { body: Some(server_frame::Body::Pong(pong)), ..ServerFrame::default() }, lane)
}
