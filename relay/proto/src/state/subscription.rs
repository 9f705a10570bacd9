//! One session's place in one conversation: what it gets next, and until where.

use alloc::collections::BTreeMap;

use schema_wire::{Generation, Offset, UserId};

/// How a subscription gets its next entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// From the publications as they come.
    Live,
    /// From pages of the store, then the tail.
    Recovering,
    /// Whether its position still exists is asked first.
    Checking,
}

/// Follows one conversation for one session.
pub(crate) struct Subscription {
    /// Tells this subscription from an earlier one of the same session and conversation.
    pub(crate) serial: u64,
    pub(crate) user: UserId,
    pub(crate) mode: Mode,
    /// The first offset it has not had.
    pub(crate) next: Offset,
    /// The store's life in which `next` was last known to be right.
    pub(crate) generation: Generation,
    /// Offsets below come from the store alone, which knows all membership intervals.
    pub(crate) floor: Offset,
    /// Newest offset of the store it knows of.
    pub(crate) head: Offset,
    /// The last offset it may have, once its user left.
    pub(crate) last: Option<Offset>,
    /// Offsets at or after `next` that this very session published, with the store's life they were acked in: in
    /// another one somebody else's message stands there.
    pub(crate) own: BTreeMap<Offset, Generation>,
    /// A page or a check is under way.
    pub(crate) reading: bool,
    /// It waits in the session's line of those that catch up.
    pub(crate) queued: bool,
}

impl Subscription {
    /// Everything up to `offset` has been had. A position never goes back.
    pub(crate) fn pass(&mut self, offset: Offset) {
        assert!(offset >= self.next || offset.next() == self.next, "a position never goes back");
        self.next = offset.next();
        while self.own.first_key_value().is_some_and(|(o, _)| *o < self.next) {
            self.own.pop_first();
        }
    }

    /// Whether this very session published what stands at an offset in that life of the store.
    pub(crate) fn is_own(&self, offset: Offset, generation: Generation) -> bool {
        self.own.get(&offset) == Some(&generation)
    }

    /// Whether its user left and it has had all it may.
    pub(crate) fn finished(&self) -> bool {
        self.last.is_some_and(|last| self.next > last)
    }
}
