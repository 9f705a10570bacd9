//! Invitations to groups: people whose settings ask first are not added, they may join.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::v1;
use schema_wire::{ConversationId, UserId};

use super::membership::{Joining, join};
use super::{must_be_active, request};
use crate::accept::AddsDirectly;
use crate::accounts::{
    ADD_TO_GROUPS, AccountError, Answer, GROUP_MEMBERS_MAX, INVITATIONS_MAX, PAGE_ROWS_MAX,
};
use crate::rows::conversation::{Invitation, RequestAnswer};
use crate::sqlite::standing::know_each_other;
use crate::sqlite::stream::push;
use crate::sqlite::value::{count, id, int, uint};

/// Whether the user is to be asked before `by` adds them.
pub fn asks_first(tx: &Transaction<'_>, user: UserId, by: UserId) -> rusqlite::Result<bool> {
    let set: Option<String> = tx
        .prepare_cached("SELECT value FROM settings WHERE user_id = ?1 AND name = ?2")?
        .query_row(params![user.0, ADD_TO_GROUPS], |row| row.get(0))
        .optional()?;
    Ok(match AddsDirectly::of(set.as_deref()) {
        AddsDirectly::Everybody => false,
        AddsDirectly::Known => !know_each_other(tx, user, by)?,
        AddsDirectly::Nobody => true,
    })
}

/// Invites once; the first invitation stands.
pub fn invite(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    user: UserId,
    by: UserId,
    now: u64,
) -> Answer<()> {
    let waiting = tx
        .prepare_cached("SELECT count(*) FROM group_invitations WHERE user_id = ?1")?
        .query_row([user.0], |row| count(row, 0))?;
    let added = tx
        .prepare_cached(
            "INSERT INTO group_invitations (conversation_id, user_id, invited_by, invited_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![conversation.0, user.0, by.0, int(now)])?;
    if added == 0 {
        return Ok(());
    }
    if waiting >= INVITATIONS_MAX {
        return Err(AccountError::TooMany { limit: INVITATIONS_MAX });
    }
    let name: String =
        tx.query_row("SELECT name FROM conversations WHERE id = ?1", [conversation.0], |row| row.get(0))?;
    let (conversation, by) = (conversation.to_bytes(), by.to_bytes());
    push(tx, user, v1::Invited { conversation, by, name, ..Default::default() }, now)?;
    Ok(())
}

/// Takes an invitation away; whose it was.
pub fn take(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    user: UserId,
) -> rusqlite::Result<Option<UserId>> {
    tx.prepare_cached(
        "DELETE FROM group_invitations WHERE conversation_id = ?1 AND user_id = ?2 RETURNING invited_by",
    )?
    .query_row(params![conversation.0, user.0], |row| id(row, 0))
    .optional()
}

pub fn list(tx: &Transaction<'_>, user: UserId) -> Answer<Vec<Invitation>> {
    let mut find = tx.prepare_cached(
        "SELECT i.conversation_id, c.name, c.member_count, i.invited_by, coalesce(u.name, ''), i.invited_at
         FROM group_invitations i JOIN conversations c ON c.id = i.conversation_id
         LEFT JOIN users u ON u.id = i.invited_by
         WHERE i.user_id = ?1 ORDER BY i.invited_at DESC, i.conversation_id LIMIT ?2",
    )?;
    let found = find.query_map(params![user.0, INVITATIONS_MAX as i64], |row| {
        Ok(Invitation {
            conversation: id(row, 0)?,
            name: row.get(1)?,
            member_count: row.get(2)?,
            by: id(row, 3)?,
            by_name: row.get(4)?,
            at: uint(row, 5)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Who is invited to a group, by id.
pub fn invited(tx: &Transaction<'_>, conversation: ConversationId) -> rusqlite::Result<Vec<UserId>> {
    let mut find = tx.prepare_cached(
        "SELECT user_id FROM group_invitations WHERE conversation_id = ?1 ORDER BY user_id LIMIT ?2",
    )?;
    find.query_map(params![conversation.0, PAGE_ROWS_MAX], |row| id(row, 0))?.collect()
}

pub fn answer(
    tx: &Transaction<'_>,
    user: UserId,
    conversation: ConversationId,
    answer: RequestAnswer,
    now: u64,
) -> Answer<()> {
    let by = take(tx, conversation, user)?.ok_or(AccountError::NotFound)?;
    if answer == RequestAnswer::Delete {
        return Ok(request::tell(tx, user, conversation, v1::RequestAnswer::Deleted, now)?);
    }
    must_be_active(tx, user, now)?;
    let members =
        tx.query_row("SELECT member_count FROM conversations WHERE id = ?1", [conversation.0], |row| {
            count(row, 0)
        })?;
    match members {
        // Everybody has left: there is nothing to join.
        0 => Err(AccountError::NotFound),
        GROUP_MEMBERS_MAX.. => Err(AccountError::TooMany { limit: GROUP_MEMBERS_MAX }),
        _ => {
            join(tx, conversation, &[Joining::member(user)], by, now)?;
            Ok(())
        }
    }
}
