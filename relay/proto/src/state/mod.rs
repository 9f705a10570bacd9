//! Everything a shard remembers. Nouns: they keep their invariants and ask for nothing.

pub(crate) mod allowance;
pub(crate) mod apart;
pub(crate) mod appends;
pub(crate) mod conversation;
pub(crate) mod map;
pub(crate) mod outbox;
pub(crate) mod presence;
pub(crate) mod session;
pub(crate) mod standing;
pub(crate) mod subscription;
pub(crate) mod ticket;
pub(crate) mod timer;

use alloc::collections::{BTreeSet, VecDeque};

use schema_wire::bus::Life;
use schema_wire::{ConversationId, Generation, NodeId, SessionId, ShardId, UserId};

use crate::event::Now;
use crate::limits::Limits;
use crate::planted::Fault;
use allowance::Allowance;
use appends::Appends;
use conversation::{Feed, Home};
use map::Map;
use outbox::Outbox;
use presence::{Present, Watched};
use session::Session;
use standing::Standings;
use ticket::Tickets;
use timer::{Timer, Timers};

/// Which shard this is, and within what bounds it works.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    pub shard: ShardId,
    /// Shards of this node.
    pub shards: u16,
    pub node: NodeId,
    /// By which the node knows what it said itself on the bus.
    pub life: Life,
    /// Whether there may be other nodes: they are told, and heads are compared with the store.
    pub peers: bool,
    pub limits: Limits,
}

/// Outboxes of closed sessions that may still be drained.
#[derive(Default)]
pub(crate) struct Closing {
    outboxes: Map<SessionId, Outbox>,
    order: VecDeque<SessionId>,
}

/// Closed sessions whose last frames are kept; beyond, the oldest are dropped.
const CLOSING_MAX: usize = 1_024;

impl Closing {
    pub(crate) fn put(&mut self, session: SessionId, outbox: Outbox) {
        if outbox.is_empty() {
            return;
        }
        self.outboxes.insert(session, outbox);
        self.order.push_back(session);
        while self.order.len() > CLOSING_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.outboxes.remove(&oldest);
            }
        }
    }

    pub(crate) fn get_mut(&mut self, session: SessionId) -> Option<&mut Outbox> {
        self.outboxes.get_mut(&session)
    }

    pub(crate) fn forget(&mut self, session: SessionId) {
        self.outboxes.remove(&session);
    }

    /// Lets go of an outbox that was drained.
    pub(crate) fn forget_empty(&mut self, session: SessionId) {
        if self.outboxes.get(&session).is_some_and(Outbox::is_empty) {
            self.forget(session);
        }
    }
}

/// What the homes know of the other nodes' appends.
#[derive(Default)]
pub(crate) struct Heads {
    /// The bus is thought to bring them.
    pub(crate) sound: bool,
    /// Homes whose head will be compared with the store's, by the next question.
    pub(crate) unsure: BTreeSet<ConversationId>,
    /// A question is under way; the next one waits for its answer.
    pub(crate) asked: bool,
    /// When all heads are compared again.
    pub(crate) planned: Option<u64>,
}

/// The shard is going away.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    pub(crate) deadline_us: u64,
    pub(crate) over: bool,
}

/// All that one shard remembers.
pub(crate) struct State {
    pub(crate) config: ShardConfig,
    pub(crate) planted: Option<Fault>,
    pub(crate) now: Now,
    /// Unix minus monotonic time when the deadlines were set, in milliseconds.
    pub(crate) skew_ms: Option<i64>,
    /// The newest life of the store heard of.
    pub(crate) generation: Generation,
    pub(crate) sessions: Map<SessionId, Session>,
    pub(crate) closing: Closing,
    pub(crate) users: Map<UserId, BTreeSet<SessionId>>,
    pub(crate) feeds: Map<ConversationId, Feed>,
    pub(crate) homes: Map<ConversationId, Home>,
    pub(crate) appends: Appends,
    pub(crate) standings: Standings,
    pub(crate) allowances: Map<UserId, Allowance>,
    /// Users whose presence home this shard is.
    pub(crate) present: Map<UserId, Present>,
    /// Sessions of this shard that want to see a user's presence.
    pub(crate) named: Map<UserId, BTreeSet<SessionId>>,
    /// Those that do.
    pub(crate) watched: Map<UserId, Watched>,
    pub(crate) tickets: Tickets,
    pub(crate) timers: Timers,
    /// Sessions whose outbox has room again for what they are behind with.
    pub(crate) ready: VecDeque<SessionId>,
    pub(crate) drain: Option<Drain>,
    pub(crate) serial: u64,
    pub(crate) heads: Heads,
}

impl State {
    pub(crate) fn new(config: ShardConfig) -> Self {
        assert!(config.shard.0 < config.shards, "a shard's number is below the number of shards");
        Self {
            config,
            planted: None,
            now: Now::default(),
            skew_ms: None,
            generation: Generation::default(),
            sessions: Map::default(),
            closing: Closing::default(),
            users: Map::default(),
            feeds: Map::default(),
            homes: Map::default(),
            appends: Appends::default(),
            standings: Standings::default(),
            allowances: Map::default(),
            present: Map::default(),
            named: Map::default(),
            watched: Map::default(),
            tickets: Tickets::default(),
            timers: Timers::default(),
            ready: VecDeque::new(),
            drain: None,
            serial: 0,
            heads: Heads::default(),
        }
    }

    /// Whether a test planted this fault. Never in a product build.
    #[inline]
    pub(crate) fn planted(&self, fault: Fault) -> bool {
        cfg!(feature = "planted") && self.planted == Some(fault)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// The shard that orders a conversation on this node.
    pub(crate) fn home(&self, conversation: ConversationId) -> ShardId {
        ShardId((conversation.spread() % u64::from(self.config.shards)) as u16)
    }

    /// The shard that knows all sessions of a user on this node.
    pub(crate) fn presence_home(&self, user: UserId) -> ShardId {
        ShardId((user.spread() % u64::from(self.config.shards)) as u16)
    }

    pub(crate) fn after_ms(&self, ms: u64) -> u64 {
        self.now.mono_us.saturating_add(ms.saturating_mul(1_000))
    }

    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Sessions of a user on this shard, in order.
    pub(crate) fn sessions_of(&self, user: UserId) -> alloc::vec::Vec<SessionId> {
        self.users.get(&user).map(|s| s.iter().copied().collect()).unwrap_or_default()
    }

    /// When the session has to be looked at again: Hello, silence, token and drain.
    pub(crate) fn arm(&mut self, id: SessionId) {
        let limits = &self.config.limits;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let hello = session.connected_us.saturating_add(limits.hello_ms * 1_000);
        let mut at = session.heard_us.saturating_add(limits.idle_ms * 1_000);
        if session.attached() {
            let left_ms = (session.expires_at.saturating_mul(1_000)).saturating_sub(self.now.unix_ms);
            at = at.min(self.now.mono_us.saturating_add(left_ms.saturating_mul(1_000)));
        } else {
            at = at.min(hello);
        }
        if let Some(drain_us) = session.drain_us {
            // Past its slot it only waits for its publishes, at most until the drain's deadline.
            let deadline_us = self.drain.as_ref().map_or(drain_us, |drain| drain.deadline_us);
            at = at.min(if drain_us > self.now.mono_us { drain_us } else { deadline_us });
        }
        let at = at.max(self.now.mono_us + 1);
        self.timers.clear(session.timer_us, Timer::Session(id));
        session.timer_us = at;
        self.timers.set(at, Timer::Session(id));
    }
}
