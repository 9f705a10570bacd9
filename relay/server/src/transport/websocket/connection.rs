//! One TLS WebSocket connection: PROXY header, TLS, upgrade, then messages. Decides in which stage bytes are read
//! and what is answered at once; the shard's loop owns its socket.

use std::net::SocketAddr;

use bytes::Bytes;
use schema_wire::{Disconnect, Encoding, Frame, SessionId};

use super::codec::{self, CloseCode, DataKind, Decoder, Event, Violation};
use super::flood::ControlBudget;
use super::upgrade::{Subprotocol, Upgrade, UpgradeRules, Upgrader};
use crate::ring::{Slab, SlabPool, StreamKey};
use crate::transport::proxy::{Proxy, ProxyReader};
use crate::transport::tls::TlsSession;

/// Plaintext that one flush seals at most; the rest follows when the kernel took it.
const FLUSH_BYTES_MAX: usize = 64 * 1024;

/// What a connection tells its shard.
#[derive(Debug)]
pub enum Incoming {
    /// The upgrade is accepted.
    Opened { encoding: Encoding, bearer: Option<String> },
    /// One message.
    Frame(Bytes),
    /// A sign of life without a message.
    Alive,
    /// Nothing more will come; the transport is over or ending.
    Ended,
}

/// Bounds and rules all connections of a shard share.
#[derive(Clone, Debug)]
pub struct Rules {
    pub upgrade: UpgradeRules,
    pub message_bytes_max: usize,
}

enum Stage {
    Proxy(ProxyReader),
    Upgrade(Upgrader),
    Open(Decoder),
    /// Bytes are ignored; what is queued goes out.
    Ending,
}

/// How far a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    No,
    /// Its goodbye waits for the peer to take what lies before it.
    Goodbye,
    /// The kernel has everything; only the peer's end is waited for.
    Said,
}

/// A frame as this connection wants it.
struct Part {
    frame: Frame,
    encoding: Encoding,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.frame.websocket(self.encoding)
    }
}

/// One connection.
pub struct Connection {
    pub stream: StreamKey,
    pub peer: SocketAddr,
    pub session: Option<SessionId>,
    /// Its outbox may hold frames.
    pub waiting: bool,
    /// Since when, `Now::mono_us`.
    pub waiting_since_us: u64,
    pub encoding: Encoding,
    /// `Now::mono_us` of the last byte from the peer.
    pub heard_us: u64,
    /// Whether a ping went out since then.
    pub pinged: bool,
    /// When the message that is not yet whole began.
    pub partial_since_us: Option<u64>,
    pub leaving: Leaving,
    stage: Stage,
    tls: TlsSession,
    control: ControlBudget,
    /// Sealed bytes that wait for the send in flight to end.
    outgoing: Option<Slab>,
}

impl Connection {
    /// A fresh connection; `proxied` when its peer must send a PROXY header first.
    pub fn new(stream: StreamKey, peer: SocketAddr, tls: TlsSession, proxied: bool, now_us: u64) -> Self {
        let stage =
            if proxied { Stage::Proxy(ProxyReader::default()) } else { Stage::Upgrade(Upgrader::default()) };
        Self {
            stream,
            peer,
            session: None,
            waiting: false,
            waiting_since_us: 0,
            encoding: Encoding::Proto,
            heard_us: now_us,
            pinged: false,
            partial_since_us: None,
            leaving: Leaving::No,
            stage,
            tls,
            control: ControlBudget::new(now_us / 1000),
            outgoing: None,
        }
    }

    /// Whether the handshake is over.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Whether it only waits for its last bytes to leave.
    pub fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending)
    }

    /// Whether a frame or message has begun and not ended.
    fn is_mid_message(&self) -> bool {
        matches!(&self.stage, Stage::Open(decoder) if decoder.is_mid_message())
    }

    /// Takes what one receive brought.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        now_us: u64,
        rules: &Rules,
        slabs: &SlabPool,
        sink: &mut impl FnMut(Incoming),
    ) {
        self.heard_us = now_us;
        self.pinged = false;
        match &mut self.stage {
            Stage::Proxy(reader) => match reader.push(bytes) {
                Ok(Proxy::NeedMore) => {}
                Ok(Proxy::Done { client, mut leftover }) => {
                    self.peer = client.unwrap_or(self.peer);
                    self.stage = Stage::Upgrade(Upgrader::default());
                    self.decrypt(&mut leftover, now_us, rules, slabs, sink);
                }
                Err(_) => self.abandon(sink),
            },
            Stage::Ending => {}
            Stage::Upgrade(_) | Stage::Open(_) => self.decrypt(bytes, now_us, rules, slabs, sink),
        }
        self.partial_since_us = self.is_mid_message().then_some(self.partial_since_us.unwrap_or(now_us));
    }

    /// Seals waiting frames behind what is queued already, as few records as possible. Says whether all were taken.
    pub fn fill(&mut self, slabs: &SlabPool, frames: &mut impl Iterator<Item = Frame>) -> bool {
        let queued = self.outgoing.as_ref().map_or(0, |slab| slab.len());
        if !self.is_open() || queued >= FLUSH_BYTES_MAX {
            return false;
        }
        let Some(first) = frames.next() else { return true };
        let (encoding, mut room, mut all) = (self.encoding, FLUSH_BYTES_MAX - queued, false);
        let rest = std::iter::from_fn(|| {
            let frame = (room > 0).then(|| frames.next())?;
            all = frame.is_none();
            room = room.saturating_sub(frame.as_ref().map_or(0, Frame::body_len));
            frame
        });
        let parts = std::iter::once(first).chain(rest).map(|frame| Part { frame, encoding });
        let out = self.outgoing.get_or_insert_with(|| slabs.take());
        if self.tls.seal(parts, out).is_err() {
            self.stage = Stage::Ending;
        }
        all
    }

    /// Bytes ready for the ring.
    pub fn take_outgoing(&mut self) -> Option<Slab> {
        self.outgoing.take().filter(|slab| !slab.is_empty())
    }

    /// Whether bytes wait for the ring.
    pub fn has_outgoing(&self) -> bool {
        self.outgoing.as_ref().is_some_and(|slab| !slab.is_empty())
    }

    /// Asks for a sign of life.
    pub fn ping(&mut self, slabs: &SlabPool) {
        self.pinged = true;
        if self.is_open() {
            self.seal(slabs, codec::ping(b"").as_bytes());
        }
    }

    /// Says goodbye with a relay code behind everything queued; nothing is read any more.
    pub fn close(&mut self, with: Disconnect, slabs: &SlabPool) {
        match self.stage {
            Stage::Open(_) => {
                self.goodbye(codec::close(CloseCode(with.code()), with.name()).as_bytes(), slabs)
            }
            _ => self.stage = Stage::Ending,
        }
    }

    /// The handshake took too long: answers what can be answered.
    pub fn time_out(&mut self, slabs: &SlabPool) {
        if matches!(self.stage, Stage::Upgrade(_)) && self.tls.is_open() {
            let reject = Upgrader::timed_out();
            self.goodbye(&reject.response, slabs);
        }
        self.stage = Stage::Ending;
    }

    fn decrypt(
        &mut self,
        bytes: &mut [u8],
        now_us: u64,
        rules: &Rules,
        slabs: &SlabPool,
        sink: &mut impl FnMut(Incoming),
    ) {
        let mut answers = Vec::new();
        let out = self.outgoing.get_or_insert_with(|| slabs.take());
        let reader = &mut Reader {
            stage: &mut self.stage,
            encoding: &mut self.encoding,
            control: &mut self.control,
            answers: &mut answers,
            rules,
            now_ms: now_us / 1000,
        };
        let read = self.tls.read(bytes, &mut |plain| reader.take(plain, sink), out);
        if !answers.is_empty() {
            self.seal(slabs, &answers);
        }
        let over = match read {
            Ok(progress) => progress.peer_closed,
            Err(_) => true,
        };
        if over && !self.is_ending() {
            self.stage = Stage::Ending;
            sink(Incoming::Ended);
        }
        if self.is_ending() {
            self.notify_end(slabs);
        }
        if !self.has_outgoing() {
            self.outgoing = None;
        }
    }

    fn seal(&mut self, slabs: &SlabPool, plain: &[u8]) {
        let out = self.outgoing.get_or_insert_with(|| slabs.take());
        if self.tls.seal(std::iter::once(plain), out).is_err() {
            self.stage = Stage::Ending;
        }
    }

    fn goodbye(&mut self, plain: &[u8], slabs: &SlabPool) {
        self.seal(slabs, plain);
        self.notify_end(slabs);
        self.stage = Stage::Ending;
    }

    /// A session that can't say so ends without.
    fn notify_end(&mut self, slabs: &SlabPool) {
        let out = self.outgoing.get_or_insert_with(|| slabs.take());
        if self.tls.close_notify(out).is_err() {
            tracing::debug!("a TLS session ended without close_notify");
        }
    }

    fn abandon(&mut self, sink: &mut impl FnMut(Incoming)) {
        self.stage = Stage::Ending;
        sink(Incoming::Ended);
    }
}

/// The parts of a connection that plaintext changes, apart from the TLS session that is being read.
struct Reader<'a> {
    stage: &'a mut Stage,
    encoding: &'a mut Encoding,
    control: &'a mut ControlBudget,
    answers: &'a mut Vec<u8>,
    rules: &'a Rules,
    now_ms: u64,
}

impl Reader<'_> {
    fn take(&mut self, plain: &[u8], sink: &mut impl FnMut(Incoming)) {
        match self.stage {
            Stage::Upgrade(upgrader) => match upgrader.push(plain, &self.rules.upgrade) {
                Upgrade::NeedMore => {}
                Upgrade::Reject(reject) => {
                    self.answers.extend_from_slice(&reject.response);
                    self.end(sink);
                }
                Upgrade::Accept(accept) => {
                    self.answers.extend_from_slice(&accept.response);
                    *self.encoding = match accept.subprotocol {
                        Subprotocol::Proto => Encoding::Proto,
                        Subprotocol::Json => Encoding::Json,
                    };
                    let kind: DataKind = accept.subprotocol.data_kind();
                    *self.stage = Stage::Open(Decoder::new(kind, self.rules.message_bytes_max));
                    sink(Incoming::Opened { encoding: *self.encoding, bearer: accept.bearer });
                    self.messages(&accept.leftover, sink);
                }
            },
            Stage::Open(_) => self.messages(plain, sink),
            Stage::Proxy(_) | Stage::Ending => {}
        }
    }

    fn messages(&mut self, mut plain: &[u8], sink: &mut impl FnMut(Incoming)) {
        loop {
            let Stage::Open(decoder) = self.stage else { return };
            match decoder.decode(&mut plain) {
                Ok(None) => return,
                Ok(Some(Event::Message { payload, .. })) => sink(Incoming::Frame(payload)),
                Ok(Some(Event::Ping(payload))) => {
                    if !self.control.spend(self.now_ms) {
                        return self.refuse(
                            codec::close(CloseCode(Disconnect::Abusive.code()), "ABUSIVE").as_bytes(),
                            sink,
                        );
                    }
                    self.answers.extend_from_slice(codec::pong(&payload).as_bytes());
                    sink(Incoming::Alive);
                }
                Ok(Some(Event::Pong(_))) => sink(Incoming::Alive),
                Ok(Some(Event::Close(close))) => {
                    return self.refuse(codec::close_reply(&close).as_bytes(), sink);
                }
                Err(violation) => return self.refuse(goodbye_to(violation).as_bytes(), sink),
            }
        }
    }

    fn refuse(&mut self, answer: &[u8], sink: &mut impl FnMut(Incoming)) {
        self.answers.extend_from_slice(answer);
        self.end(sink);
    }

    fn end(&mut self, sink: &mut impl FnMut(Incoming)) {
        *self.stage = Stage::Ending;
        sink(Incoming::Ended);
    }
}

/// Violations of RFC 6455 keep its codes; the reason names the rule.
fn goodbye_to(violation: Violation) -> codec::ControlFrame {
    codec::close(violation.close_code(), &violation.to_string())
}
