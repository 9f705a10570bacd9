//! What is noted of proofs: how far a followed log is sealed, what checks of backups found, drills.

use rusqlite::{OptionalExtension, Transaction, params};

use super::value::{int, uint, uint_opt};
use crate::accounts::Answer;
use crate::operations::{PROOF_CHARS_MAX, PROOFS_MAX};
use crate::rows::backup::{CheckRow, DrillRow, LogNote, LogNoted};

pub fn note_log(tx: &Transaction<'_>, note: &LogNote, now: u64) -> Answer<()> {
    tx.execute(
        "INSERT INTO backup_log (id, safe_at, lag_bytes, sealed_to, unbroken_from, unbroken_since, continues, noted_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET safe_at = excluded.safe_at, lag_bytes = excluded.lag_bytes,
           sealed_to = excluded.sealed_to, unbroken_from = excluded.unbroken_from,
           unbroken_since = excluded.unbroken_since, continues = excluded.continues, noted_at = excluded.noted_at",
        params![
            int(note.safe_at),
            int(note.lag_bytes),
            note.sealed_to,
            note.unbroken_from,
            int(note.unbroken_since),
            note.continues,
            int(now),
        ],
    )?;
    Ok(())
}

pub fn log(tx: &Transaction<'_>) -> Answer<Option<LogNoted>> {
    let found = tx.query_row(
        "SELECT safe_at, lag_bytes, sealed_to, unbroken_from, unbroken_since, continues, noted_at FROM backup_log",
        [],
        |row| {
            let note = LogNote {
                safe_at: uint(row, 0)?,
                lag_bytes: uint(row, 1)?,
                sealed_to: row.get(2)?,
                unbroken_from: row.get(3)?,
                unbroken_since: uint(row, 4)?,
                continues: row.get(5)?,
            };
            Ok(LogNoted { note, noted_at: uint(row, 6)? })
        },
    );
    Ok(found.optional()?)
}

pub fn note_check(tx: &Transaction<'_>, row: &CheckRow, now: u64) -> Answer<()> {
    let detail: String = row.detail.chars().take(PROOF_CHARS_MAX).collect();
    tx.execute(
        "INSERT INTO backup_checks (id, passed, started_at, finished_at, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![crate::fresh_id(now), row.passed, int(row.started_at), int(row.finished_at), detail],
    )?;
    tx.execute(
        "DELETE FROM backup_checks WHERE id NOT IN (SELECT id FROM backup_checks ORDER BY started_at DESC LIMIT ?1)",
        [PROOFS_MAX],
    )?;
    Ok(())
}

pub fn checks(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<CheckRow>> {
    let mut find = tx.prepare_cached(
        "SELECT passed, started_at, finished_at, detail FROM backup_checks ORDER BY started_at DESC LIMIT ?1",
    )?;
    let found = find.query_map([limit.min(PROOFS_MAX)], |row| {
        let (started_at, finished_at) = (uint(row, 1)?, uint(row, 2)?);
        Ok(CheckRow { passed: row.get(0)?, started_at, finished_at, detail: row.get(3)? })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub fn note_drill(tx: &Transaction<'_>, row: &DrillRow, now: u64) -> Answer<()> {
    tx.execute(
        "INSERT INTO restore_drills (id, status, started_at, finished_at, took_ms, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            crate::fresh_id(now),
            if row.passed { "PASSED" } else { "FAILED" },
            int(row.started_at),
            int(row.finished_at),
            row.took_ms.map(int),
            row.detail.chars().take(PROOF_CHARS_MAX).collect::<String>(),
        ],
    )?;
    tx.execute(
        "DELETE FROM restore_drills WHERE id NOT IN (SELECT id FROM restore_drills ORDER BY started_at DESC LIMIT ?1)",
        [PROOFS_MAX],
    )?;
    Ok(())
}

pub fn drills(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<DrillRow>> {
    let mut find = tx.prepare_cached(
        "SELECT status, started_at, finished_at, took_ms, detail FROM restore_drills
         WHERE finished_at IS NOT NULL ORDER BY started_at DESC LIMIT ?1",
    )?;
    let found = find.query_map([limit.min(PROOFS_MAX)], |row| {
        Ok(DrillRow {
            passed: row.get::<_, String>(0)? == "PASSED",
            started_at: uint(row, 1)?,
            finished_at: uint(row, 2)?,
            took_ms: uint_opt(row, 3)?,
            detail: row.get(4)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
