//! The truth, in memory, shared by all nodes and untouched by their crashes: what a real store keeps and answers.

mod admin;
mod append;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use schema_wire::record::{Change, Message, UserStatus};
use schema_wire::v1::{self, GoneReason, Role};
use schema_wire::{ConversationId, DeviceId, Generation, Offset, PublishKey, UserId};

/// More membership changes than this in one answer are told as an overflow.
const MEMBER_CHANGES_MAX: usize = 6;

/// Stay of a member: first readable offset and, once left, the last.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interval {
    pub joined: u64,
    pub left: Option<u64>,
}

/// A member, present or former.
#[derive(Clone, Debug)]
pub struct Member {
    pub intervals: Vec<Interval>,
    pub role: Role,
}

impl Member {
    /// Whether the user is a member now.
    pub fn present(&self) -> bool {
        self.intervals.last().is_some_and(|i| i.left.is_none())
    }

    /// Whether the member may read that offset.
    pub fn reads(&self, offset: u64) -> bool {
        self.intervals.iter().any(|i| i.joined <= offset && i.left.is_none_or(|l| offset <= l))
    }
}

/// One place of a log.
#[derive(Clone, Debug)]
pub struct Slot {
    pub message: Message,
    pub gone: Option<GoneReason>,
    /// Offset of the delete that emptied it.
    deleted_by: Option<u64>,
}

/// One conversation.
#[derive(Clone, Debug)]
pub struct Log {
    pub slots: Vec<Slot>,
    pub members: BTreeMap<UserId, Member>,
    pub version: u64,
    /// Who changed at which version.
    versions: Vec<(u64, UserId)>,
    pub epoch: u64,
    /// Who opened a first contact that nobody has accepted.
    pub waiting: Option<UserId>,
    /// Where each newer generation cut the log.
    pub cuts: Vec<(Generation, u64)>,
}

impl Log {
    /// Newest offset.
    pub fn head(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The lowest cut by generations after `since`, if there was one.
    pub fn cut_since(&self, since: Generation) -> Option<u64> {
        self.cuts.iter().filter(|(g, _)| *g > since).map(|(_, head)| *head).min()
    }

    /// Why an offset that exists holds nothing, if so.
    pub fn gone(&self, offset: u64, unix_ms: u64) -> Option<GoneReason> {
        let slot = &self.slots[offset as usize - 1];
        let expired = slot.message.expires_at.is_some_and(|at| at <= unix_ms);
        slot.gone.or(expired.then_some(GoneReason::Expired))
    }

    /// Generation and offset of the delete that emptied a place.
    pub fn deleted_by(&self, offset: u64) -> Option<(u32, u64)> {
        let by = self.slots.get(offset as usize - 1)?.deleted_by?;
        let delete = &self.slots.get(by as usize - 1)?.message;
        Some((delete.generation.0, by))
    }

    fn present_count(&self) -> u32 {
        self.members.values().filter(|m| m.present()).count() as u32
    }
}

/// One account.
#[derive(Clone, Debug)]
pub struct Account {
    pub status: UserStatus,
    /// Unix seconds.
    pub tokens_not_before: u64,
    /// Whether each device may attach.
    pub devices: BTreeMap<DeviceId, bool>,
    pub events: Vec<v1::UserEvent>,
}

/// The store.
#[derive(Clone, Debug, Default)]
pub struct SimStore {
    pub generation: Generation,
    pub logs: BTreeMap<ConversationId, Log>,
    pub accounts: BTreeMap<UserId, Account>,
    pub cursors: BTreeMap<(UserId, ConversationId), u64>,
    /// Who blocked whom.
    pub blocks: BTreeSet<(UserId, UserId)>,
    keys: BTreeMap<(UserId, PublishKey), (ConversationId, Offset)>,
    pub changes: Vec<Change>,
}

impl SimStore {
    /// An empty store in its first generation.
    pub fn new() -> Self {
        Self { generation: Generation(1), ..Self::default() }
    }

    /// Adds an account with its devices.
    pub fn add_account(&mut self, user: UserId, devices: impl Iterator<Item = DeviceId>) {
        let devices = devices.map(|d| (d, true)).collect();
        let account =
            Account { status: UserStatus::Active, tokens_not_before: 0, devices, events: Vec::new() };
        self.accounts.insert(user, account);
    }

    /// Adds a conversation without members.
    pub fn add_conversation(&mut self, id: ConversationId) {
        let log = Log {
            slots: Vec::new(),
            members: BTreeMap::new(),
            version: 0,
            versions: Vec::new(),
            epoch: 0,
            waiting: None,
            cuts: Vec::new(),
        };
        self.logs.insert(id, log);
    }

    /// Where a key was appended, if it still is.
    pub fn place_of(&self, user: UserId, key: PublishKey) -> Option<(ConversationId, Offset)> {
        self.keys.get(&(user, key)).copied()
    }

    /// Whether two users are in one conversation now that both agreed to, with no block between them.
    pub fn acquainted(&self, a: UserId, b: UserId) -> bool {
        let share = |l: &Log| {
            l.waiting.is_none()
                && l.members.get(&a).is_some_and(Member::present)
                && l.members.get(&b).is_some_and(Member::present)
        };
        a == b || (!self.blocked(a, b) && self.logs.values().any(share))
    }

    /// Whether one of two users blocked the other.
    pub fn blocked(&self, a: UserId, b: UserId) -> bool {
        self.blocks.contains(&(a, b)) || self.blocks.contains(&(b, a))
    }

    /// Whether a user is a member now.
    pub fn is_member(&self, user: UserId, conversation: ConversationId) -> bool {
        self.logs.get(&conversation).and_then(|l| l.members.get(&user)).is_some_and(Member::present)
    }

    fn push_event(&mut self, user: UserId, unix_ms: u64, event: v1::user_event::Event) {
        let generation = self.generation.0;
        let Some(account) = self.accounts.get_mut(&user) else { return };
        let offset = account.events.len() as u64 + 1;
        let entry =
            v1::UserEvent { offset, generation, at: unix_ms, event: Some(event), ..Default::default() };
        account.events.push(entry);
        self.changes.push(Change::UserEvents { user, head: Offset(offset) });
    }
}
