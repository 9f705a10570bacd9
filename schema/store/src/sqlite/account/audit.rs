//! The audit trail: entries appended in the transaction of what they tell, each chained to the one before.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use super::{cut, page};
use crate::accounts::Answer;
use crate::audit_chain::{EMPTY, Sealed, Verified, seal};
use crate::rows::account::{AuditHead, AuditRow, Origin};
use crate::sqlite::value::{address_text, id_opt, int, uint, unknown};

/// Longest detail kept, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;
/// Longest user agent kept, in bytes.
const AGENT_BYTES_MAX: usize = 256;
/// Most entries checked in one call.
const VERIFY_MAX: u32 = 10_000;

const COLUMNS: &str = "id, event_type, user_id, actor_id, ip_address, user_agent, detail, created_at, hash";

/// Appends one entry.
pub fn record(
    tx: &Transaction<'_>,
    event: &str,
    subject: Option<UserId>,
    detail: &str,
    by: &Origin,
    now: u64,
) -> rusqlite::Result<AuditHead> {
    let previous = head(tx)?;
    let address = by.address.map(|a| a.to_canonical());
    let user_agent = by.user_agent.as_deref().map(|agent| cut(agent, AGENT_BYTES_MAX));
    let detail = cut(detail, DETAIL_BYTES_MAX);
    let (id, actor) = (previous.id + 1, by.actor);
    let hash = seal(
        &previous.hash,
        &Sealed { id, event, subject, actor, address, user_agent, detail, created_at: now },
    );
    tx.prepare_cached(&format!(
        "INSERT INTO audit_logs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    ))?
    .execute(params![
        int(id),
        event,
        subject.map(|u| u.0),
        actor.map(|u| u.0),
        address.map(address_text),
        user_agent,
        detail,
        int(now),
        hash,
    ])?;
    Ok(AuditHead { id, hash })
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

fn row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
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

/// Checks a stretch of the chain. The oldest kept entry is taken as it is when older ones were pruned by retention.
pub fn verify(tx: &Transaction<'_>, after: Option<AuditHead>, limit: u32) -> Answer<Verified> {
    let limit = limit.clamp(1, VERIFY_MAX);
    let mut previous = after.unwrap_or(EMPTY);
    let mut find =
        tx.prepare_cached(&format!("SELECT {COLUMNS} FROM audit_logs WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
    let mut found = find.query(params![int(previous.id), limit])?;
    let mut count = 0;
    while let Some(next) = found.next()? {
        let expected = previous.id + 1;
        // A row that can't even be read was not written by `record`.
        let Ok(entry) = row(next) else { return Ok(Verified::Broken { id: expected }) };
        let pruned_before = after.is_none() && count == 0 && entry.id > 1;
        count += 1;
        if !pruned_before && (entry.id != expected || seal(&previous.hash, &sealed(&entry)) != entry.hash) {
            return Ok(Verified::Broken { id: expected });
        }
        previous = AuditHead { id: entry.id, hash: entry.hash };
    }
    Ok(Verified::Intact { head: previous, more: count == limit })
}

fn sealed(entry: &AuditRow) -> Sealed<'_> {
    Sealed {
        id: entry.id,
        event: &entry.event,
        subject: entry.subject,
        actor: entry.actor,
        address: entry.address,
        user_agent: entry.user_agent.as_deref(),
        detail: &entry.detail,
        created_at: entry.created_at,
    }
}
