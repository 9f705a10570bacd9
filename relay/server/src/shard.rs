//! The body of one shard: a loop on its own core that brings what happened to the mind (`relay_proto::Shard`),
//! performs what it decides, and flushes once per turn. All sockets of the shard sit on its ring.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use relay_proto::{Effects, Event, Waiting, event::Transport};
use schema_wire::frame::Lane;
use schema_wire::{Encoding, Frame, SessionId, ShardId, codec};

use crate::access::Gate;
use crate::clock::Clock;
use crate::mesh::cores::{Inbox, Mail, Postbox};
use crate::mesh::nodes::BusPost;
use crate::metrics::{Counters, ShardMetrics, Snapshot};
use crate::ring::{Completion, Ring, RingError, StreamKey};
use crate::store::StoreThread;
use crate::transport::Outboxes;
use crate::transport::quic::{QuicEvent, QuicHandle, QuicServer};
use crate::transport::websocket::connection::Incoming;
use crate::transport::websocket::server::WebSockets;

/// Mails taken in one turn, so that sockets get their share.
const MAILS_PER_TURN: usize = 4_096;
/// How long goodbyes may take to leave once the shard is told to stop.
const STOP_AFTER: Duration = Duration::from_millis(500);
/// How often sessions on living QUIC connections count as heard; QUIC itself cuts the silent ones.
const QUIC_HEARD_EVERY: Duration = Duration::from_secs(15);
/// Longest sleep without anything to do.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Which transport carries a session.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    WebSocket(StreamKey),
    Quic(QuicHandle),
}

/// What a shard is made of; everything is its own, nothing is shared but the immutable.
pub struct Shard {
    pub(crate) id: ShardId,
    pub(crate) clock: Clock,
    pub(crate) proto: relay_proto::Shard,
    pub(crate) links: HashMap<SessionId, Link>,
    pub(crate) websockets: WebSockets,
    pub(crate) quic: QuicServer,
    pub(crate) postbox: Postbox,
    /// The way to other nodes, if there may be any.
    pub(crate) bus: Option<BusPost>,
    pub(crate) store: StoreThread,
    pub(crate) gate: Arc<Gate>,
    pub(crate) metrics: ShardMetrics,
    /// Events that effects led to; handled before anything else.
    pub(crate) followups: VecDeque<Event>,
    pub(crate) drained: mpsc::Sender<ShardId>,
    inbox: Inbox,
    tls: Arc<rustls::ServerConfig>,
    serial: u64,
    accepted: Vec<(OwnedFd, SocketAddr)>,
    over: Vec<StreamKey>,
    paused: Vec<StreamKey>,
    incoming: Vec<Incoming>,
    quic_events: Vec<QuicEvent>,
    /// When this turn's datagrams were found; they all had arrived by then.
    received_at: Option<Instant>,
    effects: Effects,
    stop_at: Option<Instant>,
    /// When QUIC sessions were last said to live.
    quic_heard: Instant,
}

/// What `Shard::new` puts together.
pub struct Parts {
    pub id: ShardId,
    pub clock: Clock,
    pub proto: relay_proto::Shard,
    pub websockets: WebSockets,
    pub quic: QuicServer,
    pub inbox: Inbox,
    pub postbox: Postbox,
    pub bus: Option<BusPost>,
    pub store: StoreThread,
    pub gate: Arc<Gate>,
    pub tls: Arc<rustls::ServerConfig>,
    pub metrics: ShardMetrics,
    /// Told once when draining is over.
    pub drained: mpsc::Sender<ShardId>,
}

impl Shard {
    /// A shard without connections.
    pub fn new(parts: Parts) -> Self {
        Self {
            id: parts.id,
            clock: parts.clock,
            proto: parts.proto,
            links: HashMap::new(),
            websockets: parts.websockets,
            quic: parts.quic,
            postbox: parts.postbox,
            bus: parts.bus,
            store: parts.store,
            gate: parts.gate,
            metrics: parts.metrics,
            followups: VecDeque::new(),
            drained: parts.drained,
            inbox: parts.inbox,
            tls: parts.tls,
            serial: 0,
            accepted: Vec::new(),
            over: Vec::new(),
            paused: Vec::new(),
            incoming: Vec::new(),
            quic_events: Vec::new(),
            received_at: None,
            effects: Vec::new(),
            stop_at: None,
            quic_heard: Instant::now(),
        }
    }

    /// Runs until told to stop: turn the ring, take the post, mind the time, flush, and sleep when idle. Never hands the
    /// thread back to the executor before that: see `launch`.
    pub fn run(mut self, mut ring: Ring) -> Result<(), RingError> {
        let mut looked = Instant::now();
        while !self.is_over() {
            self.received_at = None;
            let mut busy = ring.turn(&mut |completion| self.on_completion(completion))? > 0;
            busy |= self.settle(&mut ring);
            busy |= self.take_post(&mut ring);
            self.mind_time(&mut ring);
            self.flush(&mut ring);
            let now = Instant::now();
            self.metrics.turns.record(now - std::mem::replace(&mut looked, now));
            if !busy {
                ring.wait(Some(self.sleep()))?;
                looked = Instant::now();
            }
        }
        Ok(())
    }

    /// Brings one event to the mind, performs its effects, then those they led to.
    pub(crate) fn event(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            let mut effects = std::mem::take(&mut self.effects);
            self.proto.handle(self.clock.now(), event, &mut effects);
            for effect in effects.drain(..) {
                self.perform(effect);
            }
            self.effects = effects;
            next = self.followups.pop_front();
        }
    }

    fn on_completion(&mut self, completion: Completion<'_>) {
        match completion {
            Completion::Accepted { socket, peer, .. } => self.accepted.push((socket, peer)),
            Completion::AcceptFailed { errno, .. } => {
                tracing::warn!(errno, "a connection could not be accepted")
            }
            Completion::Received { stream, bytes } => self.on_bytes(stream, bytes),
            Completion::Eof { stream } | Completion::Failed { stream, .. } => self.over.push(stream),
            Completion::Sent { stream, .. } => self.websockets.sent(stream),
            Completion::Datagram(datagram) => {
                let mut events = std::mem::take(&mut self.quic_events);
                let now = *self.received_at.get_or_insert_with(Instant::now);
                self.quic.receive(now, &datagram, &mut events);
                self.on_quic(events);
            }
            // A free send lets packets that waited go at the next flush.
            Completion::DatagramSent { .. } => {}
        }
    }

    fn on_bytes(&mut self, stream: StreamKey, bytes: &mut [u8]) {
        let mut incoming = std::mem::take(&mut self.incoming);
        self.websockets.receive(stream, bytes, self.clock.now().mono_us, &mut incoming);
        for what in incoming.drain(..) {
            self.on_incoming(stream, what);
        }
        self.incoming = incoming;
        if !self.postbox.is_clear() || !self.bus_is_clear() {
            self.paused.push(stream);
        }
    }

    fn on_incoming(&mut self, stream: StreamKey, what: Incoming) {
        let Some(connection) = self.websockets.get(stream) else { return };
        let (session, encoding, peer) = (connection.session, connection.encoding, connection.peer);
        match (what, session) {
            (Incoming::Opened { encoding, bearer }, None) => {
                let session = self.next_session();
                if let Some(connection) = self.websockets.get(stream) {
                    connection.session = Some(session);
                }
                self.links.insert(session, Link::WebSocket(stream));
                self.connected(session, Transport::WebSocket, encoding, peer, bearer);
            }
            (Incoming::Frame(bytes), Some(session)) => self.on_frame(session, &bytes, encoding, false),
            (Incoming::Ended, Some(session)) => {
                if let Some(connection) = self.websockets.get(stream) {
                    connection.session = None;
                }
                self.disconnected(session);
            }
            (Incoming::Alive, Some(session)) => self.event(Event::Heard { session }),
            (Incoming::Alive | Incoming::Opened { .. } | Incoming::Frame(_) | Incoming::Ended, _) => {}
        }
    }

    fn on_quic(&mut self, mut events: Vec<QuicEvent>) {
        for event in events.drain(..) {
            match event {
                QuicEvent::Opened { handle, peer, .. } => {
                    let session = self.next_session();
                    self.quic.bind(handle, session);
                    self.links.insert(session, Link::Quic(handle));
                    self.connected(session, Transport::Quic, Encoding::Proto, peer, None);
                }
                QuicEvent::Frame { handle, bytes, early, .. } => {
                    if let Some(session) = self.quic.session(handle) {
                        self.on_frame(session, &bytes, Encoding::Proto, early);
                    }
                }
                QuicEvent::Writable { handle } => self.quic.mark(handle),
                QuicEvent::Closed { handle, .. } => {
                    if let Some(session) = self.quic.unbind(handle) {
                        self.disconnected(session);
                    }
                }
                QuicEvent::Confirmed { .. } | QuicEvent::PeerMoved { .. } => {}
            }
        }
        self.quic_events = events;
    }

    fn on_frame(&mut self, session: SessionId, bytes: &[u8], encoding: Encoding, early: bool) {
        let started = Instant::now();
        let event = match codec::decode_client(bytes, encoding) {
            Ok(frame) => Event::Received { session, frame, early },
            Err(codec::Undecodable) => Event::Undecodable { session },
        };
        self.metrics.step(schema_wire::Step::Decode, started.elapsed().as_micros() as u64);
        self.event(event);
    }

    fn connected(
        &mut self,
        session: SessionId,
        transport: Transport,
        encoding: Encoding,
        peer: SocketAddr,
        bearer: Option<String>,
    ) {
        let address = Some(peer.ip().to_canonical());
        self.event(Event::Connected { session, transport, encoding, address, bearer });
    }

    fn disconnected(&mut self, session: SessionId) {
        if self.links.remove(&session).is_some() {
            self.event(Event::Disconnected { session });
        }
    }

    fn next_session(&mut self) -> SessionId {
        self.serial += 1;
        SessionId::new(self.id, self.serial)
    }

    /// What completions asked for while the ring was lent out.
    fn settle(&mut self, ring: &mut Ring) -> bool {
        let busy = !self.accepted.is_empty() || !self.over.is_empty();
        let now_us = self.clock.now().mono_us;
        for (socket, peer) in self.accepted.drain(..) {
            self.websockets.accept(ring, socket, peer, &self.tls, now_us);
        }
        for stream in std::mem::take(&mut self.over) {
            if let Some(session) = self.websockets.remove(ring, stream) {
                self.disconnected(session);
            }
        }
        busy
    }

    fn bus_is_clear(&self) -> bool {
        self.bus.as_ref().is_none_or(BusPost::is_clear)
    }

    fn take_post(&mut self, ring: &mut Ring) -> bool {
        for stream in self.paused.iter() {
            ring.pause_recv(*stream);
        }
        let bus_is_clear = self.bus.as_mut().is_none_or(BusPost::flush);
        if self.postbox.flush() && bus_is_clear {
            self.paused.drain(..).for_each(|stream| ring.resume_recv(stream));
        }
        for taken in 0..MAILS_PER_TURN {
            let Some(mail) = self.inbox.take() else { return taken > 0 };
            match mail {
                Mail::Peer { from, frame } => self.event(Event::Peer { from, frame }),
                Mail::Stored { ticket, reply } => self.event(Event::Stored { ticket, reply }),
                Mail::Changed { change } => self.event(Event::Changed { change }),
                Mail::Forwarded { from, hint } => self.event(Event::Forwarded { from, hint }),
                Mail::Listening { subject } => self.event(Event::Listening { subject }),
                Mail::Taken { user, taken } => self.event(Event::Taken { user, taken }),
                Mail::Bus { sound } => self.event(Event::Bus { sound }),
                Mail::Banned { banned } => {
                    self.quic.ban(banned.clone());
                    self.websockets.ban(banned);
                }
                Mail::Control { control } => {
                    if matches!(control, relay_proto::event::Control::Drain { .. }) {
                        self.quic.drain();
                    }
                    let is_limit = matches!(control, relay_proto::event::Control::MessageLimit { .. });
                    self.event(Event::Control { control });
                    if is_limit && let Some(bus) = &self.bus {
                        bus.limit(self.proto.limits());
                    }
                }
                Mail::Snapshot { answer } => {
                    let snapshot = self.snapshot(ring);
                    // Whoever asked may have given up.
                    let _ = answer.send(snapshot);
                }
                Mail::Consumers { answer } => drop(answer.send(self.consumers())),
                Mail::Stop => self.stop_at = Some(Instant::now() + STOP_AFTER),
            }
        }
        true
    }

    fn mind_time(&mut self, ring: &mut Ring) {
        let now = self.clock.now();
        if self.proto.next_timeout().is_some_and(|at| at <= now.mono_us) {
            self.event(Event::Timeout);
        }
        let mut events = std::mem::take(&mut self.quic_events);
        self.quic.on_time(Instant::now(), &mut events);
        self.on_quic(events);
        if self.quic_heard.elapsed() >= QUIC_HEARD_EVERY {
            self.quic_heard = Instant::now();
            for session in self.quic.sessions() {
                self.event(Event::Heard { session });
            }
        }
        let (mut silent, mut gone) = (Vec::new(), Vec::new());
        self.websockets.on_time(ring, now.mono_us, &mut silent, &mut gone);
        for session in silent {
            self.cut(session, schema_wire::Disconnect::IdleTimeout);
            self.event(Event::Disconnected { session });
        }
        for session in gone {
            self.disconnected(session);
        }
    }

    fn flush(&mut self, ring: &mut Ring) {
        let now_us = self.clock.now().mono_us;
        let mut outboxes = Outgoing { proto: &mut self.proto, counters: &mut self.metrics.counters };
        self.websockets.flush(ring, now_us, &mut outboxes);
        self.quic.flush(ring, Instant::now(), &mut outboxes);
    }

    fn is_over(&self) -> bool {
        let empty = || self.websockets.live() == 0 && self.quic.live() == 0;
        self.stop_at.is_some_and(|at| empty() || Instant::now() >= at)
    }

    fn snapshot(&mut self, ring: &Ring) -> Snapshot {
        let counters = ring.counters();
        self.metrics.gauges.websocket_connections = self.websockets.live() as u64;
        self.metrics.gauges.quic_connections = self.quic.live() as u64;
        let counts = self.proto.counts();
        self.metrics.gauges.sessions = counts.attached as u64;
        self.metrics.gauges.subscriptions = counts.subscriptions as u64;
        self.metrics.gauges.outbox_bytes = counts.outbox_bytes as u64;
        self.metrics.gauges.outbox_frames = counts.outbox_frames as u64;
        self.metrics.gauges.appends = counts.appends as u64;
        self.metrics.gauges.handshakes =
            (self.websockets.live() + self.quic.live()).saturating_sub(self.links.len()) as u64;
        self.metrics.counters.buffers_exhausted = counters.receives_starved;
        self.metrics.snapshot(self.id)
    }

    fn sleep(&self) -> Duration {
        let now = self.clock.now().mono_us;
        let due = [self.proto.next_timeout(), self.websockets.next_timeout()].into_iter().flatten().min();
        let own = due.map(|at| Duration::from_micros(at.saturating_sub(now)));
        let quic = self.quic.next_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        let stop = self.stop_at.map(|at| at.saturating_duration_since(Instant::now()));
        [own, quic, stop].into_iter().flatten().fold(SLEEP_MAX, Duration::min)
    }
}

/// The sessions' outboxes on their way out, counted.
struct Outgoing<'a> {
    proto: &'a mut relay_proto::Shard,
    counters: &'a mut Counters,
}

/// The frames of one session, counted.
struct Counted<'a> {
    waiting: Waiting<'a>,
    counters: &'a mut Counters,
}

impl Outboxes for Outgoing<'_> {
    type Frames<'a>
        = Counted<'a>
    where
        Self: 'a;

    fn of(&mut self, session: SessionId) -> Counted<'_> {
        Counted { waiting: self.proto.outbox(session), counters: self.counters }
    }
}

impl Iterator for Counted<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let frame = self.waiting.next()?;
        self.counters.messages_delivered += u64::from(matches!(frame.lane(), Lane::Conversation(_)));
        Some(frame)
    }
}
