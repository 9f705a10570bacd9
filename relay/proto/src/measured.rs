//! Steps that no event shows by themselves, for benchmarks to measure alone. Not part of a product build.

use schema_wire::{ConversationId, UserId};

use crate::message::authorise;
use crate::state::standing::{Right, Standings};

/// What a shard knows of the members of many conversations, and its decision about a publish.
#[derive(Default)]
pub struct Authorise {
    standings: Standings,
}

impl Authorise {
    /// The user is a member, muted until then (unix milliseconds).
    pub fn remember(&mut self, conversation: ConversationId, user: UserId, muted_until: Option<u64>) {
        let right = Right { muted_until, member_count: 1, members_version: 1 };
        self.standings.put(conversation, user, right, usize::MAX);
    }

    /// Whether the user may publish there now (unix milliseconds); false as well when nothing is known and the store
    /// would be asked.
    pub fn may_publish(&self, conversation: ConversationId, user: UserId, now_ms: u64) -> bool {
        let right = self.standings.get(conversation, user);
        right.is_some_and(|right| authorise::may_publish(right, now_ms).is_ok())
    }
}
