//! Erasing an account: everything personal goes, messages become tombstones, the ledger keeps that it happened.

use rusqlite::{Transaction, params};
use schema_wire::{ConversationId, UserId};

use super::administrators::look;
use super::audit::record;
use super::membership::{hand_over, leave};
use super::standing_of;
use crate::accept::{ERASURE_REASON_BYTES_MAX, cut};
use crate::accounts::Answer;
use crate::rows::account::{Erasure, Origin, audit_event};
use crate::sqlite::changes::note_erased;
use crate::sqlite::moderation::forget::forget;
use crate::sqlite::value::{GONE_ERASED, id, int};

/// What belongs to the account alone and is removed with it.
const OWN_ROWS: [&str; 18] = [
    "DELETE FROM devices WHERE user_id = ?1",
    "DELETE FROM one_time_tokens WHERE user_id = ?1",
    "DELETE FROM sessions WHERE user_id = ?1",
    "DELETE FROM settings WHERE user_id = ?1",
    "DELETE FROM second_factors WHERE user_id = ?1",
    "DELETE FROM security_keys WHERE user_id = ?1",
    "DELETE FROM factor_letters WHERE user_id = ?1",
    "DELETE FROM staff_requests WHERE user_id = ?1",
    "DELETE FROM moderation_notes WHERE user_id = ?1",
    "DELETE FROM moderation_appeals WHERE user_id = ?1",
    "DELETE FROM erasure_requests WHERE user_id = ?1",
    "DELETE FROM blocks WHERE user_id = ?1",
    "DELETE FROM blocks WHERE blocked_id = ?1",
    "DELETE FROM group_invitations WHERE user_id = ?1",
    "DELETE FROM group_invitations WHERE invited_by = ?1",
    "DELETE FROM cursors WHERE user_id = ?1",
    "DELETE FROM user_events WHERE user_id = ?1",
    "DELETE FROM publish_keys WHERE sender_id = ?1",
];

/// Erases an account unless it is the last administrator's.
pub fn erase(tx: &Transaction<'_>, user: UserId, reason: &str, by: &Origin, now: u64) -> Answer<Erasure> {
    look(tx, user, now)?.must_leave_one()?;
    erase_whoever(tx, user, reason, by, now)
}

/// The same whoever it is: a restored backup may know nobody else who was an administrator by then.
pub fn erase_whoever(
    tx: &Transaction<'_>,
    user: UserId,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<Erasure> {
    standing_of(tx, user, now)?;
    let reason = cut(reason, ERASURE_REASON_BYTES_MAX);
    let conversations_left = leave_all(tx, user, now)?;
    let messages = bury_messages(tx, user, now)?;
    let devices: u64 = tx
        .query_row("SELECT count(*) FROM devices WHERE user_id = ?1", [user.0], |row| row.get::<_, u32>(0))?
        .into();
    for statement in OWN_ROWS {
        tx.execute(statement, [user.0])?;
    }
    tx.execute(
        "UPDATE media_files SET status = 'DELETED', deleted_at = ?2 WHERE user_id = ?1 AND deleted_at IS NULL",
        params![user.0, int(now)],
    )?;
    tx.execute("UPDATE invites SET email = NULL WHERE used_by = ?1", [user.0])?;
    forget(tx, user, by, now)?;
    blank_profile(tx, user, now)?;
    tx.execute(
        "INSERT INTO erasure_ledger (user_id, reason, messages, erased_at, forgotten) VALUES (?1, ?2, ?3, ?4, 1)",
        params![user.0, reason, int(messages), int(now)],
    )?;
    record(tx, audit_event::ACCOUNT_ERASED, Some(user), reason, by, now)?;
    Ok(Erasure { at: now, messages, conversations_left, devices })
}

fn leave_all(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<u64> {
    let mut find = tx.prepare_cached(
        "SELECT conversation_id FROM conversation_members WHERE user_id = ?1 AND left_offset IS NULL",
    )?;
    let conversations: Vec<ConversationId> =
        find.query_map([user.0], |row| id(row, 0))?.collect::<rusqlite::Result<_>>()?;
    for conversation in &conversations {
        hand_over(tx, *conversation, user, now)?;
        leave(tx, *conversation, user, now)?;
    }
    Ok(conversations.len() as u64)
}

fn bury_messages(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<u64> {
    let mut find = tx.prepare_cached(
        "SELECT DISTINCT conversation_id FROM messages WHERE sender_id = ?1 AND gone IS NULL",
    )?;
    let touched: Vec<ConversationId> =
        find.query_map([user.0], |row| id(row, 0))?.collect::<rusqlite::Result<_>>()?;
    let buried = tx.execute(
        "UPDATE messages SET gone = ?2, deleted_at = ?3, body = x'', commitment = NULL, media_id = NULL
         WHERE sender_id = ?1 AND gone IS NULL",
        params![user.0, GONE_ERASED, int(now)],
    )?;
    for conversation in touched {
        note_erased(tx, conversation, now)?;
    }
    Ok(buried as u64)
}

/// The change log learns it from the trigger on the status.
fn blank_profile(tx: &Transaction<'_>, user: UserId, now: u64) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE users SET status = 'DELETED', deleted_at = ?2, updated_at = ?2, tokens_not_before = ?3,
           email = NULL, name = '', about = '', password_hash = NULL, role = 'USER', activation = 'NONE',
           email_verified_at = NULL, last_active_at = NULL, suspended_at = NULL, suspended_until = NULL,
           suspension_reason = NULL, banned_at = NULL, ban_reason = NULL
         WHERE id = ?1",
        params![user.0, int(now), int(now / 1000)],
    )?;
    Ok(())
}
