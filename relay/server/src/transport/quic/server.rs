//! All QUIC connections of one shard on its UDP socket: carries datagrams between the ring and the endpoint,
//! and frames between the endpoint and the sessions' outboxes. Decides nothing about messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use schema_wire::frame::Lane;
use schema_wire::{AddressSet, Disconnect, Frame, SessionId};

use super::run::Runs;
use super::{QuicEndpoint, QuicEvent, QuicHandle, Transmit, WriteError};
use crate::ring::{Datagram, OutgoingDatagrams, Ring, SendRefusal, Slab, UdpKey};
use crate::transport::Outboxes;

/// The QUIC side of one shard.
pub struct QuicServer {
    endpoint: QuicEndpoint,
    /// The sockets, and whether each is an IPv4 one.
    sockets: Vec<(bool, UdpKey)>,
    sessions: HashMap<QuicHandle, Peer>,
    /// Connections with frames waiting.
    dirty: Vec<QuicHandle>,
    runs: Runs,
    /// Packets that found no free send.
    unsent: Option<OutgoingDatagrams>,
    /// Sends since the kernel was last handed some.
    queued: usize,
    /// Whether packets may wait inside the endpoint.
    active: bool,
}

/// Frames of blocked lanes that wait beside the outbox, so that other conversations go on. Beyond, all lanes wait; the run
/// that goes beyond is parked whole.
const PARKED_MAX: usize = 64;

/// Sends that are handed to the kernel together.
const SENDS_AT_ONCE: usize = 16;

struct Peer {
    session: SessionId,
    /// Frames whose lane had no room, oldest first; they go before anything newer of their lane.
    parked: VecDeque<Frame>,
    /// Since when some wait.
    waiting_since: Option<Instant>,
}

impl QuicServer {
    /// The endpoint on the UDP sockets that the ring knows; each with whether it is an IPv4 one.
    pub fn new(endpoint: QuicEndpoint, sockets: Vec<(bool, UdpKey)>) -> Self {
        Self {
            endpoint,
            sockets,
            sessions: HashMap::new(),
            dirty: Vec::new(),
            runs: Runs::default(),
            unsent: None,
            queued: 0,
            active: false,
        }
    }

    /// Connections, handshakes included.
    pub fn live(&self) -> usize {
        self.endpoint.connections()
    }

    /// Takes what one receive brought.
    pub fn receive(&mut self, now: Instant, datagram: &Datagram<'_>, events: &mut Vec<QuicEvent>) {
        let (from, to_ip, ecn) = (datagram.from, datagram.to_ip, datagram.ecn);
        self.endpoint.handle_datagram(now, from, to_ip, ecn, datagram.segment, datagram.bytes, events);
        self.active = true;
    }

    /// Takes the passing of time.
    pub fn on_time(&mut self, now: Instant, events: &mut Vec<QuicEvent>) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(now, events);
            self.active = true;
        }
    }

    /// When `on_time` has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }

    /// Binds a connection to its session.
    pub fn bind(&mut self, handle: QuicHandle, session: SessionId) {
        self.sessions.insert(handle, Peer { session, parked: VecDeque::new(), waiting_since: None });
    }

    /// The session of a connection.
    pub fn session(&self, handle: QuicHandle) -> Option<SessionId> {
        self.sessions.get(&handle).map(|peer| peer.session)
    }

    /// Every session with a living connection.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.sessions.values().map(|peer| peer.session).collect()
    }

    /// Every session whose connection had no room for all it should get: how many frames and bytes wait beside its outbox,
    /// and since when.
    pub fn behind(&self) -> impl Iterator<Item = (SessionId, usize, usize, Instant)> {
        self.sessions.values().filter_map(|peer| {
            let bytes = peer.parked.iter().map(Frame::body_len).sum();
            Some((peer.session, peer.parked.len(), bytes, peer.waiting_since?))
        })
    }

    /// The connection is over.
    pub fn unbind(&mut self, handle: QuicHandle) -> Option<SessionId> {
        self.sessions.remove(&handle).map(|peer| peer.session)
    }

    /// Something waits for this connection.
    pub fn mark(&mut self, handle: QuicHandle) {
        self.dirty.push(handle);
    }

    /// Hands over what the outbox still holds, as far as there is room, and says goodbye behind it.
    pub fn close(
        &mut self,
        now: Instant,
        handle: QuicHandle,
        with: Disconnect,
        mut frames: impl Iterator<Item = Frame>,
        events: &mut Vec<QuicEvent>,
    ) {
        self.fill(now, handle, &mut frames);
        self.sessions.remove(&handle);
        self.endpoint.close_after_flush(now, handle, u32::from(with.code()), with.name(), events);
        self.active = true;
    }

    /// From now on nobody from these addresses is let in.
    pub fn ban(&mut self, banned: Arc<AddressSet>) {
        self.endpoint.ban(banned);
    }

    /// Refuses new connections from now on.
    pub fn drain(&mut self) {
        self.endpoint.drain();
    }

    /// Moves waiting frames into streams and packets into the ring.
    pub fn flush(&mut self, ring: &mut Ring, now: Instant, outboxes: &mut impl Outboxes) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for handle in dirty.drain(..) {
            if let Some(session) = self.session(handle) {
                self.fill(now, handle, &mut outboxes.of(session));
                self.transmit_from(ring, now, handle);
            }
        }
        self.dirty = dirty;
        self.runs.forget();
        if self.active {
            self.transmit(ring, now);
        }
    }

    fn fill(&mut self, now: Instant, handle: QuicHandle, frames: &mut impl Iterator<Item = Frame>) {
        self.hand_over(handle, frames);
        if let Some(peer) = self.sessions.get_mut(&handle) {
            peer.waiting_since = (!peer.parked.is_empty()).then(|| peer.waiting_since.unwrap_or(now));
        }
    }

    fn hand_over(&mut self, handle: QuicHandle, frames: &mut impl Iterator<Item = Frame>) {
        let Some(peer) = self.sessions.get_mut(&handle) else { return };
        self.active = true;
        let mut blocked = Blocked::default();
        for _ in 0..peer.parked.len() {
            let frame = peer.parked.pop_front().expect("counted");
            match blocked.write(&mut self.endpoint, handle, &frame) {
                Sent::Taken => {}
                Sent::Waits => peer.parked.push_back(frame),
                Sent::Over => return peer.parked.clear(),
            }
        }
        while peer.parked.len() < PARKED_MAX {
            let Some(frame) = frames.next() else { break };
            if !self.runs.fits(&frame)
                && blocked.write_run(&mut self.endpoint, handle, &mut self.runs, &mut peer.parked).is_err()
            {
                return peer.parked.clear();
            }
            self.runs.push(frame);
        }
        if blocked.write_run(&mut self.endpoint, handle, &mut self.runs, &mut peer.parked).is_err() {
            peer.parked.clear();
        }
    }

    /// Sends what one connection has, unless others wait for a free send.
    fn transmit_from(&mut self, ring: &mut Ring, now: Instant, handle: QuicHandle) {
        while self.unsent.is_none() {
            let mut payload: Slab = ring.slab();
            let Some(transmit) = self.endpoint.poll_transmit_from(handle, now, &mut payload) else { return };
            self.send(ring, outgoing(transmit, payload));
        }
    }

    fn transmit(&mut self, ring: &mut Ring, now: Instant) {
        if let Some(out) = self.unsent.take()
            && !self.send(ring, out)
        {
            return;
        }
        loop {
            let mut payload: Slab = ring.slab();
            let Some(transmit) = self.endpoint.poll_transmit(now, &mut payload) else {
                self.active = false;
                return;
            };
            if !self.send(ring, outgoing(transmit, payload)) {
                return;
            }
        }
    }

    /// False when the ring has no free send: the packets are kept and go first next time.
    fn send(&mut self, ring: &mut Ring, out: OutgoingDatagrams) -> bool {
        let (to, from_ip, ecn, segment) = (out.to, out.from_ip, out.ecn, out.segment);
        let same_family = self.sockets.iter().find(|(ipv4, _)| *ipv4 == to.is_ipv4());
        let Some((_, udp)) = same_family.or(self.sockets.first()) else { return true };
        match ring.send_datagrams(*udp, out) {
            Ok(()) => {
                self.queued += 1;
                if self.queued >= SENDS_AT_ONCE {
                    self.queued = 0;
                    ring.send_now();
                }
                true
            }
            Err((SendRefusal::Full, payload)) => {
                self.unsent = Some(OutgoingDatagrams { to, from_ip, ecn, segment, payload });
                false
            }
            // Datagrams may be lost: QUIC sends again what mattered.
            Err(_) => true,
        }
    }
}

fn outgoing(transmit: Transmit, payload: Slab) -> OutgoingDatagrams {
    let (to, from_ip) = (transmit.to, transmit.src_ip);
    OutgoingDatagrams { to, from_ip, ecn: transmit.ecn, segment: transmit.segment_size, payload }
}

/// What became of a frame that was offered to the endpoint.
enum Sent {
    Taken,
    Waits,
    Over,
}

/// Lanes that had no room in this round: what follows on them waits too, so that their order is kept.
#[derive(Default)]
struct Blocked(u64);

impl Blocked {
    fn write(&mut self, endpoint: &mut QuicEndpoint, handle: QuicHandle, frame: &Frame) -> Sent {
        let bit = 1u64 << lane_bit(frame.lane());
        if self.0 & bit != 0 {
            return Sent::Waits;
        }
        match endpoint.write(handle, frame) {
            Ok(_) => Sent::Taken,
            Err(WriteError::Closed) => Sent::Over,
            Err(WriteError::Blocked) => {
                self.0 |= bit;
                Sent::Waits
            }
        }
    }

    /// Offers the run that was collected; what has to wait is parked. An error means that the connection is over.
    fn write_run(
        &mut self,
        endpoint: &mut QuicEndpoint,
        handle: QuicHandle,
        runs: &mut Runs,
        parked: &mut VecDeque<Frame>,
    ) -> Result<(), WriteError> {
        let Some(lane) = runs.lane() else { return Ok(()) };
        let bit = 1u64 << lane_bit(lane);
        let (run, frames) = runs.joined();
        let offered = frames.len();
        let taken = match self.0 & bit {
            0 => endpoint.write_run(handle, &run, frames, lane),
            _ => Ok(0),
        };
        if let Ok(taken) = taken
            && taken < offered
        {
            self.0 |= bit;
        }
        parked.extend(runs.rest(*taken.as_ref().unwrap_or(&offered)));
        taken.map(drop)
    }
}

/// Conversations that share a bit wait together, which costs independence and never order.
fn lane_bit(lane: Lane) -> u64 {
    match lane {
        Lane::Control => 0,
        Lane::Ephemeral => 1,
        Lane::Conversation(spread) => 2 + spread % 61,
    }
}
