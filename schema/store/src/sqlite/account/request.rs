//! First contacts: a direct conversation that waits until its other side accepts it.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::{ConversationId, UserId, v1};

use super::membership::must_be_member;
use crate::accounts::{AccountError, Answer};
use crate::rows::conversation::{ConversationKind, RequestAnswer};
use crate::sqlite::changes::note_members;
use crate::sqlite::stream::push;
use crate::sqlite::value::{id, id_opt, uint};

/// Who waits for an answer there.
pub fn waits(tx: &Transaction<'_>, conversation: ConversationId) -> rusqlite::Result<Option<UserId>> {
    tx.prepare_cached("SELECT requested_by FROM conversations WHERE id = ?1")?
        .query_row([conversation.0], |row| id_opt(row, 0))
}

pub fn answer(
    tx: &Transaction<'_>,
    user: UserId,
    conversation: ConversationId,
    answer: RequestAnswer,
    now: u64,
) -> Answer<()> {
    if must_be_member(tx, conversation, user)?.kind != ConversationKind::Direct {
        return Err(AccountError::NotFound);
    }
    match (waits(tx, conversation)?, answer) {
        (Some(by), _) if by == user => Err(AccountError::NotAllowed),
        (Some(by), RequestAnswer::Accept) => {
            accept(tx, conversation, (by, user), now)?;
            Ok(())
        }
        (Some(_), RequestAnswer::Delete) => Ok(hide(tx, conversation, user, now)?),
        // Another device was faster.
        (None, RequestAnswer::Accept) => Ok(()),
        (None, RequestAnswer::Delete) => Err(AccountError::Overtaken),
    }
}

/// It is an ordinary conversation from now on, under the membership version returned, and both sides are told.
pub fn accept(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    (by, user): (UserId, UserId),
    now: u64,
) -> rusqlite::Result<u64> {
    let version = tx
        .prepare_cached(
            "UPDATE conversations SET requested_by = NULL, request_hidden = 0, members_version = members_version + 1
             WHERE id = ?1 RETURNING members_version",
        )?
        .query_row([conversation.0], |row| uint(row, 0))?;
    note_members(tx, conversation, version, now)?;
    for told in [by, user] {
        tell(tx, told, conversation, v1::RequestAnswer::Accepted, now)?;
    }
    Ok(version)
}

/// The user sees nothing more of it; whoever opened it learns nothing.
fn hide(tx: &Transaction<'_>, conversation: ConversationId, user: UserId, now: u64) -> rusqlite::Result<()> {
    let hidden = tx.execute(
        "UPDATE conversations SET request_hidden = 1 WHERE id = ?1 AND request_hidden = 0",
        [conversation.0],
    )?;
    if hidden > 0 { tell(tx, user, conversation, v1::RequestAnswer::Deleted, now) } else { Ok(()) }
}

/// The user sees nothing more of what waits between the two: a first contact of the other one, invitations of either.
pub fn drop_between(tx: &Transaction<'_>, user: UserId, other: UserId, now: u64) -> rusqlite::Result<()> {
    let pair = [user.min(other).0, user.max(other).0].concat();
    let waiting = tx
        .prepare_cached("SELECT id FROM conversations WHERE direct_pair = ?1 AND requested_by = ?2")?
        .query_row(params![pair, other.0], |row| id(row, 0))
        .optional()?;
    if let Some(conversation) = waiting {
        hide(tx, conversation, user, now)?;
    }
    let mut take = tx.prepare_cached(
        "DELETE FROM group_invitations WHERE (user_id = ?1 AND invited_by = ?2) OR (user_id = ?2 AND invited_by = ?1)
         RETURNING user_id, conversation_id",
    )?;
    let mut dropped: Vec<(UserId, ConversationId)> = take
        .query_map(params![user.0, other.0], |row| Ok((id(row, 0)?, id(row, 1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    dropped.sort_unstable();
    for (invited, conversation) in dropped {
        tell(tx, invited, conversation, v1::RequestAnswer::Deleted, now)?;
    }
    Ok(())
}

/// Tells somebody's devices that it waits no longer.
pub fn tell(
    tx: &Transaction<'_>,
    user: UserId,
    conversation: ConversationId,
    answer: v1::RequestAnswer,
    now: u64,
) -> rusqlite::Result<()> {
    let conversation = conversation.to_bytes();
    push(tx, user, v1::RequestAnswered { conversation, answer: answer.into(), ..Default::default() }, now)
}
