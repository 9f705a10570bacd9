//! The audit trail: entries appended in the transaction of what they tell, each chained to the one before.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use crate::accept::page;
use crate::accounts::Answer;
use crate::audit_chain::{EMPTY, PRUNED_AT_ONCE, VERIFY_MAX, Verified, check, follow, pruned};
use crate::rows::account::{AuditHead, AuditRow, Origin, audit_event};
use crate::sqlite::value::{address_text, id_opt, int, uint, unknown};

/// What `row` reads.
pub const COLUMNS: &str =
    "id, event_type, user_id, actor_id, ip_address, user_agent, detail, created_at, hash";

/// Appends one entry.
pub fn record(
    tx: &Transaction<'_>,
    event: &str,
    subject: Option<UserId>,
    detail: &str,
    by: &Origin,
    now: u64,
) -> rusqlite::Result<AuditHead> {
    let entry = follow(head(tx)?, (event, subject, detail), by, now);
    tx.prepare_cached(&format!(
        "INSERT INTO audit_logs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    ))?
    .execute(params![
        int(entry.id),
        event,
        entry.subject.map(|u| u.0),
        entry.actor.map(|u| u.0),
        entry.address.map(address_text),
        entry.user_agent,
        entry.detail,
        int(now),
        entry.hash,
    ])?;
    Ok(AuditHead { id: entry.id, hash: entry.hash })
}

/// Forgets a batch of the oldest entries, all made before then; how many. The newest stays, so that the chain goes on, and
/// an entry says where it begins now.
pub fn prune(tx: &Transaction<'_>, before: u64, now: u64) -> Answer<u64> {
    let (oldest, first_kept): (u64, u64) = tx.query_row(
        "SELECT coalesce(min(id), 0),
           coalesce((SELECT min(id) FROM audit_logs WHERE created_at >= ?1), max(id), 0) FROM audit_logs",
        [int(before)],
        |row| Ok((uint(row, 0)?, uint(row, 1)?)),
    )?;
    let end = first_kept.min(oldest + PRUNED_AT_ONCE);
    if end <= oldest {
        return Ok(0);
    }
    let hash: [u8; 32] =
        tx.query_row("SELECT hash FROM audit_logs WHERE id = ?1", [int(end - 1)], |row| row.get(0))?;
    tx.execute("DELETE FROM audit_logs WHERE id < ?1", [int(end)])?;
    record(tx, audit_event::AUDIT_PRUNED, None, &pruned(oldest, end, &hash), &Origin::system(), now)?;
    Ok(end - oldest)
}

/// The newest entry.
pub fn head(tx: &Transaction<'_>) -> rusqlite::Result<AuditHead> {
    let newest = tx
        .prepare_cached("SELECT id, hash FROM audit_logs ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok(AuditHead { id: uint(row, 0)?, hash: row.get(1)? }))
        .optional()?;
    Ok(newest.unwrap_or(EMPTY))
}

/// Newest first.
pub fn rows(tx: &Transaction<'_>, before: Option<u64>, limit: u32) -> Answer<Vec<AuditRow>> {
    let mut find = tx.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM audit_logs WHERE id < ?1 ORDER BY id DESC LIMIT ?2"
    ))?;
    let found = find.query_map(params![int(before.unwrap_or(u64::MAX)), page(limit)], row)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub fn row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let address: Option<String> = row.get(4)?;
    Ok(AuditRow {
        id: uint(row, 0)?,
        event: row.get(1)?,
        subject: id_opt(row, 2)?,
        actor: id_opt(row, 3)?,
        address: address.map(|a| a.parse().map_err(|_| unknown(4))).transpose()?,
        user_agent: row.get(5)?,
        detail: row.get(6)?,
        created_at: uint(row, 7)?,
        hash: row.get(8)?,
    })
}

/// Checks a stretch of the chain.
pub fn verify(tx: &Transaction<'_>, after: Option<AuditHead>, limit: u32) -> Answer<Verified> {
    let limit = limit.clamp(1, VERIFY_MAX);
    let mut find =
        tx.prepare_cached(&format!("SELECT {COLUMNS} FROM audit_logs WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
    let mut found = find.query(params![int(after.map_or(0, |head| head.id)), limit])?;
    let mut entries = Vec::new();
    while let Some(next) = found.next()? {
        // A row that can't even be read was not written by `record`.
        entries.push(row(next).ok());
    }
    Ok(check(after, &entries, limit))
}
