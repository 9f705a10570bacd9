//! One authenticated device on one connection, and what it still has to be told.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use schema_wire::v1::PresenceState;
use schema_wire::{ConversationId, DeviceId, Generation, Offset, Position, PublishKey, UserId};

use super::apart::Apart;
use super::outbox::Outbox;

/// How far a session has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Hello is due.
    Connected,
    /// Its token is being verified.
    Verifying,
    /// The store is being asked whether the device may come in.
    Attaching,
    /// Welcome was said.
    Attached,
}

/// What Hello asked for, kept until Welcome.
#[derive(Default)]
pub(crate) struct Greeting {
    pub(crate) request: u64,
    pub(crate) capabilities: Vec<String>,
    pub(crate) device: Option<DeviceId>,
    pub(crate) user_position: Option<Position>,
    pub(crate) resume: VecDeque<(ConversationId, Option<Position>)>,
}

/// The session's place in its user's own stream.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) next: Offset,
    pub(crate) generation: Generation,
    pub(crate) head: Offset,
    pub(crate) reading: bool,
    pub(crate) queued: bool,
    /// The store began a new life: ask even if nothing seems new.
    pub(crate) unsure: bool,
}

/// Something of the session that catches up when there is room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behind {
    Stream,
    Conversation(ConversationId),
}

/// How often something happened in the current stretch of time.
#[derive(Default)]
pub(crate) struct Tally {
    until_us: u64,
    count: u32,
}

impl Tally {
    /// Counts one more; `false` when it is more than `most` within `window_us`.
    pub(crate) fn count(&mut self, now_us: u64, window_us: u64, most: u32) -> bool {
        if now_us >= self.until_us {
            *self = Self { until_us: now_us.saturating_add(window_us), count: 0 };
        }
        self.count += 1;
        self.count <= most
    }

    /// When the current stretch ends.
    pub(crate) fn until_us(&self) -> u64 {
        self.until_us
    }
}

/// A publish that has not been answered.
#[derive(Clone, Copy)]
pub(crate) struct Publishing {
    pub(crate) accepted_us: u64,
}

/// A session of this shard.
pub(crate) struct Session {
    pub(crate) phase: Phase,
    pub(crate) address: Option<IpAddr>,
    pub(crate) bearer: Option<String>,
    pub(crate) greeting: Option<Box<Greeting>>,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    /// Unix seconds.
    pub(crate) issued_at: u64,
    /// Unix seconds.
    pub(crate) expires_at: u64,
    /// Tokens issued before this (unix seconds) are void for it.
    pub(crate) not_before: u64,
    /// Request number of a Refresh under way.
    pub(crate) refreshing: Option<u64>,
    pub(crate) connected_us: u64,
    pub(crate) heard_us: u64,
    /// When the session's deadline will be looked at.
    pub(crate) timer_us: u64,
    /// When a draining shard closes it.
    pub(crate) drain_us: Option<u64>,
    pub(crate) outbox: Outbox,
    /// The outbox was full when something wanted to catch up.
    pub(crate) starved: bool,
    /// After a failed read nothing is read before this.
    pub(crate) retry_us: Option<u64>,
    pub(crate) stream: Stream,
    pub(crate) behind: VecDeque<Behind>,
    /// Pages and checks under way for what is behind.
    pub(crate) reads: usize,
    /// Requests of the client the store is working on.
    pub(crate) requests: usize,
    pub(crate) subscriptions: BTreeSet<ConversationId>,
    /// Subscribes whose standing is being asked for, by serial, with the number of the request.
    pub(crate) joining: BTreeMap<u64, (ConversationId, u64)>,
    pub(crate) publishing: BTreeMap<PublishKey, Publishing>,
    pub(crate) watched_conversations: BTreeSet<ConversationId>,
    /// Whose presence it wants to see, and those of them it sees.
    pub(crate) named_users: BTreeSet<UserId>,
    pub(crate) watched_users: BTreeSet<UserId>,
    /// The store is being asked which of them it may see, and that may have changed meanwhile.
    pub(crate) looking: bool,
    pub(crate) unsure: bool,
    /// From when on it may ask again.
    pub(crate) look_us: u64,
    /// Conversations it wants to watch and the store could say nothing of.
    pub(crate) unstood: BTreeSet<ConversationId>,
    /// The newest Watch, so that an older one's answer does nothing.
    pub(crate) watch_serial: u64,
    /// What it shows from the next second on, having said it beyond the limit.
    pub(crate) late: Option<PresenceState>,
    /// Whose ephemeral frames it may not get.
    pub(crate) apart: Apart,
    pub(crate) refusals: Tally,
    pub(crate) ephemerals: Tally,
}

impl Session {
    pub(crate) fn new(now_us: u64, address: Option<IpAddr>, bearer: Option<String>) -> Self {
        Self {
            phase: Phase::Connected,
            address,
            bearer,
            greeting: None,
            user: UserId::default(),
            device: DeviceId::default(),
            issued_at: 0,
            expires_at: 0,
            not_before: 0,
            refreshing: None,
            connected_us: now_us,
            heard_us: now_us,
            timer_us: 0,
            drain_us: None,
            outbox: Outbox::default(),
            starved: false,
            retry_us: None,
            stream: Stream::default(),
            behind: VecDeque::new(),
            reads: 0,
            requests: 0,
            subscriptions: BTreeSet::new(),
            joining: BTreeMap::new(),
            publishing: BTreeMap::new(),
            watched_conversations: BTreeSet::new(),
            named_users: BTreeSet::new(),
            watched_users: BTreeSet::new(),
            looking: false,
            unsure: false,
            look_us: 0,
            unstood: BTreeSet::new(),
            watch_serial: 0,
            late: None,
            apart: Apart::default(),
            refusals: Tally::default(),
            ephemerals: Tally::default(),
        }
    }

    pub(crate) fn attached(&self) -> bool {
        self.phase == Phase::Attached
    }
}
