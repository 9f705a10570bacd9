//! Deadlines in order. A deadline is looked at when it comes, and put back if it moved meanwhile, so that hearing
//! from a session costs nothing here.

use alloc::collections::BTreeSet;

use schema_wire::{ConversationId, SessionId};

/// What a deadline is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Hello, silence, token expiry or drain of a session.
    Session(SessionId),
    /// A failed read of a session may be tried again.
    Retry(SessionId),
    /// A home still misses an offset.
    Gap(ConversationId),
    /// A feed may look up its members again.
    Members(ConversationId),
    /// What a session shows of its user may be told, having been said beyond the limit.
    Presence(SessionId),
    /// What a session wants to watch and the store could say nothing of is asked again.
    Watch(SessionId),
    /// Gathered ephemeral events go out.
    Coalesce(ConversationId),
    /// Homes compare their heads with the store.
    Heads,
    /// The deadline of a drain.
    Drain,
    /// Shares of a user's message limit are dealt anew.
    Share(schema_wire::UserId),
    /// What a watched user shows on other nodes has to be renewed.
    Lease(schema_wire::UserId),
}

/// All deadlines of a shard, in microseconds of the monotonic clock.
#[derive(Default)]
pub(crate) struct Timers(BTreeSet<(u64, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at_us: u64, timer: Timer) {
        self.0.insert((at_us, timer));
    }

    pub(crate) fn clear(&mut self, at_us: u64, timer: Timer) {
        self.0.remove(&(at_us, timer));
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now_us: u64) -> Option<Timer> {
        let (at, _) = *self.0.first()?;
        if at > now_us { None } else { self.0.pop_first().map(|(_, timer)| timer) }
    }
}
