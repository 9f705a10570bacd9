//! Who is there: at a user's presence home all sessions of the user on this node; elsewhere whom this shard watches.

use alloc::collections::{BTreeMap, BTreeSet};

use schema_wire::v1::PresenceState;
use schema_wire::{DeviceId, SessionId, ShardId};

/// A user as the presence home knows them.
#[derive(Default)]
pub(crate) struct Present {
    pub(crate) sessions: BTreeMap<SessionId, (DeviceId, PresenceState)>,
    /// Shards that watch the user.
    pub(crate) watchers: BTreeSet<ShardId>,
    /// What was last told to them.
    pub(crate) shown: PresenceState,
    /// Unix milliseconds of the last sign of life that was shown.
    pub(crate) seen_at: u64,
    pub(crate) deal: Deal,
}

/// How the user's message limit is dealt among shards.
#[derive(Default)]
pub(crate) struct Deal {
    /// Shards asked what they spent, and what they answered.
    pub(crate) answers: BTreeMap<ShardId, Option<u32>>,
    /// Shards that may have accepted publishes of the user within the last window.
    pub(crate) holders: BTreeSet<ShardId>,
    /// When holders the user left are forgotten.
    pub(crate) planned: Option<u64>,
    /// Something changed while answers were awaited.
    pub(crate) again: bool,
}

impl Present {
    /// What the user shows: nothing as soon as one device hides, else the liveliest device.
    pub(crate) fn state(&self) -> PresenceState {
        let has = |wanted| self.sessions.values().any(|(_, state)| *state == wanted);
        if has(PresenceState::Hidden) {
            PresenceState::Hidden
        } else if has(PresenceState::Online) {
            PresenceState::Online
        } else if has(PresenceState::Away) {
            PresenceState::Away
        } else {
            PresenceState::Offline
        }
    }

    /// The shards the user has sessions on.
    pub(crate) fn shards(&self) -> BTreeSet<ShardId> {
        self.sessions.keys().map(|session| session.shard()).collect()
    }

    /// Whether nothing would be lost by dropping it.
    pub(crate) fn idle(&self) -> bool {
        let dealt = self.deal.answers.is_empty() && self.deal.holders.is_empty();
        self.sessions.is_empty() && self.watchers.is_empty() && dealt
    }
}
