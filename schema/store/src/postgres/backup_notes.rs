//! What is noted of proofs: how far a followed log is sealed, what checks of backups found, drills.

use tokio_postgres::Row;

use super::fault::Failed;
use super::transaction::Tx;
use super::value::{At, Id, time, uint};
use crate::accounts::Answer;
use crate::operations::{PROOF_CHARS_MAX, PROOFS_MAX};
use crate::rows::backup::{CheckRow, DrillRow, LogNote, LogNoted};
use crate::stored::int;

/// Whoever follows the log must not wait for its own receipt of this, nor for whoever has locked the table.
const WAITS_FOR_NOBODY: &str =
    "SELECT set_config('statement_timeout', '2000', true), set_config('synchronous_commit', 'local', true)";

pub async fn note_log(tx: &Tx, note: &LogNote, now: u64) -> Answer<()> {
    tx.query(WAITS_FOR_NOBODY, &[]).await?;
    tx.execute(
        "INSERT INTO backup_log (id, safe_at, lag_bytes, sealed_to, unbroken_from, unbroken_since, continues, noted_at)
         VALUES (1, $1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET safe_at = excluded.safe_at, lag_bytes = excluded.lag_bytes,
           sealed_to = excluded.sealed_to, unbroken_from = excluded.unbroken_from,
           unbroken_since = excluded.unbroken_since, continues = excluded.continues, noted_at = excluded.noted_at",
        &[
            &At(note.safe_at),
            &int(note.lag_bytes),
            &note.sealed_to,
            &note.unbroken_from,
            &At(note.unbroken_since),
            &note.continues,
            &At(now),
        ],
    )
    .await?;
    Ok(())
}

pub async fn log(tx: &Tx) -> Answer<Option<LogNoted>> {
    let found = tx
        .query_opt(
            "SELECT safe_at, lag_bytes, sealed_to, unbroken_from, unbroken_since, continues, noted_at FROM backup_log",
            &[],
        )
        .await?;
    let read = |row: Row| {
        let note = LogNote {
            safe_at: time(&row, 0)?,
            lag_bytes: uint(&row, 1)?,
            sealed_to: row.try_get(2)?,
            unbroken_from: row.try_get(3)?,
            unbroken_since: time(&row, 4)?,
            continues: row.try_get(5)?,
        };
        Ok::<_, Failed>(LogNoted { note, noted_at: time(&row, 6)? })
    };
    Ok(found.map(read).transpose()?)
}

pub async fn note_check(tx: &Tx, row: &CheckRow, now: u64) -> Answer<()> {
    let detail: String = row.detail.chars().take(PROOF_CHARS_MAX).collect();
    tx.execute(
        "INSERT INTO backup_checks (id, passed, started_at, finished_at, detail) VALUES ($1, $2, $3, $4, $5)",
        &[&Id(crate::fresh_id(now)), &row.passed, &At(row.started_at), &At(row.finished_at), &detail],
    )
    .await?;
    tx.execute(
        "DELETE FROM backup_checks WHERE id NOT IN (SELECT id FROM backup_checks ORDER BY started_at DESC LIMIT $1)",
        &[&i64::from(PROOFS_MAX)],
    )
    .await?;
    Ok(())
}

pub async fn checks(tx: &Tx, limit: u32) -> Answer<Vec<CheckRow>> {
    let found = tx
        .query(
            "SELECT passed, started_at, finished_at, detail FROM backup_checks ORDER BY started_at DESC LIMIT $1",
            &[&i64::from(limit.min(PROOFS_MAX))],
        )
        .await?;
    let read = |row: &Row| {
        let (started_at, finished_at) = (time(row, 1)?, time(row, 2)?);
        Ok(CheckRow { passed: row.try_get(0)?, started_at, finished_at, detail: row.try_get(3)? })
    };
    found.iter().map(read).collect()
}

pub async fn note_drill(tx: &Tx, row: &DrillRow, now: u64) -> Answer<()> {
    let detail: String = row.detail.chars().take(PROOF_CHARS_MAX).collect();
    let status = if row.passed { "PASSED" } else { "FAILED" };
    let (began, ended, took) = (At(row.started_at), At(row.finished_at), row.took_ms.map(int));
    tx.execute(
        "INSERT INTO restore_drills (id, status, started_at, finished_at, took_ms, detail)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[&Id(crate::fresh_id(now)), &status, &began, &ended, &took, &detail],
    )
    .await?;
    tx.execute(
        "DELETE FROM restore_drills WHERE id NOT IN (SELECT id FROM restore_drills ORDER BY started_at DESC LIMIT $1)",
        &[&i64::from(PROOFS_MAX)],
    )
    .await?;
    Ok(())
}

/// What has ended; one under way has no outcome to show.
pub async fn drills(tx: &Tx, limit: u32) -> Answer<Vec<DrillRow>> {
    let found = tx
        .query(
            "SELECT status = 'PASSED', started_at, finished_at, took_ms, detail FROM restore_drills
             WHERE finished_at IS NOT NULL ORDER BY started_at DESC LIMIT $1",
            &[&i64::from(limit.min(PROOFS_MAX))],
        )
        .await?;
    let read = |row: &Row| {
        let took: Option<i64> = row.try_get(3)?;
        Ok(DrillRow {
            passed: row.try_get(0)?,
            started_at: time(row, 1)?,
            finished_at: time(row, 2)?,
            took_ms: took.map(|took| u64::try_from(took).unwrap_or(0)),
            detail: row.try_get(4)?,
        })
    };
    found.iter().map(read).collect()
}
