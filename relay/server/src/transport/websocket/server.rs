//! All TLS WebSocket connections of one shard: their table, deadlines and flushing. Decides nothing about
//! messages; reads and writes through the shard's ring.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use schema_wire::{AddressSet, Disconnect, Frame, SessionId};

use super::connection::{Connection, Incoming, Leaving, Rules};
use super::farewells::Farewells;
use crate::ring::{Ring, SlabPool, StreamKey};
use crate::transport::Outboxes;
use crate::transport::networks::Networks;
use crate::transport::tls::TlsSession;

/// Bounds in time, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From accept to the finished upgrade.
    pub handshake_us: u64,
    /// Silence after which a ping goes out.
    pub ping_us: u64,
    /// Silence after which the connection is cut.
    pub idle_us: u64,
    /// From the cut until the goodbye is given up that a peer does not take.
    pub farewell_us: u64,
    /// From the goodbye to the end of the socket.
    pub linger_us: u64,
}

/// The connections of one shard.
pub struct WebSockets {
    connections: Vec<Option<Box<Connection>>>,
    live: usize,
    connections_max: usize,
    rules: Rules,
    proxies: Networks,
    /// Nobody from here is let in; whom a proxy speaks for is looked at when they attach.
    banned: Arc<AddressSet>,
    deadlines: Deadlines,
    slabs: SlabPool,
    /// Connections with something to send, each perhaps more than once.
    dirty: Vec<StreamKey>,
    handshakes: VecDeque<(u64, StreamKey)>,
    farewells: Farewells,
    lingering: VecDeque<(u64, StreamKey)>,
    /// Where the search for silent connections goes on.
    sweep_at: usize,
    swept_us: u64,
}

/// Connections looked at in one sweep turn.
const SWEEP_STEP: usize = 512;
/// Time between two sweep turns.
const SWEEP_EVERY_US: u64 = 250_000;

impl WebSockets {
    /// An empty table.
    pub fn new(
        rules: Rules,
        proxies: Networks,
        deadlines: Deadlines,
        connections_max: usize,
        slabs: SlabPool,
    ) -> Self {
        Self {
            connections: Vec::new(),
            live: 0,
            connections_max,
            rules,
            proxies,
            banned: Arc::default(),
            deadlines,
            slabs,
            dirty: Vec::new(),
            handshakes: VecDeque::new(),
            farewells: Farewells::default(),
            lingering: VecDeque::new(),
            sweep_at: 0,
            swept_us: 0,
        }
    }

    /// Connections, handshakes included.
    pub fn live(&self) -> usize {
        self.live
    }

    /// From now on nobody from these addresses is let in.
    pub fn ban(&mut self, banned: Arc<AddressSet>) {
        self.banned = banned;
    }

    /// Takes an accepted socket over. From a banned address it is closed without a word, before anything is computed; beyond
    /// the bound as well: TCP tells the client to back off.
    pub fn accept(
        &mut self,
        ring: &mut Ring,
        socket: OwnedFd,
        peer: SocketAddr,
        tls: &Arc<rustls::ServerConfig>,
        now_us: u64,
    ) {
        if self.live >= self.connections_max {
            return;
        }
        let proxied = self.proxies.contains(peer.ip());
        if !proxied && self.banned.contains(peer.ip()) {
            return;
        }
        let Ok(session) = TlsSession::new(tls.clone()) else { return };
        let Ok(stream) = ring.add_stream(socket) else { return };
        let at = stream.slot().index();
        if self.connections.len() <= at {
            self.connections.resize_with(at + 1, || None);
        }
        assert!(self.connections[at].is_none(), "the ring reuses a slot only after its close");
        self.connections[at] = Some(Box::new(Connection::new(stream, peer, session, proxied, now_us)));
        self.live += 1;
        self.handshakes.push_back((now_us + self.deadlines.handshake_us, stream));
    }

    /// The connection of a live key.
    pub fn get(&mut self, stream: StreamKey) -> Option<&mut Connection> {
        self.connections.get_mut(stream.slot().index())?.as_deref_mut().filter(|c| c.stream == stream)
    }

    /// Takes received bytes; what they mean is appended to `incoming`.
    pub fn receive(
        &mut self,
        stream: StreamKey,
        bytes: &mut [u8],
        now_us: u64,
        incoming: &mut Vec<Incoming>,
    ) {
        let Some(connection) = self
            .connections
            .get_mut(stream.slot().index())
            .and_then(|c| c.as_deref_mut())
            .filter(|c| c.stream == stream)
        else {
            return;
        };
        connection.receive(bytes, now_us, &self.rules, &self.slabs, &mut |what| incoming.push(what));
        if connection.has_outgoing() || connection.is_ending() {
            self.dirty.push(stream);
        }
    }

    /// A frame waits for this connection.
    pub fn mark(&mut self, stream: StreamKey, now_us: u64) {
        if let Some(connection) = self.get(stream) {
            if !connection.waiting {
                connection.waiting_since_us = now_us;
            }
            connection.waiting = true;
            self.dirty.push(stream);
        }
    }

    /// Since when frames wait for this connection, if any do.
    pub fn waiting_since_us(&self, stream: StreamKey) -> Option<u64> {
        let connection = self.connections.get(stream.slot().index())?.as_deref()?;
        (connection.stream == stream && connection.waiting).then_some(connection.waiting_since_us)
    }

    /// A send ended. Most connections have nothing further to say then, and the next frame marks them again.
    pub fn sent(&mut self, stream: StreamKey) {
        let Some(connection) = self.get(stream) else { return };
        if connection.waiting || connection.has_outgoing() || connection.is_ending() {
            self.dirty.push(stream);
        }
    }

    /// Seals what the outbox still holds, says goodbye and lets go of the session.
    pub fn close(&mut self, stream: StreamKey, with: Disconnect, mut frames: impl Iterator<Item = Frame>) {
        let slabs = self.slabs.clone();
        let Some(connection) = self.get(stream) else { return };
        connection.session = None;
        connection.fill(&slabs, &mut frames);
        connection.close(with, &slabs);
        self.dirty.push(stream);
    }

    /// Sends what waits, one send in flight per connection; the rest goes on at its `Sent`.
    pub fn flush(&mut self, ring: &mut Ring, now_us: u64, outboxes: &mut impl Outboxes) {
        let mut dirty = std::mem::take(&mut self.dirty);
        let slabs = self.slabs.clone();
        for stream in dirty.drain(..) {
            if !ring.can_send(stream) {
                self.bid_farewell(stream, now_us);
                continue;
            }
            let Some(connection) = self.get(stream) else { continue };
            if let Some(session) = connection.session.filter(|_| connection.waiting) {
                connection.waiting = !connection.fill(&slabs, &mut outboxes.of(session));
            }
            match connection.take_outgoing() {
                Some(slab) => {
                    // A refused send means that the stream broke, which its own completion reports.
                    let _ = ring.send(stream, slab);
                    self.bid_farewell(stream, now_us);
                }
                None if connection.is_ending() => {
                    let before = std::mem::replace(&mut connection.leaving, Leaving::Said);
                    self.farewells.done(before);
                    ring.finish(stream);
                    self.lingering.push_back((now_us + self.deadlines.linger_us, stream));
                }
                None => {}
            }
        }
        self.dirty = dirty;
    }

    /// A peer that takes no bytes gets time to come back for its goodbye, at the cost of what is sealed for it.
    /// When too many wait, who waits longest goes without.
    fn bid_farewell(&mut self, stream: StreamKey, now_us: u64) {
        let until_us = now_us + self.deadlines.farewell_us;
        let Some(connection) = self.get(stream) else { return };
        if !connection.is_ending() || connection.leaving != Leaving::No {
            return;
        }
        connection.leaving = Leaving::Goodbye;
        self.farewells.begin(until_us, stream);
        while self.farewells.are_too_many() {
            let Some((_, oldest)) = self.farewells.pop() else { return };
            if self.get(oldest).is_some_and(|c| c.leaving == Leaving::Goodbye) {
                self.lingering.push_front((now_us, oldest));
            }
        }
    }

    /// The socket is over: forgets the connection and names the session that ended with it.
    pub fn remove(&mut self, ring: &mut Ring, stream: StreamKey) -> Option<SessionId> {
        let connection = self.get(stream)?;
        let session = connection.session.take();
        let leaving = connection.leaving;
        self.farewells.done(leaving);
        self.connections[stream.slot().index()] = None;
        self.live -= 1;
        ring.close(stream);
        session
    }

    /// Cuts handshakes and goodbyes that took too long; pings or names (in `silent`) those that say nothing.
    pub fn on_time(
        &mut self,
        ring: &mut Ring,
        now_us: u64,
        silent: &mut Vec<SessionId>,
        gone: &mut Vec<SessionId>,
    ) {
        while let Some((_, stream)) = self.handshakes.pop_front_if(|(at, _)| *at <= now_us) {
            let slabs = self.slabs.clone();
            let Some(connection) = self.get(stream).filter(|c| !c.is_open() && !c.is_ending()) else {
                continue;
            };
            connection.time_out(&slabs);
            self.dirty.push(stream);
        }
        while let Some(stream) = self.farewells.pop_due(now_us) {
            if self.get(stream).is_some_and(|c| c.leaving == Leaving::Goodbye) {
                gone.extend(self.remove(ring, stream));
            }
        }
        while let Some((_, stream)) = self.lingering.pop_front_if(|(at, _)| *at <= now_us) {
            gone.extend(self.remove(ring, stream));
        }
        if now_us >= self.swept_us + SWEEP_EVERY_US {
            self.swept_us = now_us;
            self.sweep(now_us, silent);
        }
    }

    /// When `on_time` has something to do, in microseconds.
    pub fn next_timeout(&self) -> Option<u64> {
        let first = |queue: &VecDeque<(u64, StreamKey)>| queue.front().map(|(at, _)| *at);
        let sweep = (self.live > 0).then_some(self.swept_us + SWEEP_EVERY_US);
        [first(&self.handshakes), first(&self.lingering), self.farewells.next_us(), sweep]
            .into_iter()
            .flatten()
            .min()
    }

    fn sweep(&mut self, now_us: u64, silent: &mut Vec<SessionId>) {
        for _ in 0..SWEEP_STEP.min(self.connections.len()) {
            self.sweep_at = (self.sweep_at + 1) % self.connections.len();
            let Some(connection) = self.connections[self.sweep_at].as_deref_mut() else { continue };
            let stream = connection.stream;
            match look(connection, now_us, &self.deadlines) {
                Look::Fine => {}
                Look::Silent => silent.extend(connection.session),
                Look::Ping => {
                    connection.ping(&self.slabs);
                    self.dirty.push(stream);
                }
            }
        }
    }
}

/// What a sweep finds.
enum Look {
    Fine,
    Silent,
    Ping,
}

fn look(connection: &Connection, now_us: u64, deadlines: &Deadlines) -> Look {
    if connection.is_ending() {
        return Look::Fine;
    }
    let silence = now_us.saturating_sub(connection.heard_us);
    let partial = connection.partial_since_us.map_or(0, |at| now_us.saturating_sub(at));
    if silence >= deadlines.idle_us || partial >= deadlines.handshake_us {
        Look::Silent
    } else if silence >= deadlines.ping_us && !connection.pinged && connection.is_open() {
        Look::Ping
    } else {
        Look::Fine
    }
}
