//! What a shard believes a user is to a conversation. Bounded; wrong for at most a moment, because changes drop
//! entries and the store judges every append itself.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use schema_wire::record::Append;
use schema_wire::{ConversationId, SessionId, UserId};

use super::map::Map;

/// The part of a standing that decides about writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Right {
    /// Unix milliseconds.
    pub(crate) muted_until: Option<u64>,
    pub(crate) member_count: u32,
    /// As of which the user is a member.
    pub(crate) members_version: u64,
}

/// Something that waits for a standing.
pub(crate) enum Waiter {
    Publish { session: SessionId, request: u64, append: Append },
    Typing { session: SessionId, conversation: ConversationId, active: bool },
    Signal { session: SessionId, conversation: ConversationId, body: Bytes },
}

/// Those who wait for one standing.
#[derive(Default)]
pub(crate) struct Lookup {
    pub(crate) waiters: Vec<Waiter>,
    /// Membership or status changed meanwhile: the answer serves those who wait and is not kept.
    pub(crate) stale: bool,
}

/// Standings by conversation and user, and the lookups under way.
#[derive(Default)]
pub(crate) struct Standings {
    kept: Map<ConversationId, Map<UserId, Right>>,
    order: VecDeque<(ConversationId, UserId)>,
    pub(crate) lookups: BTreeMap<(ConversationId, UserId), Lookup>,
}

impl Standings {
    pub(crate) fn get(&self, conversation: ConversationId, user: UserId) -> Option<Right> {
        self.kept.get(&conversation)?.get(&user).copied()
    }

    /// Keeps one; the oldest goes when there are more than `bound`.
    pub(crate) fn put(&mut self, conversation: ConversationId, user: UserId, right: Right, bound: usize) {
        if self.kept.entry(conversation).or_default().insert(user, right).is_none() {
            self.order.push_back((conversation, user));
        }
        while self.order.len() > bound {
            if let Some((conversation, user)) = self.order.pop_front() {
                self.drop_one(conversation, user);
            }
        }
    }

    pub(crate) fn drop_one(&mut self, conversation: ConversationId, user: UserId) {
        if let Some(users) = self.kept.get_mut(&conversation) {
            users.remove(&user);
            if users.is_empty() {
                self.kept.remove(&conversation);
            }
        }
    }

    pub(crate) fn drop_conversation(&mut self, conversation: ConversationId) {
        self.kept.remove(&conversation);
        let everybody = (conversation, UserId([0; 16]))..=(conversation, UserId([0xff; 16]));
        for (_, lookup) in self.lookups.range_mut(everybody) {
            lookup.stale = true;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn drop_all(&mut self) {
        self.kept.clear();
        self.order.clear();
        for lookup in self.lookups.values_mut() {
            lookup.stale = true;
        }
    }
}
