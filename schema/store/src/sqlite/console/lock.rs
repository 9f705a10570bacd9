//! Lock-outs: failed attempts are counted by what was typed, so that nobody learns which accounts exist.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::UserId;

use crate::accounts::Answer;
use crate::console::{FAILURES_KEPT_MS, wait_after};
use crate::rows::account::{Origin, audit_event};
use crate::sqlite::account::audit::record;
use crate::sqlite::value::uint;
use crate::stored::int;

pub fn locked_until(tx: &Transaction<'_>, subject: &[u8; 32], now: u64) -> Answer<u64> {
    let until = tx
        .prepare_cached("SELECT locked_until FROM sign_in_locks WHERE subject = ?1")?
        .query_row([subject], |row| uint(row, 0))
        .optional()?;
    Ok(until.filter(|until| *until > now).unwrap_or(0))
}

pub fn count(
    tx: &Transaction<'_>,
    subject: &[u8; 32],
    user: Option<UserId>,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<u64> {
    let oldest = int(now.saturating_sub(FAILURES_KEPT_MS));
    tx.prepare_cached("DELETE FROM sign_in_locks WHERE failed_at < ?1")?.execute([oldest])?;
    let failures: u32 = tx
        .prepare_cached(
            "INSERT INTO sign_in_locks (subject, failures, failed_at) VALUES (?1, 1, ?2)
             ON CONFLICT (subject) DO UPDATE SET failures = failures + 1, failed_at = excluded.failed_at
             RETURNING failures",
        )?
        .query_row(params![subject, int(now)], |row| row.get(0))?;
    let wait = wait_after(failures);
    let until = if wait == 0 { 0 } else { now + wait };
    tx.prepare_cached("UPDATE sign_in_locks SET locked_until = ?2 WHERE subject = ?1")?
        .execute(params![subject, int(until)])?;
    record(tx, audit_event::LOGIN_FAILED, user, reason, by, now)?;
    Ok(until)
}

pub fn forget(tx: &Transaction<'_>, subject: &[u8; 32]) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM sign_in_locks WHERE subject = ?1")?.execute([subject])?;
    Ok(())
}
