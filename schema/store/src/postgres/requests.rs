//! Requests for backups and drills: asked for at the console, taken by whoever makes backups, ended with what became of
//! them.

use tokio_postgres::Row;

use super::account::audit::record;
use super::fault::Failed;
use super::transaction::Tx;
use super::value::{At, Id, id, time, time_opt};
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::operations::{GIVEN_UP, REQUEST_WAITS_MS, REQUESTS_MAX, request_end, request_state};
use crate::rows::account::{Origin, audit_event};
use crate::rows::backup::{BackupRequest, BackupRequestId, BackupWork};

/// What was asked for up to this moment has lapsed.
fn lapsed(now: u64) -> At {
    At(now.saturating_sub(REQUEST_WAITS_MS))
}

pub async fn ask(tx: &Tx, work: BackupWork, by: &Origin, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE backup_requests SET waits = NULL WHERE waits = $1 AND asked_at <= $2",
        &[&work.name(), &lapsed(now)],
    )
    .await?;
    // Whoever asks for the same at the same time waits here.
    let asked = tx
        .execute(
            "INSERT INTO backup_requests (id, work, asked_by, asked_at, waits) VALUES ($1, $2, $3, $4, $2)
             ON CONFLICT DO NOTHING",
            &[&Id(crate::fresh_id(now)), &work.name(), &by.actor.map(|user| Id(user.0)), &At(now)],
        )
        .await?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    tx.execute(
        "DELETE FROM backup_requests WHERE id NOT IN
           (SELECT id FROM backup_requests ORDER BY asked_at DESC, id DESC LIMIT $1)",
        &[&i64::from(REQUESTS_MAX)],
    )
    .await?;
    record(tx, audit_event::BACKUP_ASKED, None, work.name(), by, now).await?;
    Ok(())
}

pub async fn list(tx: &Tx, limit: u32, now: u64) -> Answer<Vec<BackupRequest>> {
    let rows = tx
        .query(
            "SELECT r.id, r.work, coalesce(u.name, ''), r.asked_at, r.taken_at, r.ended_at,
               coalesce(r.succeeded, false), coalesce(r.detail, '')
             FROM backup_requests r LEFT JOIN users u ON u.id = r.asked_by
             ORDER BY r.asked_at DESC, r.id DESC LIMIT $1",
            &[&i64::from(page(limit))],
        )
        .await?;
    let read = |row: &Row| {
        let (asked_at, taken_at) = (time(row, 3)?, time_opt(row, 4)?);
        let ended = time_opt(row, 5)?.map(|at| Ok::<_, Failed>((at, row.try_get(6)?, row.try_get(7)?)));
        let state = request_state(asked_at, taken_at, ended.transpose()?, now);
        Ok(BackupRequest { id: id(row, 0)?, work: work(row, 1)?, asker: row.try_get(2)?, asked_at, state })
    };
    rows.iter().map(read).collect()
}

fn work(row: &Row, column: usize) -> Result<BackupWork, Failed> {
    BackupWork::parse(row.try_get(column)?).ok_or(Failed::Unreadable("a work of backups"))
}

/// Whether one waits.
pub async fn waits(tx: &Tx, now: u64) -> Answer<bool> {
    let find = "SELECT EXISTS (SELECT 1 FROM backup_requests WHERE waits IS NOT NULL AND asked_at > $1)";
    Ok(tx.query_one(find, &[&lapsed(now)]).await?.try_get(0)?)
}

pub async fn take(tx: &Tx, now: u64) -> Answer<Option<(BackupRequestId, BackupWork)>> {
    let taken = tx
        .query_opt(
            "UPDATE backup_requests SET waits = NULL, taken_at = $1 WHERE id =
               (SELECT id FROM backup_requests WHERE waits IS NOT NULL AND asked_at > $2
                ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING id, work",
            &[&At(now), &lapsed(now)],
        )
        .await?;
    Ok(taken.map(|row| Ok::<_, Failed>((id(&row, 0)?, work(&row, 1)?))).transpose()?)
}

pub async fn end(
    tx: &Tx,
    request: BackupRequestId,
    outcome: &Result<String, String>,
    now: u64,
) -> Answer<()> {
    let (succeeded, detail) = request_end(outcome);
    tx.execute(
        "UPDATE backup_requests SET ended_at = $2, succeeded = $3, detail = $4
         WHERE id = $1 AND taken_at IS NOT NULL AND ended_at IS NULL",
        &[&Id(request.0), &At(now), &succeeded, &detail],
    )
    .await?;
    Ok(())
}

pub async fn give_up(tx: &Tx, now: u64) -> Answer<u64> {
    let given_up = tx
        .execute(
            "UPDATE backup_requests SET ended_at = $1, succeeded = false, detail = $2
             WHERE taken_at IS NOT NULL AND ended_at IS NULL",
            &[&At(now), &GIVEN_UP],
        )
        .await?;
    Ok(given_up)
}
