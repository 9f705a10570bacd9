//! Who is there: at a user's presence home all sessions of the user on this node, and what other nodes say of the user as
//! long as their lease lasts.

use alloc::collections::{BTreeMap, BTreeSet};

use schema_wire::bus::Life;
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
    /// What other nodes said the user shows there, and until when that holds, in monotonic microseconds.
    pub(crate) elsewhere: BTreeMap<Life, (PresenceState, u64)>,
    /// What other nodes were last told.
    pub(crate) announced: PresenceState,
    /// The bus brings what concerns the user.
    pub(crate) listens: bool,
    /// When the leases of other nodes are looked at.
    pub(crate) lease_us: Option<u64>,
    /// Unix milliseconds of the last sign of life that was shown.
    pub(crate) seen_at: u64,
    pub(crate) deal: Deal,
}

/// A user whom sessions of this shard watch.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) sessions: BTreeSet<SessionId>,
    /// What they were last shown, and when the user was seen; `None` until the presence home answered.
    pub(crate) shown: Option<(PresenceState, u64)>,
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
    /// What the user shows on this node.
    pub(crate) fn here(&self) -> PresenceState {
        liveliest(&|wanted| self.sessions.values().any(|(_, state)| *state == wanted))
    }

    /// What the user shows on all nodes.
    pub(crate) fn state(&self) -> PresenceState {
        let here = self.here();
        liveliest(&|wanted| here == wanted || self.elsewhere.values().any(|(state, _)| *state == wanted))
    }

    /// Whether what other nodes say of the user concerns anybody.
    pub(crate) fn wants_to_listen(&self) -> bool {
        !self.sessions.is_empty() || !self.watchers.is_empty()
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

/// Nothing as soon as one device hides, else what the liveliest shows.
fn liveliest(has: &dyn Fn(PresenceState) -> bool) -> PresenceState {
    use PresenceState as P;
    [P::Hidden, P::Online, P::Away].into_iter().find(|state| has(*state)).unwrap_or(P::Offline)
}
