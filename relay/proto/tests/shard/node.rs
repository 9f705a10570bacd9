//! One node of a few shards on a clock that stands still until it is told: performs effects in order, keeps store
//! requests back when a test wants to answer them itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use relay_proto::event::{Claims, Control, Taken, Ticket, Transport};
use relay_proto::{Effect, Event, Limits, Now, Shard, ShardConfig};
use schema_wire::bus::{Hint, Life, Subject};
use schema_wire::codec::decode_server;
use schema_wire::record::{Change, StoreRequest};
use schema_wire::v1::{self, ClientFrame, client_frame, server_frame};
use schema_wire::{
    ConversationId, DeviceId, Disconnect, Encoding, NodeId, PublishKey, Refused, SessionId, ShardId, UserId,
};

use crate::store::MemStore;

pub type Said = server_frame::Body;

pub struct Node {
    pub shards: Vec<Shard>,
    pub now: Now,
    pub store: MemStore,
    /// Store requests wait in `waiting` until the test answers them.
    pub hold_store: bool,
    pub waiting: VecDeque<(usize, Ticket, StoreRequest)>,
    /// What each session was told: request it answers, body.
    pub told: BTreeMap<SessionId, Vec<(u64, Said)>>,
    pub closed: BTreeMap<SessionId, Disconnect>,
    /// Sessions whose outbox nobody reads.
    pub stuck: Vec<SessionId>,
    pub forwarded: Vec<Hint>,
    /// What the node listens to on the bus.
    pub listens: BTreeSet<Subject>,
    /// What all nodes have left of the message limit; `None`: nobody can say.
    pub left: Option<u32>,
    pub takes: usize,
    pub drained: usize,
    pub peers: bool,
    pub claims: BTreeMap<String, Claims>,
    serial: u64,
}

pub fn user(n: u8) -> UserId {
    UserId([n; 16])
}

pub fn device(n: u8) -> DeviceId {
    DeviceId([n; 16])
}

pub fn conversation(n: u8) -> ConversationId {
    ConversationId([n; 16])
}

pub fn key(n: u64) -> PublishKey {
    let mut k = [7; 16];
    k[..8].copy_from_slice(&n.to_be_bytes());
    PublishKey(k)
}

impl Node {
    pub fn new(shards: u16, limits: Limits) -> Self {
        Self::with_peers(shards, limits, false)
    }

    pub fn with_peers(shards: u16, limits: Limits, peers: bool) -> Self {
        Self::living(1, shards, limits, peers)
    }

    /// A node by the number of its life.
    pub fn living(life: u64, shards: u16, limits: Limits, peers: bool) -> Self {
        let shard = |n| {
            let limits = limits.clone();
            let (shard, life) = (ShardId(n), Life(life));
            Shard::new(ShardConfig { shard, shards, node: NodeId(0), life, peers, limits })
        };
        Self {
            shards: (0..shards).map(shard).collect(),
            now: Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 },
            store: MemStore { now_ms: 1_700_000_000_000, ..MemStore::default() },
            hold_store: false,
            waiting: VecDeque::new(),
            told: BTreeMap::new(),
            closed: BTreeMap::new(),
            stuck: Vec::new(),
            forwarded: Vec::new(),
            listens: BTreeSet::new(),
            left: None,
            takes: 0,
            drained: 0,
            peers,
            claims: BTreeMap::new(),
            serial: 0,
        }
    }

    pub fn bring(&mut self, shard: usize, event: Event) {
        let mut queue = VecDeque::from([(shard, event)]);
        while let Some((shard, event)) = queue.pop_front() {
            let mut effects = Vec::new();
            self.shards[shard].handle(self.now, event, &mut effects);
            for effect in effects {
                self.perform(shard, effect, &mut queue);
            }
            if queue.is_empty() {
                for shard in 0..self.shards.len() {
                    if self.shards[shard].next_timeout().is_some_and(|at| at <= self.now.mono_us) {
                        queue.push_back((shard, Event::Timeout));
                    }
                }
            }
        }
    }

    fn perform(&mut self, shard: usize, effect: Effect, queue: &mut VecDeque<(usize, Event)>) {
        match effect {
            Effect::Verify { session, token } => {
                let verdict = self.claims.get(&token).copied().ok_or(Refused::TokenInvalid);
                queue.push_back((shard, Event::Verified { session, verdict }));
            }
            Effect::Store { ticket, request } if self.hold_store => {
                self.waiting.push_back((shard, ticket, request))
            }
            Effect::Store { ticket, request } => {
                let reply = self.store.answer(&request);
                queue.push_back((shard, Event::Stored { ticket, reply }));
            }
            Effect::Peer { to, frame } => {
                assert_ne!(usize::from(to.0), shard, "a shard never sends to itself");
                let from = ShardId(shard as u16);
                queue.push_back((usize::from(to.0), Event::Peer { from, frame }));
            }
            Effect::Forward { hint } => {
                assert!(self.peers, "a node alone forwards nothing");
                self.forwarded.push(hint);
            }
            Effect::Take { user, count } => {
                assert!(self.peers, "a node alone counts alone");
                self.takes += 1;
                let taken = self.left.as_mut().map(|left| {
                    let granted = count.min(*left);
                    *left -= granted;
                    if granted > 0 { Taken::Granted(granted) } else { Taken::Dry(5_000_000) }
                });
                queue.push_back((shard, Event::Taken { user, taken }));
            }
            Effect::Listen { subject, on } => {
                let news = if on { self.listens.insert(subject) } else { self.listens.remove(&subject) };
                assert!(news && self.peers, "listens once, and stops once: {subject:?} {on}");
            }
            Effect::Transmit { session } if !self.stuck.contains(&session) => self.read(session),
            Effect::Close { session, with } => {
                if !self.stuck.contains(&session) {
                    self.read(session);
                }
                assert_eq!(self.closed.insert(session, with), None, "closed once");
            }
            Effect::Drained => self.drained += 1,
            Effect::Transmit { .. } | Effect::Measured { .. } | Effect::Refused { .. } => {}
        }
    }

    pub fn read(&mut self, session: SessionId) {
        let shard = usize::from(session.shard().0);
        while let Some(frame) = self.shards[shard].poll_transmit(session) {
            let frame = decode_server(&frame.body(), Encoding::Proto).expect("decodes");
            self.told.entry(session).or_default().push((frame.answers, frame.body.expect("has a body")));
        }
    }

    /// The shard that is the home of what a subject names.
    pub fn home(&self, subject: Subject) -> usize {
        (subject.spread() % self.shards.len() as u64) as usize
    }

    /// The bus brings a hint to its home.
    pub fn hear(&mut self, from: u64, hint: &Hint) {
        let shard = self.home(hint.subject());
        self.bring(shard, Event::Forwarded { from: Life(from), hint: hint.clone() });
    }

    /// A stuck session reads again.
    pub fn unstick(&mut self, session: SessionId) {
        self.stuck.retain(|s| *s != session);
        self.read(session);
        self.bring(usize::from(session.shard().0), Event::Timeout);
    }

    /// Answers the oldest store request that was kept back.
    pub fn answer_one(&mut self) {
        let (shard, ticket, request) = self.waiting.pop_front().expect("a request waits");
        let reply = self.store.answer(&request);
        self.bring(shard, Event::Stored { ticket, reply });
    }

    /// Time passes; timers fire when they are due.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now.mono_us + ms * 1_000;
        loop {
            let due = self.shards.iter().filter_map(Shard::next_timeout).min().filter(|at| *at <= end);
            let Some(at) = due else { break };
            let at = at.max(self.now.mono_us);
            self.now.unix_ms += (at - self.now.mono_us) / 1_000;
            self.now.mono_us = at;
            self.store.now_ms = self.now.unix_ms;
            for shard in 0..self.shards.len() {
                self.bring(shard, Event::Timeout);
            }
        }
        self.now.unix_ms += (end - self.now.mono_us) / 1_000;
        self.now.mono_us = end;
        self.store.now_ms = self.now.unix_ms;
    }

    pub fn connect(&mut self, shard: u16) -> SessionId {
        self.serial += 1;
        let session = SessionId::new(ShardId(shard), self.serial);
        let event = Event::Connected {
            session,
            transport: Transport::WebSocket,
            encoding: Encoding::Proto,
            address: None,
            bearer: None,
        };
        self.bring(usize::from(shard), event);
        session
    }

    /// A token for a user and device that lives for an hour.
    pub fn token(&mut self, u: u8, d: u8) -> String {
        let now = self.now.unix_ms / 1_000;
        let token = format!("{u}/{d}/{now}");
        let claims = Claims { user: user(u), device: device(d), issued_at: now, expires_at: now + 3_600 };
        self.claims.insert(token.clone(), claims);
        token
    }

    /// A session that has been welcomed.
    pub fn attach(&mut self, shard: u16, u: u8, d: u8) -> SessionId {
        let session = self.connect(shard);
        let token = self.token(u, d);
        self.say(session, 1, v1::Hello { versions: vec![1], token, ..Default::default() });
        session
    }

    pub fn say(&mut self, session: SessionId, request: u64, body: impl Into<client_frame::Body>) {
        let frame = ClientFrame { request, body: Some(body.into()), ..Default::default() };
        self.bring(usize::from(session.shard().0), Event::Received { session, frame, early: false });
    }

    pub fn publish(&mut self, session: SessionId, c: u8, k: u64) {
        self.say(session, 100 + k, publish(c, k));
    }

    pub fn subscribe(&mut self, session: SessionId, c: u8, after: Option<u64>) {
        let after = after.map(|offset| v1::Position { generation: 1, offset, ..Default::default() });
        let conversation = conversation(c).to_bytes();
        self.say(session, 2, v1::Subscribe { conversation, after: after.into(), ..Default::default() });
    }

    pub fn change(&mut self, change: &Change) {
        for shard in 0..self.shards.len() {
            self.bring(shard, Event::Changed { change: change.clone() });
        }
    }

    pub fn control(&mut self, control: &Control) {
        for shard in 0..self.shards.len() {
            self.bring(shard, Event::Control { control: control.clone() });
        }
    }

    /// Offsets delivered to a session, in order; a stretch that is gone shows as negative numbers.
    pub fn offsets(&self, session: SessionId) -> Vec<i64> {
        let mut offsets = Vec::new();
        for (_, said) in self.told.get(&session).into_iter().flatten() {
            match said {
                Said::Delivery(d) => offsets.push(d.offset as i64),
                Said::Gone(g) => offsets.extend((g.from..=g.to).map(|o| -(o as i64))),
                _ => {}
            }
        }
        offsets
    }

    /// Acks a session got: key number and offset.
    pub fn acks(&self, session: SessionId) -> Vec<(u64, bool)> {
        let acks = self.told.get(&session).into_iter().flatten().filter_map(|(_, said)| match said {
            Said::PublishAck(ack) => Some((ack.offset, ack.duplicate)),
            _ => None,
        });
        acks.collect()
    }

    /// Refusals a session got, by code.
    pub fn refusals(&self, session: SessionId) -> Vec<Refused> {
        let refusals = self.told.get(&session).into_iter().flatten().filter_map(|(_, said)| match said {
            Said::Refusal(r) => Refused::from_code(r.code),
            _ => None,
        });
        refusals.collect()
    }

    pub fn heard(&self, session: SessionId, which: impl Fn(&Said) -> bool) -> usize {
        self.told.get(&session).into_iter().flatten().filter(|(_, said)| which(said)).count()
    }
}

pub fn publish(c: u8, k: u64) -> v1::Publish {
    v1::Publish {
        conversation: conversation(c).to_bytes(),
        publish_key: key(k).to_bytes(),
        body: Bytes::from_static(b"hello"),
        ..Default::default()
    }
}
