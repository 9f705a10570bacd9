//! Requests for backups and drills: asked for at the console, taken by whoever makes backups, ended with what became of
//! them.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::account::audit::record;
use super::value::{id, int, uint, uint_opt, unknown};
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::operations::{GIVEN_UP, REQUEST_WAITS_MS, REQUESTS_MAX, request_end, request_state};
use crate::rows::account::{Origin, audit_event};
use crate::rows::backup::{BackupRequest, BackupRequestId, BackupWork};

/// What was asked for up to this moment has lapsed.
fn lapsed(now: u64) -> i64 {
    int(now.saturating_sub(REQUEST_WAITS_MS))
}

pub fn ask(tx: &Transaction<'_>, work: BackupWork, by: &Origin, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE backup_requests SET waits = NULL WHERE waits = ?1 AND asked_at <= ?2",
        params![work.name(), lapsed(now)],
    )?;
    let asked = tx.execute(
        "INSERT INTO backup_requests (id, work, asked_by, asked_at, waits) VALUES (?1, ?2, ?3, ?4, ?2)
         ON CONFLICT DO NOTHING",
        params![crate::fresh_id(now), work.name(), by.actor.map(|user| user.0), int(now)],
    )?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    tx.execute(
        "DELETE FROM backup_requests WHERE id NOT IN
           (SELECT id FROM backup_requests ORDER BY asked_at DESC, id DESC LIMIT ?1)",
        [REQUESTS_MAX],
    )?;
    record(tx, audit_event::BACKUP_ASKED, None, work.name(), by, now)?;
    Ok(())
}

pub fn list(tx: &Transaction<'_>, limit: u32, now: u64) -> Answer<Vec<BackupRequest>> {
    let mut find = tx.prepare_cached(
        "SELECT r.id, r.work, coalesce(u.name, ''), r.asked_at, r.taken_at, r.ended_at, r.succeeded, r.detail
         FROM backup_requests r LEFT JOIN users u ON u.id = r.asked_by ORDER BY r.asked_at DESC, r.id DESC LIMIT ?1",
    )?;
    let rows = find.query_map([page(limit)], |row| {
        let (asked_at, taken_at) = (uint(row, 3)?, uint_opt(row, 4)?);
        let ended = uint_opt(row, 5)?.map(|at| Ok::<_, rusqlite::Error>((at, row.get(6)?, row.get(7)?)));
        let state = request_state(asked_at, taken_at, ended.transpose()?, now);
        Ok(BackupRequest { id: id(row, 0)?, work: work(row, 1)?, asker: row.get(2)?, asked_at, state })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn work(row: &Row<'_>, column: usize) -> rusqlite::Result<BackupWork> {
    BackupWork::parse(&row.get::<_, String>(column)?).ok_or_else(|| unknown(column))
}

/// Whether one waits.
pub fn waits(tx: &Transaction<'_>, now: u64) -> Answer<bool> {
    let find = "SELECT EXISTS (SELECT 1 FROM backup_requests WHERE waits IS NOT NULL AND asked_at > ?1)";
    Ok(tx.prepare_cached(find)?.query_row([lapsed(now)], |row| row.get(0))?)
}

pub fn take(tx: &Transaction<'_>, now: u64) -> Answer<Option<(BackupRequestId, BackupWork)>> {
    let taken = tx
        .query_row(
            "UPDATE backup_requests SET waits = NULL, taken_at = ?1 WHERE id =
               (SELECT id FROM backup_requests WHERE waits IS NOT NULL AND asked_at > ?2 ORDER BY asked_at LIMIT 1)
             RETURNING id, work",
            params![int(now), lapsed(now)],
            |row| Ok((id(row, 0)?, work(row, 1)?)),
        )
        .optional()?;
    Ok(taken)
}

pub fn end(
    tx: &Transaction<'_>,
    request: BackupRequestId,
    outcome: &Result<String, String>,
    now: u64,
) -> Answer<()> {
    let (succeeded, detail) = request_end(outcome);
    tx.execute(
        "UPDATE backup_requests SET ended_at = ?2, succeeded = ?3, detail = ?4
         WHERE id = ?1 AND taken_at IS NOT NULL AND ended_at IS NULL",
        params![request.0, int(now), succeeded, detail],
    )?;
    Ok(())
}

pub fn give_up(tx: &Transaction<'_>, now: u64) -> Answer<u64> {
    let given_up = tx.execute(
        "UPDATE backup_requests SET ended_at = ?1, succeeded = false, detail = ?2
         WHERE taken_at IS NOT NULL AND ended_at IS NULL",
        params![int(now), GIVEN_UP],
    )?;
    Ok(given_up as u64)
}
