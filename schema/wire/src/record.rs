//! What crosses between a shard and the store: requests, replies and change-log entries of the data plane.
//! The relay logic speaks these, the store implements them; accounts and administration have their own trait.

use alloc::vec::Vec;
use bytes::Bytes;
use core::net::IpAddr;

use crate::id::{ConversationId, DeviceId, Generation, Offset, Position, PublishKey, UserId};
use crate::network::Network;
use crate::refusal::Refused;
use crate::v1::{self, GoneReason, Role};

/// One message to append. The store assigns the offset.
#[derive(Clone, PartialEq, Debug)]
pub struct Append {
    pub conversation: ConversationId,
    pub publish_key: PublishKey,
    pub sender: UserId,
    pub device: DeviceId,
    pub kind: u32,
    pub relates_to: Option<Offset>,
    /// Seconds.
    pub expires_in: Option<u32>,
    pub expected_epoch: Option<u64>,
    /// `v1::Notify` as a number.
    pub notify: i32,
    pub body: Bytes,
    pub commitment: Option<Bytes>,
}

/// What became of one append after its batch committed. Membership, status, epoch, mute and block are checked by
/// the store in the same transaction, so a stale cache on a shard can only refuse too little for a moment, never store.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Appended {
    /// Durable at this place. Times in unix milliseconds.
    Stored { generation: Generation, offset: Offset, at: u64, expires_at: Option<u64>, members_version: u64 },
    /// The publish key was appended before, there. The generation is the store's now, in which the offset still holds:
    /// who knows a newer one has to doubt the answer.
    Duplicate { generation: Generation, offset: Offset, at: u64 },
    /// Not stored.
    Refused { refused: Refused, retry_after_ms: u32 },
}

/// The store failed; nothing of the request happened (an append batch commits whole or not at all).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreFault {
    /// Busy, away or broken.
    Unavailable,
    /// No room on the disk.
    Full,
}

/// What a shard asks of the store. Each request is answered by the reply of the same name or a fault.
#[derive(Clone, PartialEq, Debug)]
pub enum StoreRequest {
    /// Whether this device of this user may attach.
    Attach { user: UserId, device: DeviceId, address: Option<IpAddr> },
    /// Append one message; the server batches those of all shards into one transaction.
    Append(Append),
    /// What a user is to a conversation. With `after`, also whether that position still exists.
    Standing { user: UserId, conversation: ConversationId, after: Option<Position> },
    /// Entries a user may read: membership intervals, deletion and expiry applied.
    Recover { user: UserId, conversation: ConversationId, from: Offset, limit: u32, backwards: bool },
    /// Entries as they are, for a home shard that repairs a gap.
    Read { conversation: ConversationId, from: Offset, limit: u32 },
    /// Who joined or left after a membership version.
    Members { conversation: ConversationId, since: u64 },
    /// Newest offsets, in the order asked.
    Heads { conversations: Vec<ConversationId> },
    /// A page of the user's own stream: what follows `after`, whose generation tells whether it still exists.
    UserEvents { user: UserId, after: Position, limit: u32 },
    /// Move a read cursor forward, and tell the user's other devices through the user's stream.
    MoveCursor { user: UserId, device: DeviceId, conversation: ConversationId, offset: Offset },
    /// Which of `others` share a conversation with `user` that both agreed to, with no block between the two.
    Acquaintances { user: UserId, others: Vec<UserId> },
}

/// The store's answer.
#[derive(Clone, PartialEq, Debug)]
pub enum StoreReply {
    Attach(Attachment),
    Append(Appended),
    Standing(Option<Standing>),
    Recover(Page),
    Read(Page),
    Members(MembersDelta),
    Heads {
        generation: Generation,
        heads: Vec<Offset>,
    },
    UserEvents(UserEventPage),
    /// Whether the cursor moved (false: it was there or further already), and as of which membership version the user is
    /// a member, if at all.
    MoveCursor {
        moved: bool,
        members_version: Option<u64>,
    },
    Acquaintances(Vec<UserId>),
    Fault(StoreFault),
}

/// The life of an account. Times in unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserStatus {
    /// Waiting for approval or mail verification.
    Pending,
    Active,
    Suspended {
        until: Option<u64>,
    },
    Banned,
    Deleted,
}

/// What attaching needs to know.
#[derive(Clone, PartialEq, Debug)]
pub struct Attachment {
    pub status: UserStatus,
    /// False when the device is unknown or revoked.
    pub device_active: bool,
    /// The client's address is banned.
    pub address_banned: bool,
    /// Tokens issued before this (unix seconds) are revoked.
    pub tokens_not_before: u64,
    pub generation: Generation,
    /// Newest user event.
    pub user_head: Offset,
}

/// What a user is to a conversation.
#[derive(Clone, PartialEq, Debug)]
pub struct Standing {
    pub generation: Generation,
    pub head: Offset,
    pub members_version: u64,
    pub member_count: u32,
    pub epoch: u64,
    /// `None`: not a member now (may still read up to `last`).
    pub role: Option<Role>,
    /// First offset the user may read.
    pub first: Offset,
    /// Last offset a former member may read.
    pub last: Option<Offset>,
    /// Unix milliseconds.
    pub muted_until: Option<u64>,
    pub cursor: Offset,
    /// A first contact that the other side has not accepted: nothing ephemeral passes.
    pub waiting: bool,
    /// Members, former ones too, the user is kept apart from, because one of the two blocked the other. What a former
    /// member said may still be on its way.
    pub apart: Vec<UserId>,
    /// With `after` in the request: the head at which the asked position's log was cut off, when the position lies beyond it.
    pub rewound: Option<Offset>,
}

/// One stored message.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    pub conversation: ConversationId,
    /// The generation it was appended in.
    pub generation: Generation,
    pub offset: Offset,
    pub kind: u32,
    pub sender: UserId,
    pub device: DeviceId,
    pub at: u64,
    pub relates_to: Option<Offset>,
    pub expires_at: Option<u64>,
    pub publish_key: PublishKey,
    /// Membership version of the conversation when it was appended.
    pub members_version: u64,
    pub body: Bytes,
}

/// One place of a log: a message, or a stretch that holds nothing any more.
#[derive(Clone, PartialEq, Debug)]
pub enum Entry {
    Message(Message),
    /// Both ends included.
    Gone {
        from: Offset,
        to: Offset,
        reason: GoneReason,
    },
}

/// A dense page: every offset from the first asked up to (not including) `next` is covered by an entry.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    pub generation: Generation,
    pub entries: Vec<Entry>,
    pub head: Offset,
    /// Counting up: first offset not covered. Counting down: last offset not covered (0 when done).
    pub next: Offset,
    pub members_version: u64,
    /// False when the user was never a member.
    pub readable: bool,
}

/// Who joined or left since a membership version.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MembersDelta {
    pub version: u64,
    pub member_count: u32,
    pub changes: Vec<MemberChange>,
    /// Whether it is a first contact that waits to be accepted. Accepting takes the next version.
    pub waiting: bool,
    /// Members, former ones too, with a block between them, one of whom is among the changes.
    pub apart: Vec<(UserId, UserId)>,
    /// More changed than one answer carries: drop every cached standing instead.
    pub overflow: bool,
}

/// One member's newest interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MemberChange {
    pub user: UserId,
    /// First offset of the newest interval.
    pub joined: Offset,
    /// Last readable offset, once left.
    pub left: Option<Offset>,
    pub role: Role,
}

/// A page of the user's own stream.
#[derive(Clone, PartialEq, Debug)]
pub struct UserEventPage {
    pub generation: Generation,
    pub head: Offset,
    pub events: Vec<v1::UserEvent>,
    /// With a position beyond the head of an older generation: where it was cut.
    pub rewound: Option<Offset>,
}

/// An entry of the change log: something a live session must learn within a second.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Suspended, banned, deleted, or active again.
    UserStatus {
        user: UserId,
        status: UserStatus,
    },
    DeviceRevoked {
        user: UserId,
        device: DeviceId,
    },
    /// Every token issued before (unix seconds) is void.
    TokensRevoked {
        user: UserId,
        not_before: u64,
    },
    /// Somebody joined, left, or changed role.
    Members {
        conversation: ConversationId,
        version: u64,
    },
    /// The user's own stream grew.
    UserEvents {
        user: UserId,
        head: Offset,
    },
    /// One of two people blocked or unblocked the other.
    Block {
        user: UserId,
        other: UserId,
        /// Whether one of them blocks the other now.
        stands: bool,
    },
    /// Messages were erased or deleted outside the log (account erasure, moderation, expiry).
    Erased {
        conversation: ConversationId,
    },
    /// The store began a new generation.
    Generation {
        generation: Generation,
    },
    /// An address, or a block of them, was banned.
    AddressBanned {
        network: Network,
    },
    /// Entries may have been forgotten before they were read: anything may have changed.
    Missed,
}
