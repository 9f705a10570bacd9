//! Joining, leaving, roles. Every change takes the next membership version in the transaction of the member's row.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::v1::{self, Role};
use schema_wire::{ConversationId, Offset, UserId};

use super::profile::either_blocked;
use super::{invitation, request, standing_of};
use crate::accounts::{AccountError, Answer, GROUP_MEMBERS_MAX};
use crate::rows::conversation::{Added, ConversationKind, MemberAdded};
use crate::sqlite::changes::note_members;
use crate::sqlite::stream::push;
use crate::sqlite::value::{count, id, int, role, role_number, uint};
use schema_wire::record::UserStatus;

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

/// The member's place, or `NotFound`: strangers can't tell whether a conversation exists.
pub fn must_be_member(tx: &Transaction<'_>, conversation: ConversationId, user: UserId) -> Answer<Present> {
    tx.prepare_cached(
        "SELECT c.kind = 'DIRECT', m.role, c.member_count
         FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
         WHERE m.conversation_id = ?1 AND m.user_id = ?2 AND m.left_offset IS NULL",
    )?
    .query_row(params![conversation.0, user.0], |row| {
        let kind = if row.get(0)? { ConversationKind::Direct } else { ConversationKind::Group };
        Ok(Present { kind, role: role(row, 1)?, member_count: count(row, 2)? })
    })
    .optional()?
    .ok_or(AccountError::NotFound)
}

/// Somebody who can be written to: not deleted, not banned, not still pending.
pub fn must_exist(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<()> {
    match standing_of(tx, user, now)? {
        UserStatus::Active | UserStatus::Suspended { .. } => Ok(()),
        _ => Err(AccountError::NotFound),
    }
}

/// Opens an interval for each; none of them may be a member now. Returns the first offset they may read.
pub fn join(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    joining: &[Joining],
    by: UserId,
    now: u64,
) -> Answer<Offset> {
    let bumped = bump(tx, conversation, joining.len() as i64, now)?;
    let first = if bumped.reads_all { 1 } else { bumped.next_offset };
    for Joining { user, role, asked } in joining {
        tx.prepare_cached(
            "INSERT INTO conversation_members (conversation_id, user_id, joined_version, members_version,
               joined_offset, joined_at, role)
             VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            conversation.0,
            user.0,
            int(bumped.version),
            int(first),
            int(now),
            role_number(*role)
        ])?;
        let (conversation, by) = (conversation.to_bytes(), by.to_bytes());
        let (role, request) = ((*role).into(), *asked);
        let event = v1::AddedTo { conversation, by, role, first, request, ..Default::default() };
        push(tx, *user, event, now)?;
    }
    Ok(Offset(first))
}

pub fn add(
    tx: &Transaction<'_>,
    by: UserId,
    conversation: ConversationId,
    users: &[UserId],
    now: u64,
) -> Answer<Added> {
    let adder = must_be_member(tx, conversation, by)?;
    if adder.kind == ConversationKind::Direct || !matches!(adder.role, Role::Owner | Role::Admin) {
        return Err(AccountError::NotAllowed);
    }
    let (mut joining, mut invited): (Vec<Joining>, Vec<UserId>) = (Vec::new(), Vec::new());
    for user in users {
        let known = match must_be_member(tx, conversation, *user) {
            Ok(_) => true,
            Err(AccountError::NotFound) => joining.iter().any(|j| j.user == *user) || invited.contains(user),
            Err(other) => return Err(other),
        };
        if known {
            continue;
        }
        must_exist(tx, *user, now)?;
        if either_blocked(tx, by, *user)? {
            return Err(AccountError::Blocked);
        }
        if adder.member_count + joining.len() >= GROUP_MEMBERS_MAX {
            return Err(AccountError::TooMany { limit: GROUP_MEMBERS_MAX });
        }
        if invitation::asks_first(tx, *user, by)? {
            invitation::invite(tx, conversation, *user, by, now)?;
            invited.push(*user);
        } else {
            invitation::take(tx, conversation, *user)?;
            joining.push(Joining::member(*user));
        }
    }
    if joining.is_empty() {
        return Ok(Added { members: Vec::new(), invited });
    }
    let first = join(tx, conversation, &joining, by, now)?;
    Ok(Added { members: joining.into_iter().map(|j| MemberAdded { user: j.user, first }).collect(), invited })
}

pub fn remove(
    tx: &Transaction<'_>,
    by: UserId,
    conversation: ConversationId,
    user: UserId,
    now: u64,
) -> Answer<()> {
    let remover = must_be_member(tx, conversation, by)?;
    if remover.kind == ConversationKind::Direct {
        return Err(AccountError::NotAllowed);
    }
    let target = match must_be_member(tx, conversation, user) {
        Err(AccountError::NotFound) => return withdraw(tx, &remover, conversation, user, now),
        found => found?,
    };
    if by != user && role_number(remover.role) <= role_number(target.role) {
        return Err(AccountError::NotAllowed);
    }
    if target.role == Role::Owner && target.member_count > 1 && owners(tx, conversation)? == 1 {
        return Err(AccountError::LastOwner);
    }
    let last = leave(tx, conversation, user, now)?;
    let (conversation, by) = (conversation.to_bytes(), by.to_bytes());
    push(tx, user, v1::RemovedFrom { conversation, by, last: last.0, ..Default::default() }, now)?;
    Ok(())
}

/// Takes back an invitation of somebody who is no member.
fn withdraw(
    tx: &Transaction<'_>,
    by: &Present,
    conversation: ConversationId,
    user: UserId,
    now: u64,
) -> Answer<()> {
    let leads = matches!(by.role, Role::Owner | Role::Admin);
    if !leads || invitation::take(tx, conversation, user)?.is_none() {
        return Err(AccountError::NotFound);
    }
    Ok(request::tell(tx, user, conversation, v1::RequestAnswer::Deleted, now)?)
}

/// Closes the member's interval at the newest message. Returns the last offset they may read.
pub fn leave(tx: &Transaction<'_>, conversation: ConversationId, user: UserId, now: u64) -> Answer<Offset> {
    let bumped = bump(tx, conversation, -1, now)?;
    let last = bumped.next_offset - 1;
    let closed = tx.execute(
        "UPDATE conversation_members SET left_offset = ?3, left_at = ?4, members_version = ?5
         WHERE conversation_id = ?1 AND user_id = ?2 AND left_offset IS NULL",
        params![conversation.0, user.0, int(last), int(now), int(bumped.version)],
    )?;
    assert_eq!(closed, 1, "whoever leaves is a member");
    Ok(Offset(last))
}

pub fn set_role(
    tx: &Transaction<'_>,
    by: UserId,
    conversation: ConversationId,
    user: UserId,
    new: Role,
    now: u64,
) -> Answer<()> {
    if new == Role::Unspecified {
        return Err(AccountError::Invalid { field: "role", problem: "member, admin or owner" });
    }
    let setter = must_be_member(tx, conversation, by)?;
    let target = must_be_member(tx, conversation, user)?;
    let steps_down = by == user && role_number(new) < role_number(target.role);
    if setter.kind == ConversationKind::Direct || !(setter.role == Role::Owner || steps_down) {
        return Err(AccountError::NotAllowed);
    }
    if target.role == new {
        return Ok(());
    }
    if target.role == Role::Owner && owners(tx, conversation)? == 1 {
        return Err(AccountError::LastOwner);
    }
    assign_role(tx, conversation, user, new, now)
}

/// Stores a role and tells the member.
pub fn assign_role(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    user: UserId,
    new: Role,
    now: u64,
) -> Answer<()> {
    let bumped = bump(tx, conversation, 0, now)?;
    tx.execute(
        "UPDATE conversation_members SET role = ?3, members_version = ?4
         WHERE conversation_id = ?1 AND user_id = ?2 AND left_offset IS NULL",
        params![conversation.0, user.0, role_number(new), int(bumped.version)],
    )?;
    let (conversation, member) = (conversation.to_bytes(), user.to_bytes());
    push(
        tx,
        user,
        v1::RoleChanged { conversation, user: member, role: new.into(), ..Default::default() },
        now,
    )?;
    Ok(())
}

pub fn mute(
    tx: &Transaction<'_>,
    by: UserId,
    conversation: ConversationId,
    user: UserId,
    until: Option<u64>,
    now: u64,
) -> Answer<()> {
    let muter = must_be_member(tx, conversation, by)?;
    let target = must_be_member(tx, conversation, user)?;
    if role_number(muter.role) <= role_number(target.role) {
        return Err(AccountError::NotAllowed);
    }
    let bumped = bump(tx, conversation, 0, now)?;
    tx.execute(
        "UPDATE conversation_members SET muted_until = ?3, members_version = ?4
         WHERE conversation_id = ?1 AND user_id = ?2 AND left_offset IS NULL",
        params![conversation.0, user.0, until.map(int), int(bumped.version)],
    )?;
    Ok(())
}

/// Before an owner's account goes: somebody else must own each group they owned alone.
pub fn hand_over(tx: &Transaction<'_>, conversation: ConversationId, owner: UserId, now: u64) -> Answer<()> {
    if must_be_member(tx, conversation, owner)?.role != Role::Owner || owners(tx, conversation)? > 1 {
        return Ok(());
    }
    let heir = tx
        .query_row(
            "SELECT user_id FROM conversation_members
             WHERE conversation_id = ?1 AND user_id <> ?2 AND left_offset IS NULL
             ORDER BY role DESC, joined_version, user_id LIMIT 1",
            params![conversation.0, owner.0],
            |row| id(row, 0),
        )
        .optional()?;
    heir.map_or(Ok(()), |heir| assign_role(tx, conversation, heir, Role::Owner, now))
}

fn owners(tx: &Transaction<'_>, conversation: ConversationId) -> rusqlite::Result<u32> {
    tx.query_row(
        "SELECT count(*) FROM conversation_members WHERE conversation_id = ?1 AND role = 3 AND left_offset IS NULL",
        [conversation.0],
        |row| row.get(0),
    )
}

fn bump(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    members: i64,
    now: u64,
) -> rusqlite::Result<Bumped> {
    let bumped = tx
        .prepare_cached(
            "UPDATE conversations SET members_version = members_version + 1, member_count = member_count + ?2
             WHERE id = ?1 RETURNING members_version, next_offset, history = 'all'",
        )?
        .query_row(params![conversation.0, members], |row| {
            Ok(Bumped { version: uint(row, 0)?, next_offset: uint(row, 1)?, reads_all: row.get(2)? })
        })?;
    note_members(tx, conversation, bumped.version, now)?;
    Ok(bumped)
}
