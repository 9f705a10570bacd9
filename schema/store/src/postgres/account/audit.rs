//! The audit trail: entries appended in the transaction of what they tell, each chained to the one before. One lock keeps
//! the chain one, whichever nodes write: it is the last a transaction takes, and held until the commit.

use schema_wire::UserId;

use super::read::{address, hash, id_opt};
use crate::accept::page;
use crate::accounts::Answer;
use crate::audit_chain::{EMPTY, PRUNED_AT_ONCE, VERIFY_MAX, Verified, check, follow, pruned};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, time, uint};
use crate::rows::account::{AuditHead, AuditRow, Origin, audit_event};
use crate::stored::{address_text, int};
use tokio_postgres::Row;

/// Key of the advisory lock around the end of the chain.
const CHAIN_LOCK: i64 = 0x5345_4355_5245_4155;

/// What `row` reads.
pub const COLUMNS: &str =
    "id, event_type, user_id, actor_id, abbrev(ip_address), user_agent, detail, created_at, hash";

/// Appends one entry. Nothing may be locked after it.
pub async fn record(
    tx: &Tx,
    event: &str,
    subject: Option<UserId>,
    detail: &str,
    by: &Origin,
    now: u64,
) -> Answer<AuditHead> {
    tx.query("SELECT pg_advisory_xact_lock($1)", &[&CHAIN_LOCK]).await?;
    let entry = follow(head(tx).await?, (event, subject, detail), by, now);
    tx.execute(
        "INSERT INTO audit_logs (id, event_type, user_id, actor_id, ip_address, user_agent, detail, created_at, hash)
         VALUES ($1, $2, $3, $4, $5::inet, $6, $7, $8, $9)",
        &[
            &int(entry.id),
            &event,
            &entry.subject.map(|u| Id(u.0)),
            &entry.actor.map(|u| Id(u.0)),
            &entry.address.map(address_text),
            &entry.user_agent,
            &entry.detail,
            &At(now),
            &entry.hash.as_slice(),
        ],
    )
    .await?;
    Ok(AuditHead { id: entry.id, hash: entry.hash })
}

/// Forgets a batch of the oldest entries, all made before then; how many. The newest stays, so that the chain goes on, and
/// an entry says where it begins now.
pub async fn prune(tx: &Tx, before: u64, now: u64) -> Answer<u64> {
    tx.query("SELECT pg_advisory_xact_lock($1)", &[&CHAIN_LOCK]).await?;
    let row = tx
        .query_one(
            "SELECT coalesce(min(id), 0),
               coalesce((SELECT min(id) FROM audit_logs WHERE created_at >= $1), max(id), 0) FROM audit_logs",
            &[&At(before)],
        )
        .await?;
    let (oldest, first_kept) = (uint(&row, 0)?, uint(&row, 1)?);
    let end = first_kept.min(oldest + PRUNED_AT_ONCE);
    if end <= oldest {
        return Ok(0);
    }
    let last = tx.query_one("SELECT hash FROM audit_logs WHERE id = $1", &[&int(end - 1)]).await?;
    let detail = pruned(oldest, end, &hash(&last, 0)?);
    tx.execute("DELETE FROM audit_logs WHERE id < $1", &[&int(end)]).await?;
    record(tx, audit_event::AUDIT_PRUNED, None, &detail, &Origin::system(), now).await?;
    Ok(end - oldest)
}

/// The newest entry.
pub async fn head(tx: &Tx) -> Answer<AuditHead> {
    let newest = tx.query_opt("SELECT id, hash FROM audit_logs ORDER BY id DESC LIMIT 1", &[]).await?;
    newest.map_or(Ok(EMPTY), |row| Ok(AuditHead { id: uint(&row, 0)?, hash: hash(&row, 1)? }))
}

/// Newest first.
pub async fn rows(tx: &Tx, before: Option<u64>, limit: u32) -> Answer<Vec<AuditRow>> {
    let found = tx
        .query(
            &format!("SELECT {COLUMNS} FROM audit_logs WHERE id < $1 ORDER BY id DESC LIMIT $2"),
            &[&int(before.unwrap_or(u64::MAX)), &i64::from(page(limit))],
        )
        .await?;
    found.iter().map(row).collect()
}

pub fn row(row: &Row) -> Answer<AuditRow> {
    Ok(AuditRow {
        id: uint(row, 0)?,
        event: row.try_get(1)?,
        subject: id_opt(row, 2)?,
        actor: id_opt(row, 3)?,
        address: address(row, 4)?,
        user_agent: row.try_get(5)?,
        detail: row.try_get(6)?,
        created_at: time(row, 7)?,
        hash: hash(row, 8)?,
    })
}

/// Checks a stretch of the chain.
pub async fn verify(tx: &Tx, after: Option<AuditHead>, limit: u32) -> Answer<Verified> {
    let limit = limit.clamp(1, VERIFY_MAX);
    let found = tx
        .query(
            &format!("SELECT {COLUMNS} FROM audit_logs WHERE id > $1 ORDER BY id LIMIT $2"),
            &[&int(after.map_or(0, |head| head.id)), &i64::from(limit)],
        )
        .await?;
    // A row that can't even be read was not written by `record`.
    let entries: Vec<_> = found.iter().map(|found| row(found).ok()).collect();
    Ok(check(after, &entries, limit))
}
