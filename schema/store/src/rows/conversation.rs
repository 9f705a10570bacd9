//! Conversations and their members as the account API shows and changes them.

use schema_wire::record::Message;
use schema_wire::v1::Role;
use schema_wire::{ConversationId, Offset, UserId};

/// Two people, or many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConversationKind {
    Direct,
    Group,
}

/// What somebody who joins may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HistoryPolicy {
    /// What was published since they joined.
    #[default]
    SinceJoin,
    /// Everything.
    All,
}

/// A group to be created.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupDraft {
    pub name: String,
    /// Without the owner. At most `GROUP_MEMBERS_MAX - 1`; doubles count once.
    pub members: Vec<UserId>,
    pub history: HistoryPolicy,
    /// Seconds after which each message expires, if set.
    pub ttl: Option<u32>,
}

/// `None` keeps what is there.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ConversationChange {
    pub name: Option<String>,
    /// Seconds; `Some(None)`: messages do not expire by themselves.
    pub ttl: Option<Option<u32>>,
    /// Moves to this epoch; must be the present one plus 1, else `Invalid`.
    pub epoch: Option<u64>,
}

/// What became of people to be added.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Added {
    pub members: Vec<MemberAdded>,
    /// Asked first, as their settings want it.
    pub invited: Vec<UserId>,
}

/// An answer to a first contact or an invitation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestAnswer {
    Accept,
    /// Nothing more is seen of it.
    Delete,
}

/// Which side of a first contact that waits a user is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// It waits for the user.
    Received,
    /// It waits for the peer.
    Sent,
}

impl Request {
    /// The user's side of what somebody opened.
    pub fn of(user: UserId, opened_by: UserId) -> Self {
        if user == opened_by { Self::Sent } else { Self::Received }
    }
}

/// An invitation to a group.
#[derive(Clone, PartialEq, Debug)]
pub struct Invitation {
    pub conversation: ConversationId,
    /// What the group is called.
    pub name: String,
    pub member_count: u32,
    pub by: UserId,
    pub by_name: String,
    /// Unix ms.
    pub at: u64,
}

/// Somebody who was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberAdded {
    pub user: UserId,
    /// First offset they may read.
    pub first: Offset,
}

/// A line of the conversation list.
#[derive(Clone, PartialEq, Debug)]
pub struct ConversationSummary {
    pub id: ConversationId,
    pub kind: ConversationKind,
    /// Empty for direct ones: show the peer.
    pub name: String,
    /// The other one, in a direct conversation.
    pub peer: Option<(UserId, String)>,
    /// A first contact that waits to be accepted.
    pub request: Option<Request>,
    pub role: Role,
    pub member_count: u32,
    pub head: Offset,
    pub cursor: Offset,
    /// Offsets after the cursor that the user may read, deleted ones included.
    pub unread: u64,
    /// Unix ms of the newest message, or of the creation.
    pub last_at: u64,
    /// Newest message, unless it is gone.
    pub last: Option<Message>,
}

impl ConversationSummary {
    /// Whether the user runs a group.
    pub fn leads_group(&self) -> bool {
        self.kind == ConversationKind::Group && matches!(self.role, Role::Owner | Role::Admin)
    }
}

/// One conversation.
#[derive(Clone, PartialEq, Debug)]
pub struct ConversationDetail {
    pub summary: ConversationSummary,
    pub created_at: u64,
    pub history: HistoryPolicy,
    pub ttl: Option<u32>,
    pub epoch: u64,
    pub members_version: u64,
    /// First offset the user may read.
    pub first: Offset,
    pub muted_until: Option<u64>,
    /// Invited and not yet here, by id, for owners and admins; at most a page.
    pub invited: Vec<UserId>,
}

/// A member.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    pub user: UserId,
    pub name: String,
    pub role: Role,
    /// Unix ms.
    pub joined_at: u64,
    pub muted_until: Option<u64>,
}
