//! The front door of QUIC for one shard: routes datagrams, time, writes and closes to connections, and
//! hands out packets. Answers outside a connection wait in one bounded queue.

use super::admission::{Admission, Load, admit};
use super::config::{QuicConfig, QuicLimits, quic_crypto};
use super::connection::Peer;
use super::deadlines::Deadlines;
use super::error::{CloseCause, QuicConfigError, WriteError};
use super::event::{ConnectionInfo, QuicCounters, QuicEvent, QuicHandle, Transmit, Wrote};
use bytes::{Bytes, BytesMut};
use quinn_proto::{ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, Incoming, ServerConfig};
use schema_wire::frame::Lane;
use schema_wire::{AddressSet, Frame};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Longest run of packets in one send, in bytes: below what the kernel takes (65,507), and short enough that the slab
/// which carries it is kept for the next.
const SEND_BYTES_MAX: usize = 48 * 1024;

/// QUIC for one shard. Holds no socket and reads no clock.
///
/// After every call that may change something, send what [`QuicEndpoint::poll_transmit`] gives until it
/// gives nothing, and wake [`QuicEndpoint::handle_timeout`] at [`QuicEndpoint::next_timeout`].
pub struct QuicEndpoint {
    inner: Endpoint,
    server: ServerConfig,
    limits: QuicLimits,
    peers: Vec<Option<Box<Peer>>>,
    live: usize,
    handshakes: usize,
    serial: u32,
    /// Slots of connections that may have packets to send. An entry counts only while its connection is `queued`.
    ready: VecDeque<u32>,
    deadlines: Deadlines,
    answers: VecDeque<(Transmit, Vec<u8>)>,
    scratch: Vec<u8>,
    touched: Vec<u32>,
    draining: bool,
    banned: Arc<AddressSet>,
    counters: QuicCounters,
}

impl QuicEndpoint {
    /// Makes the endpoint of one shard.
    pub fn new(config: &QuicConfig) -> Result<QuicEndpoint, QuicConfigError> {
        let built = config.build()?;
        let server = Arc::new(built.server.clone());
        let inner = Endpoint::new(Arc::new(built.endpoint), Some(server), config.dont_fragment, None);
        Ok(QuicEndpoint {
            inner,
            server: built.server,
            limits: config.limits.clone(),
            peers: Vec::new(),
            live: 0,
            handshakes: 0,
            serial: 0,
            ready: VecDeque::new(),
            deadlines: Deadlines::default(),
            answers: VecDeque::new(),
            scratch: Vec::new(),
            touched: Vec::new(),
            draining: false,
            banned: Arc::default(),
            counters: QuicCounters::default(),
        })
    }

    /// Uses another certificate for handshakes from now on; live connections keep theirs.
    pub fn set_tls(&mut self, tls: &Arc<rustls::ServerConfig>) -> Result<(), QuicConfigError> {
        self.server.crypto = quic_crypto(tls)?;
        self.inner.set_server_config(Some(Arc::new(self.server.clone())));
        Ok(())
    }

    /// Takes what one receive brought: one datagram, or several of `segment` bytes each (the last may be
    /// shorter) from one sender. `ecn` is the two ECN bits of the IP header.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one received message")]
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to_ip: Option<IpAddr>,
        ecn: u8,
        segment: usize,
        bytes: &[u8],
        events: &mut Vec<QuicEvent>,
    ) {
        let step = if segment == 0 { bytes.len().max(1) } else { segment };
        for datagram in bytes.chunks(step) {
            self.counters.datagrams_received += 1;
            self.scratch.clear();
            let data = BytesMut::from(datagram);
            let ecn = EcnCodepoint::from_bits(ecn);
            match self.inner.handle(now, from, to_ip, ecn, data, &mut self.scratch) {
                None => {}
                Some(DatagramEvent::ConnectionEvent(at, event)) => {
                    self.peer_at(at).conn.handle_event(event);
                    self.touch(at);
                }
                Some(DatagramEvent::NewConnection(incoming)) => self.on_incoming(now, incoming),
                Some(DatagramEvent::Response(transmit)) => self.answer(transmit),
            }
        }
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            self.settle(slot, now, events);
        }
        self.touched = touched;
    }

    /// Takes the passing of time: everything due at `now` is done.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut Vec<QuicEvent>) {
        while let Some(slot) = self.deadlines.due(now) {
            let peer = self.peers[slot as usize].as_mut().expect("an armed slot is occupied");
            let was_handshaking = peer.is_handshaking();
            if peer.on_deadline(now, events) {
                self.counters.handshake_timeouts += 1;
            }
            self.handshakes -= usize::from(was_handshaking && !peer.is_handshaking());
            self.settle(slot, now, events);
        }
    }

    /// When to call [`QuicEndpoint::handle_timeout`]; None when nothing waits for time.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Fills `buf` with the next packets to one address, as many as fit one send, and says where they
    /// go. Connections take turns. None when there is nothing to send now.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        if let Some((transmit, bytes)) = self.answers.pop_front() {
            buf.extend_from_slice(&bytes);
            return Some(transmit);
        }
        while let Some(slot) = self.ready.pop_front() {
            if let Some(transmit) = self.poll_slot(slot, now, buf) {
                self.ready.push_back(slot);
                return Some(transmit);
            }
        }
        None
    }

    /// The same for one connection, whose state is still at hand after a write.
    pub(super) fn poll_transmit_from(
        &mut self,
        handle: QuicHandle,
        now: Instant,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        buf.clear();
        if !self.live_peer(handle)?.queued {
            return None;
        }
        let transmit = self.poll_slot(handle.slot, now, buf);
        // Its place in the queue; one among others is left, and found empty later.
        if transmit.is_none() && self.ready.back() == Some(&handle.slot) {
            self.ready.pop_back();
        }
        transmit
    }

    /// Fills `buf` with the next packets of one connection; without any, it leaves the queue and waits for time.
    fn poll_slot(&mut self, slot: u32, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        // A connection that was asked by itself, or is gone, may have left an entry behind.
        let peer = self.peers[slot as usize].as_mut().filter(|peer| peer.queued)?;
        let fitting = SEND_BYTES_MAX / usize::from(peer.conn.current_mtu());
        let segments = self.limits.segments_max.min(fitting).max(1);
        if let Some(transmit) = peer.conn.poll_transmit(now, segments, buf) {
            return Some(convert(&transmit));
        }
        peer.queued = false;
        self.deadlines.arm(slot, peer.deadline());
        None
    }

    /// Queues a frame for the client, on the stream or datagram of its lane: wholly, or not at all with
    /// the reason.
    pub fn write(&mut self, handle: QuicHandle, frame: &Frame) -> Result<Wrote, WriteError> {
        self.write_bytes(handle, frame.quic(), frame.lane())
    }

    /// Queues frames of one lane, which `run` holds one behind the other, and says how many were taken: each wholly
    /// or not at all. Ephemeral frames are always taken; those without room are dropped.
    pub(super) fn write_run(
        &mut self,
        handle: QuicHandle,
        run: &Bytes,
        frames: &[Frame],
        lane: Lane,
    ) -> Result<usize, WriteError> {
        let peer = self.live_peer(handle).ok_or(WriteError::Closed)?;
        if lane == Lane::Ephemeral && peer.takes_datagrams() {
            for frame in frames {
                self.write(handle, frame)?;
            }
            return Ok(frames.len());
        }
        let lens = frames.iter().map(|frame| frame.quic().len());
        let mut taken = peer.write_run(run, lens, lane)?;
        if lane == Lane::Ephemeral {
            self.counters.ephemeral_dropped += (frames.len() - taken) as u64;
            taken = frames.len();
        }
        self.enqueue(handle.slot);
        Ok(taken)
    }

    /// The same for bytes that are already a frame behind its length prefix.
    pub fn write_bytes(
        &mut self,
        handle: QuicHandle,
        frame: &Bytes,
        lane: Lane,
    ) -> Result<Wrote, WriteError> {
        let peer = self.live_peer(handle).ok_or(WriteError::Closed)?;
        let result = peer.write(frame, lane);
        if result == Ok(Wrote::Dropped) {
            self.counters.ephemeral_dropped += 1;
        }
        self.enqueue(handle.slot);
        result
    }

    /// Stops (`false`) or resumes (`true`) reading the client's control stream: its window then fills and
    /// the client waits. Datagrams are read on.
    pub fn set_reading(&mut self, handle: QuicHandle, on: bool, now: Instant, events: &mut Vec<QuicEvent>) {
        let flush_until = now + self.limits.flush_deadline;
        let Some(peer) = self.live_peer(handle) else { return };
        peer.set_reading(on, now, events, flush_until);
        self.settle(handle.slot, now, events);
    }

    /// Closes at once with an application code; queued frames are lost. Reports `Closed`.
    pub fn close(
        &mut self,
        now: Instant,
        handle: QuicHandle,
        code: u32,
        reason: &str,
        events: &mut Vec<QuicEvent>,
    ) {
        let Some(peer) = self.live_peer(handle) else { return };
        let was_handshaking = peer.is_handshaking();
        peer.end(now, code, Bytes::copy_from_slice(reason.as_bytes()), CloseCause::Local(code), events);
        self.handshakes -= usize::from(was_handshaking);
        self.settle(handle.slot, now, events);
    }

    /// Closes with an application code once the client has received everything queued, or when the flush
    /// deadline passes. Takes no further frames meanwhile. Reports `Closed` when it is done.
    pub fn close_after_flush(
        &mut self,
        now: Instant,
        handle: QuicHandle,
        code: u32,
        reason: &str,
        events: &mut Vec<QuicEvent>,
    ) {
        let until = now + self.limits.flush_deadline;
        let Some(peer) = self.live_peer(handle) else { return };
        let was_handshaking = peer.is_handshaking();
        let reason = Bytes::copy_from_slice(reason.as_bytes());
        peer.begin_flush(now, until, code, reason, CloseCause::Local(code), events);
        self.handshakes -= usize::from(was_handshaking && !peer.is_handshaking());
        self.settle(handle.slot, now, events);
    }

    /// What is known about a connection; None when it is over.
    pub fn connection(&mut self, handle: QuicHandle) -> Option<ConnectionInfo> {
        self.live_peer(handle).map(Peer::info)
    }

    /// Refuses every new connection from now on; live ones go on until closed.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Refuses handshakes from these addresses from now on.
    pub fn ban(&mut self, banned: Arc<AddressSet>) {
        self.banned = banned;
    }

    /// Connections held, handshakes and closing ones included.
    pub fn connections(&self) -> usize {
        self.live
    }

    /// Handshakes in progress.
    pub fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// Totals since the start.
    pub fn counters(&self) -> QuicCounters {
        self.counters
    }

    fn on_incoming(&mut self, now: Instant, incoming: Incoming) {
        let load = Load {
            connections: self.live,
            handshakes: self.handshakes,
            closed: self.draining || self.banned.contains(incoming.remote_address().ip()),
        };
        self.scratch.clear();
        match admit(&incoming, load, &self.limits) {
            Admission::Accept => self.accept(now, incoming),
            Admission::Refuse => {
                self.counters.refused += 1;
                let transmit = self.inner.refuse(incoming, &mut self.scratch);
                self.answer(transmit);
            }
            Admission::Retry => match self.inner.retry(incoming, &mut self.scratch) {
                Ok(transmit) => {
                    self.counters.retried += 1;
                    self.answer(transmit);
                }
                Err(error) => self.inner.ignore(error.into_incoming()),
            },
        }
    }

    fn accept(&mut self, now: Instant, incoming: Incoming) {
        match self.inner.accept(incoming, now, &mut self.scratch, None) {
            Ok((at, conn)) => {
                self.counters.accepted += 1;
                self.handshakes += 1;
                self.live += 1;
                self.serial = self.serial.wrapping_add(1);
                if self.peers.len() <= at.0 {
                    self.peers.resize_with(at.0 + 1, || None);
                }
                let handle = QuicHandle { slot: slot_of(at), serial: self.serial };
                let before = self.peers[at.0].replace(Box::new(Peer::new(handle, conn, now, &self.limits)));
                assert!(before.is_none(), "quinn-proto reuses a slot only after it drained");
                self.touch(at);
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.answer(transmit);
                }
            }
        }
    }

    /// Queues an answer that belongs to no connection; `scratch` holds its bytes.
    fn answer(&mut self, transmit: quinn_proto::Transmit) {
        if self.answers.len() >= self.limits.answers_max {
            self.counters.answers_dropped += 1;
            return;
        }
        self.answers.push_back((convert(&transmit), self.scratch[..transmit.size].to_vec()));
    }

    /// Drains a connection's reports, then queues it for sending, or frees it when it is gone.
    fn settle(&mut self, slot: u32, now: Instant, events: &mut Vec<QuicEvent>) {
        let Some(peer) = self.peers[slot as usize].as_mut() else { return };
        let was_handshaking = peer.is_handshaking();
        let at = ConnectionHandle(slot as usize);
        peer.settle(now, events, now + self.limits.flush_deadline);
        while let Some(event) = peer.conn.poll_endpoint_events() {
            if let Some(back) = self.inner.handle_event(at, event) {
                peer.conn.handle_event(back);
            }
        }
        if was_handshaking && !peer.is_handshaking() {
            self.handshakes -= 1;
            self.counters.confirmed += u64::from(peer.is_confirmed());
        }
        if peer.conn.is_drained() {
            self.deadlines.disarm(slot);
            self.peers[slot as usize] = None;
            self.live -= 1;
        } else {
            self.enqueue(slot);
        }
    }

    /// Its deadline is looked up when it leaves the queue: what it sends moves it again.
    fn enqueue(&mut self, slot: u32) {
        let peer = self.peers[slot as usize].as_mut().expect("only occupied slots are queued");
        if !peer.queued {
            peer.queued = true;
            self.ready.push_back(slot);
        }
    }

    fn touch(&mut self, at: ConnectionHandle) {
        let slot = slot_of(at);
        if self.touched.last() != Some(&slot) {
            self.touched.push(slot);
        }
    }

    fn peer_at(&mut self, at: ConnectionHandle) -> &mut Peer {
        self.peers[at.0].as_mut().expect("quinn-proto names connections it handed out only")
    }

    fn live_peer(&mut self, handle: QuicHandle) -> Option<&mut Peer> {
        let peer = self.peers.get_mut(handle.slot as usize)?.as_mut()?;
        (peer.handle == handle && peer.is_live()).then_some(peer.as_mut())
    }
}

fn slot_of(at: ConnectionHandle) -> u32 {
    u32::try_from(at.0).expect("connections_max fits 32 bits")
}

fn convert(transmit: &quinn_proto::Transmit) -> Transmit {
    Transmit {
        to: transmit.destination,
        src_ip: transmit.src_ip,
        ecn: transmit.ecn.map_or(0, |ecn| ecn as u8),
        segment_size: transmit
            .segment_size
            .map(|size| u16::try_from(size).expect("a packet is shorter than 64 KiB")),
        len: transmit.size,
    }
}
