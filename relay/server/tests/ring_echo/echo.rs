//! A shard that echoes: the loop that a real shard has, without protocol.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use glommio::{LocalExecutorBuilder, Placement};
use relay_server::ring::{
    Completion, OutgoingDatagrams, Ring, RingConfig, SendRefusal, SlabPool, StreamKey, UdpKey, Waker, socket,
};

/// A session with more unsent than this receives nothing until it is sent.
const UNSENT_MAX: usize = 64 * 1024;

const RUNNING: u8 = 0;
const STOPPING: u8 = 1;
const ABANDONED: u8 = 2;

pub type Ping = (u64, mpsc::Sender<u64>);

pub struct Echo {
    pub tcp: SocketAddr,
    pub udp: SocketAddr,
    pub waker: Waker,
    pub inbox: mpsc::Sender<Ping>,
    /// How often the shard stopped receiving from someone.
    pub pauses: Arc<AtomicUsize>,
    order: Arc<AtomicU8>,
    shard: JoinHandle<Report>,
}

#[derive(Debug, Default)]
pub struct Report {
    pub peers: Vec<SocketAddr>,
    pub coalesced_datagrams: usize,
    pub ecn_seen: Vec<u8>,
    pub starved: u64,
}

impl Echo {
    pub fn start(config: RingConfig) -> Self {
        Self::start_on(IpAddr::from([127, 0, 0, 1]), config)
    }

    pub fn start_on(ip: IpAddr, config: RingConfig) -> Self {
        let any = SocketAddr::from((ip, 0));
        let listener = socket::open_tcp(any, 1).unwrap().remove(0);
        let datagrams = socket::open_udp(any, 1).unwrap().remove(0);
        let tcp = socket::local_address(&listener).unwrap();
        let udp = socket::local_address(&datagrams).unwrap();
        let (inbox, pings) = mpsc::channel();
        let order = Arc::new(AtomicU8::new(RUNNING));
        let (wakers, waker) = mpsc::channel();
        let ordered = order.clone();
        let pauses = Arc::new(AtomicUsize::new(0));
        let counted = pauses.clone();
        let shard = LocalExecutorBuilder::new(Placement::Fixed(0))
            .name("echo")
            .spawn(move || async move {
                let ring = Ring::new(&config).unwrap();
                wakers.send(ring.waker()).unwrap();
                Shard::new(ring, pings, ordered, counted).run(listener, datagrams)
            })
            .unwrap();
        let waker = waker.recv().unwrap();
        Self {
            tcp,
            udp,
            waker,
            inbox,
            pauses,
            order,
            shard: std::thread::spawn(move || shard.join().unwrap()),
        }
    }

    pub fn stop(self) -> Report {
        self.end(STOPPING)
    }

    pub fn abandon(self) {
        self.end(ABANDONED);
    }

    fn end(self, order: u8) -> Report {
        self.order.store(order, Ordering::SeqCst);
        self.waker.wake();
        self.shard.join().unwrap()
    }
}

#[derive(Default)]
struct Session {
    unsent: Vec<u8>,
    paused: bool,
    ended: bool,
}

enum Due {
    Stream(StreamKey),
    Add(OwnedFd),
    Close(StreamKey),
    Datagrams(UdpKey, OutgoingDatagrams),
}

struct Shard {
    ring: Ring,
    slabs: SlabPool,
    pings: mpsc::Receiver<Ping>,
    order: Arc<AtomicU8>,
    pauses: Arc<AtomicUsize>,
    sessions: HashMap<StreamKey, Session>,
    waiting: Vec<Due>,
    report: Report,
}

impl Shard {
    fn new(ring: Ring, pings: mpsc::Receiver<Ping>, order: Arc<AtomicU8>, pauses: Arc<AtomicUsize>) -> Self {
        let slabs = ring.slabs().clone();
        let (sessions, waiting, report) = Default::default();
        Self { ring, slabs, pings, order, pauses, sessions, waiting, report }
    }

    fn run(mut self, listener: OwnedFd, datagrams: OwnedFd) -> Report {
        let listener = self.ring.add_listener(listener).unwrap();
        let udp = self.ring.add_udp(datagrams).unwrap();
        loop {
            let done = self.turn();
            match self.order.load(Ordering::SeqCst) {
                RUNNING => {}
                STOPPING => {
                    self.ring.close_listener(listener);
                    if self.sessions.is_empty() {
                        self.ring.close_udp(udp);
                    }
                    if self.ring.counters().operations_in_flight == 0 {
                        break;
                    }
                }
                _ => return self.report,
            }
            if done == 0 {
                self.ring.wait(None).unwrap();
            }
        }
        self.check_empty();
        self.report.starved = self.ring.counters().receives_starved;
        self.report
    }

    fn check_empty(&self) {
        let counters = self.ring.counters();
        assert_eq!(counters.streams, 0);
        assert_eq!(counters.listeners, 0);
        assert_eq!(counters.udp_sockets, 0);
        assert_eq!(counters.datagram_sends_in_flight, 0);
        assert_eq!(counters.slabs_outstanding, 0);
        assert_eq!(counters.datagrams_dropped, 0);
    }

    fn turn(&mut self) -> usize {
        let mut due = std::mem::take(&mut self.waiting);
        let (sessions, report, slabs) = (&mut self.sessions, &mut self.report, &self.slabs);
        let done = self.ring.turn(&mut |completion| match completion {
            Completion::Accepted { socket, peer, .. } => {
                report.peers.push(peer);
                due.push(Due::Add(socket));
            }
            Completion::Received { stream, bytes } => {
                sessions.get_mut(&stream).expect("a known session").unsent.extend_from_slice(bytes);
                due.push(Due::Stream(stream));
            }
            Completion::Eof { stream } => {
                sessions.get_mut(&stream).expect("a known session").ended = true;
                due.push(Due::Stream(stream));
            }
            Completion::Sent { stream, .. } => due.push(Due::Stream(stream)),
            Completion::Failed { stream, .. } => due.push(Due::Close(stream)),
            Completion::Datagram(datagram) => {
                assert!(datagram.to_ip.is_some(), "the local address is told");
                report.coalesced_datagrams += usize::from(datagram.segment < datagram.bytes.len());
                if !report.ecn_seen.contains(&datagram.ecn) {
                    report.ecn_seen.push(datagram.ecn);
                }
                let mut payload = slabs.take();
                payload.extend_from_slice(datagram.bytes);
                let out = OutgoingDatagrams {
                    to: datagram.from,
                    from_ip: datagram.to_ip,
                    ecn: datagram.ecn,
                    segment: u16::try_from(datagram.segment).ok(),
                    payload,
                };
                due.push(Due::Datagrams(datagram.udp, out));
            }
            Completion::DatagramSent { error, .. } => assert_eq!(error, None),
            Completion::AcceptFailed { errno, .. } => panic!("accept failed with {errno}"),
        });
        let done = done.unwrap() + self.answer_pings();
        due.into_iter().for_each(|due| self.perform(due));
        done
    }

    fn answer_pings(&mut self) -> usize {
        self.pings.try_iter().filter(|(ping, answer)| answer.send(*ping).is_ok()).count()
    }

    fn perform(&mut self, due: Due) {
        match due {
            Due::Add(socket) => {
                let key = self.ring.add_stream(socket).unwrap();
                self.sessions.insert(key, Session::default());
            }
            Due::Close(stream) => {
                self.ring.close(stream);
                self.sessions.remove(&stream);
            }
            Due::Stream(stream) => self.flush(stream),
            Due::Datagrams(udp, out) => self.send_datagrams(udp, out),
        }
    }

    fn send_datagrams(&mut self, udp: UdpKey, out: OutgoingDatagrams) {
        let (to, from_ip, ecn, segment) = (out.to, out.from_ip, out.ecn, out.segment);
        if let Err((refusal, payload)) = self.ring.send_datagrams(udp, out) {
            assert_eq!(refusal, SendRefusal::Full);
            self.waiting.push(Due::Datagrams(udp, OutgoingDatagrams { to, from_ip, ecn, segment, payload }));
        }
    }

    fn flush(&mut self, stream: StreamKey) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        if session.unsent.len() > UNSENT_MAX && !session.paused {
            session.paused = true;
            self.pauses.fetch_add(1, Ordering::SeqCst);
            self.ring.pause_recv(stream);
        }
        if !self.ring.can_send(stream) {
            return;
        }
        if !session.unsent.is_empty() {
            let mut slab = self.slabs.take();
            slab.append(&mut session.unsent);
            self.ring.send(stream, slab).map_err(|(refusal, _)| refusal).unwrap();
        } else if session.ended {
            self.ring.finish(stream);
            self.ring.close(stream);
            self.sessions.remove(&stream);
            return;
        }
        if session.paused && session.unsent.is_empty() {
            session.paused = false;
            self.ring.resume_recv(stream);
        }
    }
}
