//! The change log: what live sessions must learn within a second. Rows are numbered in commit order, without a hole: where
//! a number is missing, a row was swept before it was read.

use rusqlite::{Row, Transaction, params};
use schema_wire::record::{Change, UserStatus};
use schema_wire::{ConversationId, DeviceId, Generation, Network, Offset, UserId};

use super::value::{id, int, small, uint, uint_opt, unknown};
use crate::store::ChangePosition;
use crate::stored;

/// Most changes in one page.
const CHANGES_MAX: u32 = 1024;

const COLUMNS: &str =
    "INSERT INTO change_log (kind, user_id, device_id, conversation_id, number, created_at)";

pub fn note_device_revoked(
    tx: &Transaction<'_>,
    user: UserId,
    device: DeviceId,
    now: u64,
) -> rusqlite::Result<()> {
    tx.prepare_cached(&format!("{COLUMNS} VALUES ('DEVICE_REVOKED', ?1, ?2, NULL, NULL, ?3)"))?
        .execute(params![user.0, device.0, int(now)])?;
    Ok(())
}

/// `not_before`: unix seconds.
pub fn note_tokens_revoked(
    tx: &Transaction<'_>,
    user: UserId,
    not_before: u64,
    now: u64,
) -> rusqlite::Result<()> {
    tx.prepare_cached(&format!("{COLUMNS} VALUES ('TOKENS_REVOKED', ?1, NULL, NULL, ?2, ?3)"))?
        .execute(params![user.0, int(not_before), int(now)])?;
    Ok(())
}

pub fn note_members(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    version: u64,
    now: u64,
) -> rusqlite::Result<()> {
    tx.prepare_cached(&format!("{COLUMNS} VALUES ('MEMBERS', NULL, NULL, ?1, ?2, ?3)"))?.execute(params![
        conversation.0,
        int(version),
        int(now)
    ])?;
    Ok(())
}

pub fn note_user_events(tx: &Transaction<'_>, user: UserId, head: u64, now: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(&format!("{COLUMNS} VALUES ('USER_EVENTS', ?1, NULL, NULL, ?2, ?3)"))?
        .execute(params![user.0, int(head), int(now)])?;
    Ok(())
}

pub fn note_erased(tx: &Transaction<'_>, conversation: ConversationId, now: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(&format!("{COLUMNS} VALUES ('ERASED', NULL, NULL, ?1, NULL, ?2)"))?
        .execute(params![conversation.0, int(now)])?;
    Ok(())
}

pub fn note_generation(tx: &Transaction<'_>, generation: Generation, now: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(&format!("{COLUMNS} VALUES ('GENERATION', NULL, NULL, NULL, ?1, ?2)"))?
        .execute(params![generation.0, int(now)])?;
    Ok(())
}

/// Changes after a position, oldest first; the default position is "from now".
pub fn changes(
    tx: &Transaction<'_>,
    after: &ChangePosition,
    limit: u32,
) -> rusqlite::Result<(Vec<Change>, ChangePosition)> {
    let Some(after) = decode(after) else { return Ok((Vec::new(), encode(newest(tx)?))) };
    let limit = limit.clamp(1, CHANGES_MAX);
    let mut find = tx.prepare_cached(
        "SELECT id, kind, user_id, device_id, conversation_id, number, text, other_id FROM change_log
         WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = find.query(params![after, limit])?;
    let (mut changes, mut last, mut read) = (Vec::new(), after, 0);
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if id != last + 1 {
            return missed(tx);
        }
        (last, read) = (id, read + 1);
        changes.extend(change(row)?);
    }
    // A page with room for more ends where the log does.
    if read < limit && last != newest(tx)? {
        return missed(tx);
    }
    Ok((changes, encode(last)))
}

/// From now on, since something between is gone.
fn missed(tx: &Transaction<'_>) -> rusqlite::Result<(Vec<Change>, ChangePosition)> {
    Ok((vec![Change::Missed], encode(newest(tx)?)))
}

/// AUTOINCREMENT never reuses an id, so the sequence is the end even when the log was swept empty.
fn newest(tx: &Transaction<'_>) -> rusqlite::Result<i64> {
    tx.prepare_cached("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change_log'), 0)")?
        .query_row([], |row| row.get(0))
}

fn encode(id: i64) -> ChangePosition {
    ChangePosition(Some(id.to_be_bytes().to_vec()))
}

fn decode(position: &ChangePosition) -> Option<i64> {
    position.0.as_deref().and_then(|b| b.try_into().ok()).map(i64::from_be_bytes)
}

/// `None` for a kind that a newer program wrote.
fn change(row: &Row<'_>) -> rusqlite::Result<Option<Change>> {
    let kind: String = row.get(1)?;
    Ok(Some(match kind.as_str() {
        "USER_STATUS" => Change::UserStatus { user: id(row, 2)?, status: stored_status(row)? },
        "DEVICE_REVOKED" => Change::DeviceRevoked { user: id(row, 2)?, device: id(row, 3)? },
        "TOKENS_REVOKED" => Change::TokensRevoked { user: id(row, 2)?, not_before: uint(row, 5)? },
        "MEMBERS" => Change::Members { conversation: id(row, 4)?, version: uint(row, 5)? },
        "USER_EVENTS" => Change::UserEvents { user: id(row, 2)?, head: Offset(uint(row, 5)?) },
        "BLOCK" => Change::Block { user: id(row, 2)?, other: id(row, 7)?, stands: uint(row, 5)? > 0 },
        "ERASED" => Change::Erased { conversation: id(row, 4)? },
        "GENERATION" => Change::Generation { generation: Generation(small(row, 5)?) },
        "ADDRESS_BANNED" => match Network::parse(&row.get::<_, String>(6)?) {
            Some(network) => Change::AddressBanned { network },
            None => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

fn stored_status(row: &Row<'_>) -> rusqlite::Result<UserStatus> {
    stored::status(&row.get::<_, String>(6)?, uint_opt(row, 5)?).ok_or_else(|| unknown(6))
}
