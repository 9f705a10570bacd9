//! What one shard says to another on the same node: references, never copies of payload.

use crate::disconnect::Disconnect;
use crate::frame::Frame;
use crate::id::{ConversationId, DeviceId, Generation, Offset, PublishKey, SessionId, UserId};
use crate::publication::Shared;
use crate::record::{Append, Appended, StoreFault};
use crate::v1::PresenceState;

/// A frame between shards. The sender's shard number travels beside it. Delivery is reliable and in order
/// between two shards of a living process.
#[derive(Clone, Debug)]
pub enum PeerFrame {
    /// Session's shard → home: append this.
    Append { session: SessionId, request: u64, append: Append },
    /// Home → session's shard: what became of it.
    Appended {
        session: SessionId,
        request: u64,
        conversation: ConversationId,
        publish_key: PublishKey,
        outcome: Result<Appended, StoreFault>,
    },
    /// Session's shard → home: this shard has subscribers now.
    Follow { conversation: ConversationId },
    /// Session's shard → home: the last subscriber left.
    Unfollow { conversation: ConversationId },
    /// Home → session's shard: every publication from `next` on will come, in order, none left out.
    Following { conversation: ConversationId, generation: Generation, next: Offset },
    /// Home → following shards: one durable message.
    Publication(Shared),
    /// Session's shard → home → following shards: an ephemeral event of a conversation.
    Ephemeral { conversation: ConversationId, sender: Sender, event: Ephemeral },
    /// Session's shard → home → following shards: an ephemeral publication, encoded once for all who get it.
    Signal { conversation: ConversationId, sender: Sender, frame: Frame },
    /// Session's shard → the user's presence home: state of one session, `None` when it ended.
    Present { user: UserId, device: DeviceId, session: SessionId, state: Option<PresenceState> },
    /// Presence home → session's shard: close this session.
    Close { session: SessionId, with: Disconnect },
    /// Session's shard → presence home: this shard does (not) watch the user.
    WatchUser { user: UserId, watching: bool },
    /// Presence home → watching shards: what the user shows now. Unix milliseconds.
    PresenceOf { user: UserId, state: PresenceState, seen_at: u64 },
    /// Presence home → shards with sessions of the user: how many durable publishes of the user this shard may accept
    /// in any one window. `None`: accept no more for now and answer with `Spent`.
    Share { user: UserId, allowance: Option<u32> },
    /// Session's shard → presence home: how many publishes of the user it accepted within the last window.
    Spent { user: UserId, spent: u32 },
}

/// Who says something ephemeral.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    pub session: SessionId,
    pub user: UserId,
    /// As of which membership version of the conversation the user is a member. A shard that knows the members of an
    /// earlier one does not know yet who may see it.
    pub members_version: u64,
}

/// An event that is never stored.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ephemeral {
    Typing { active: bool },
    Cursor { offset: Offset },
}
