//! Joining, leaving, roles. Whoever changes the members of a conversation holds its row, and takes the next membership
//! version in the transaction of the member's row.

use std::collections::BTreeSet;

use schema_wire::v1::user_event::Event;
use schema_wire::v1::{self, Role};
use schema_wire::{ConversationId, Offset, UserId};

use super::events::push_all;
use super::note::note_members;
use super::profile::blocked_among;
use super::read::ids;
use super::request::answered;
use super::{invitation, lock_users, must_exist};
use crate::accounts::{AccountError, Answer, GROUP_MEMBERS_MAX};
use crate::postgres::stream::push;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, role, small, uint};
use crate::rows::conversation::{Added, ConversationKind, MemberAdded};
use crate::stored::{int, role_number};

/// Somebody about to become a member.
#[derive(Clone, Copy)]
pub struct Joining {
    pub user: UserId,
    pub role: Role,
    /// It is a first contact that waits for them.
    pub asked: bool,
}

impl Joining {
    /// An ordinary member.
    pub fn member(user: UserId) -> Self {
        Self { user, role: Role::Member, asked: false }
    }
}

/// A present member and the conversation.
pub struct Present {
    pub kind: ConversationKind,
    pub role: Role,
    pub member_count: usize,
}

/// The conversation after its membership version rose.
struct Bumped {
    version: u64,
    next_offset: u64,
    reads_all: bool,
}

/// Nobody else changes these conversations until the transaction ends. To be called before their members are read: what
/// was read earlier may be over.
pub async fn hold(tx: &Tx, conversations: &[Id]) -> Answer<()> {
    tx.query(
        "SELECT 1 FROM conversations WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE",
        &[&conversations.to_vec()],
    )
    .await?;
    Ok(())
}

/// The member's place, or `NotFound`: strangers can't tell whether a conversation exists.
pub async fn must_be_member(tx: &Tx, conversation: ConversationId, user: UserId) -> Answer<Present> {
    let found = tx
        .query_opt(
            "SELECT c.kind = 'DIRECT', m.role, c.member_count
             FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
             WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.left_offset IS NULL",
            &[&Id(conversation.0), &Id(user.0)],
        )
        .await?;
    let row = found.ok_or(AccountError::NotFound)?;
    let kind = if row.try_get(0)? { ConversationKind::Direct } else { ConversationKind::Group };
    Ok(Present { kind, role: role(&row, 1)?, member_count: small(&row, 2)? as usize })
}

/// Opens an interval for each; their rows are locked, and none of them is a member now. Returns the first offset they
/// may read.
pub async fn join(
    tx: &Tx,
    conversation: ConversationId,
    joining: &[Joining],
    by: UserId,
    now: u64,
) -> Answer<Offset> {
    let bumped = bump(tx, conversation, joining.len() as i32, now).await?;
    let first = if bumped.reads_all { 1 } else { bumped.next_offset };
    let users: Vec<Id> = joining.iter().map(|j| Id(j.user.0)).collect();
    let roles: Vec<i64> = joining.iter().map(|j| role_number(j.role)).collect();
    tx.execute(
        "INSERT INTO conversation_members (conversation_id, user_id, joined_version, members_version,
           joined_offset, joined_at, role)
         SELECT $1, user_id, $4, $4, $5, $6, role FROM unnest($2, $3) AS t (user_id, role)",
        &[&Id(conversation.0), &users, &roles, &int(bumped.version), &int(first), &At(now)],
    )
    .await?;
    let tell = |j: &Joining| {
        let (conversation, by) = (conversation.to_bytes(), by.to_bytes());
        let (role, request) = (j.role.into(), j.asked);
        let event = v1::AddedTo { conversation, by, role, first, request, ..Default::default() };
        (j.user, event.into())
    };
    push_all(tx, joining.iter().map(tell).collect(), now).await?;
    Ok(Offset(first))
}

pub async fn add(
    tx: &Tx,
    by: UserId,
    conversation: ConversationId,
    users: &[UserId],
    now: u64,
) -> Answer<Added> {
    hold(tx, &[Id(conversation.0)]).await?;
    let adder = must_be_member(tx, conversation, by).await?;
    if adder.kind == ConversationKind::Direct || !matches!(adder.role, Role::Owner | Role::Admin) {
        return Err(AccountError::NotAllowed);
    }
    let strangers = strangers(tx, conversation, users).await?;
    let found = lock_users(tx, strangers.iter().copied(), now).await?;
    let blocked = blocked_among(tx, by, &strangers).await?;
    let asked = invitation::who_asks(tx, &strangers, by).await?;
    let mut joining: Vec<Joining> = Vec::new();
    for user in strangers {
        must_exist(found.get(&user).copied())?;
        if blocked.contains(&user) {
            return Err(AccountError::Blocked);
        }
        if adder.member_count + joining.len() >= GROUP_MEMBERS_MAX {
            return Err(AccountError::TooMany { limit: GROUP_MEMBERS_MAX });
        }
        if !asked.contains(&user) {
            joining.push(Joining::member(user));
        }
    }
    invitation::invite(tx, conversation, &asked, by, now).await?;
    let invited = asked.into_iter().collect();
    if joining.is_empty() {
        return Ok(Added { members: Vec::new(), invited });
    }
    let users: Vec<UserId> = joining.iter().map(|j| j.user).collect();
    invitation::take(tx, conversation, &users).await?;
    let first = join(tx, conversation, &joining, by, now).await?;
    Ok(Added { members: users.into_iter().map(|user| MemberAdded { user, first }).collect(), invited })
}

/// Those who are not members now, once each, in the order given.
async fn strangers(tx: &Tx, conversation: ConversationId, users: &[UserId]) -> Answer<Vec<UserId>> {
    let found = tx
        .query(
            "SELECT user_id FROM conversation_members
             WHERE conversation_id = $1 AND user_id = ANY ($2) AND left_offset IS NULL",
            &[&Id(conversation.0), &users.iter().map(|user| Id(user.0)).collect::<Vec<_>>()],
        )
        .await?;
    let mut known: BTreeSet<UserId> = ids(&found)?.into_iter().collect();
    Ok(users.iter().copied().filter(|user| known.insert(*user)).collect())
}

pub async fn remove(tx: &Tx, by: UserId, conversation: ConversationId, user: UserId, now: u64) -> Answer<()> {
    hold(tx, &[Id(conversation.0)]).await?;
    let remover = must_be_member(tx, conversation, by).await?;
    if remover.kind == ConversationKind::Direct {
        return Err(AccountError::NotAllowed);
    }
    let target = match must_be_member(tx, conversation, user).await {
        Err(AccountError::NotFound) => return withdraw(tx, &remover, conversation, user, now).await,
        found => found?,
    };
    if by != user && role_number(remover.role) <= role_number(target.role) {
        return Err(AccountError::NotAllowed);
    }
    if target.role == Role::Owner && target.member_count > 1 && owners(tx, conversation).await? == 1 {
        return Err(AccountError::LastOwner);
    }
    let last = leave(tx, conversation, user, now).await?;
    let (conversation, by) = (conversation.to_bytes(), by.to_bytes());
    Ok(push(tx, user, v1::RemovedFrom { conversation, by, last: last.0, ..Default::default() }, now).await?)
}

/// Takes back an invitation of somebody who is no member.
async fn withdraw(tx: &Tx, by: &Present, conversation: ConversationId, user: UserId, now: u64) -> Answer<()> {
    lock_users(tx, [user], now).await?;
    let leads = matches!(by.role, Role::Owner | Role::Admin);
    if !leads || invitation::take(tx, conversation, &[user]).await?.is_empty() {
        return Err(AccountError::NotFound);
    }
    Ok(push(tx, user, answered(conversation, v1::RequestAnswer::Deleted), now).await?)
}

/// Closes the member's interval at the newest message. Returns the last offset they may read.
pub async fn leave(tx: &Tx, conversation: ConversationId, user: UserId, now: u64) -> Answer<Offset> {
    let bumped = bump(tx, conversation, -1, now).await?;
    let last = bumped.next_offset - 1;
    let closed = tx
        .execute(
            "UPDATE conversation_members SET left_offset = $3, left_at = $4, members_version = $5
             WHERE conversation_id = $1 AND user_id = $2 AND left_offset IS NULL",
            &[&Id(conversation.0), &Id(user.0), &int(last), &At(now), &int(bumped.version)],
        )
        .await?;
    assert_eq!(closed, 1, "whoever leaves is a member");
    Ok(Offset(last))
}

pub async fn set_role(
    tx: &Tx,
    by: UserId,
    conversation: ConversationId,
    user: UserId,
    new: Role,
    now: u64,
) -> Answer<()> {
    if new == Role::Unspecified {
        return Err(AccountError::Invalid { field: "role", problem: "member, admin or owner" });
    }
    hold(tx, &[Id(conversation.0)]).await?;
    let setter = must_be_member(tx, conversation, by).await?;
    let target = must_be_member(tx, conversation, user).await?;
    let steps_down = by == user && role_number(new) < role_number(target.role);
    if setter.kind == ConversationKind::Direct || !(setter.role == Role::Owner || steps_down) {
        return Err(AccountError::NotAllowed);
    }
    if target.role == new {
        return Ok(());
    }
    if target.role == Role::Owner && owners(tx, conversation).await? == 1 {
        return Err(AccountError::LastOwner);
    }
    let event = assign_role(tx, conversation, user, new, now).await?;
    Ok(push(tx, user, event, now).await?)
}

/// Stores a role and returns what the member is to be told.
async fn assign_role(
    tx: &Tx,
    conversation: ConversationId,
    user: UserId,
    new: Role,
    now: u64,
) -> Answer<v1::RoleChanged> {
    let bumped = bump(tx, conversation, 0, now).await?;
    tx.execute(
        "UPDATE conversation_members SET role = $3::bigint, members_version = $4
         WHERE conversation_id = $1 AND user_id = $2 AND left_offset IS NULL",
        &[&Id(conversation.0), &Id(user.0), &role_number(new), &int(bumped.version)],
    )
    .await?;
    let (conversation, user) = (conversation.to_bytes(), user.to_bytes());
    Ok(v1::RoleChanged { conversation, user, role: new.into(), ..Default::default() })
}

pub async fn mute(
    tx: &Tx,
    by: UserId,
    conversation: ConversationId,
    user: UserId,
    until: Option<u64>,
    now: u64,
) -> Answer<()> {
    hold(tx, &[Id(conversation.0)]).await?;
    let muter = must_be_member(tx, conversation, by).await?;
    let target = must_be_member(tx, conversation, user).await?;
    if role_number(muter.role) <= role_number(target.role) {
        return Err(AccountError::NotAllowed);
    }
    let bumped = bump(tx, conversation, 0, now).await?;
    tx.execute(
        "UPDATE conversation_members SET muted_until = $3, members_version = $4
         WHERE conversation_id = $1 AND user_id = $2 AND left_offset IS NULL",
        &[&Id(conversation.0), &Id(user.0), &until.map(At), &int(bumped.version)],
    )
    .await?;
    Ok(())
}

/// Before an owner's account goes: somebody else must own each group they owned alone. Returns who is to be told what.
pub async fn hand_over(
    tx: &Tx,
    conversation: ConversationId,
    owner: UserId,
    now: u64,
) -> Answer<Option<(UserId, Event)>> {
    let present = must_be_member(tx, conversation, owner).await?;
    if present.role != Role::Owner || owners(tx, conversation).await? > 1 {
        return Ok(None);
    }
    let found = tx
        .query(
            "SELECT user_id FROM conversation_members
             WHERE conversation_id = $1 AND user_id <> $2 AND left_offset IS NULL
             ORDER BY role DESC, joined_version, user_id LIMIT 1",
            &[&Id(conversation.0), &Id(owner.0)],
        )
        .await?;
    let Some(heir) = ids::<UserId>(&found)?.pop() else { return Ok(None) };
    let event = assign_role(tx, conversation, heir, Role::Owner, now).await?;
    Ok(Some((heir, event.into())))
}

async fn owners(tx: &Tx, conversation: ConversationId) -> Answer<u64> {
    let row = tx
        .query_one(
            "SELECT count(*) FROM conversation_members
             WHERE conversation_id = $1 AND role = 3 AND left_offset IS NULL",
            &[&Id(conversation.0)],
        )
        .await?;
    Ok(uint(&row, 0)?)
}

async fn bump(tx: &Tx, conversation: ConversationId, members: i32, now: u64) -> Answer<Bumped> {
    let row = tx
        .query_one(
            "UPDATE conversations SET members_version = members_version + 1, member_count = member_count + $2
             WHERE id = $1 RETURNING members_version, next_offset, history = 'all'",
            &[&Id(conversation.0), &members],
        )
        .await?;
    let bumped = Bumped { version: uint(&row, 0)?, next_offset: uint(&row, 1)?, reads_all: row.try_get(2)? };
    note_members(tx, conversation, bumped.version, now).await?;
    Ok(bumped)
}
