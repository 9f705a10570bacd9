//! Backups, figures over time and settings, as the pages about running the product read them.

use schema_wire::Generation;
use tokio_postgres::Row;

use super::account::audit::record;
use super::account::read::hash;
use super::condition::condition;
use super::fault::Failed;
use super::transaction::{Access, Tx};
use super::value::{At, Id, time, uint};
use super::{PostgresStore, backup_notes, requests, statistics};
use crate::accounts::{AccountError, Answer};
use crate::operations::{Operations, SPAN_BYTES_MAX};
use crate::rows::account::{AuditHead, Origin, audit_event};
use crate::rows::backup::{
    BackupEnd, BackupRequest, BackupRequestId, BackupRow, BackupWork, CheckRow, DrillRow, LogNote, LogNoted,
};
use crate::rows::condition::Condition;
use crate::rows::operations::{SETTING_VALUE_BYTES_MAX, Setting, SettingChange, Statistics};

/// Key of the advisory lock around what operators set.
const SETTINGS_LOCK: i64 = 0x5345_4355_5245_5345;

impl Operations for PostgresStore {
    async fn backups_noted(&self, limit: u32) -> Answer<Vec<BackupRow>> {
        self.read(async move |tx, _| backups(tx, limit).await).await
    }

    async fn drills_noted(&self, limit: u32) -> Answer<Vec<DrillRow>> {
        self.read(async move |tx, _| backup_notes::drills(tx, limit).await).await
    }

    async fn note_drill(&self, row: DrillRow) -> Answer<()> {
        self.write(async move |tx, now| backup_notes::note_drill(tx, &row, now).await).await
    }

    async fn checks_noted(&self, limit: u32) -> Answer<Vec<CheckRow>> {
        self.read(async move |tx, _| backup_notes::checks(tx, limit).await).await
    }

    async fn note_check(&self, row: CheckRow) -> Answer<()> {
        self.write(async move |tx, now| backup_notes::note_check(tx, &row, now).await).await
    }

    async fn log_noted(&self) -> Answer<Option<LogNoted>> {
        self.read(async |tx, _| backup_notes::log(tx).await).await
    }

    async fn note_log(&self, note: LogNote) -> Answer<()> {
        self.write(async move |tx, now| backup_notes::note_log(tx, &note, now).await).await
    }

    async fn ask_backup(&self, work: BackupWork, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| requests::ask(tx, work, &by, now).await).await
    }

    async fn backup_requests(&self, limit: u32) -> Answer<Vec<BackupRequest>> {
        self.read(async move |tx, now| requests::list(tx, limit, now).await).await
    }

    async fn take_backup_request(&self) -> Answer<Option<(BackupRequestId, BackupWork)>> {
        // Most looks find nothing, which needs no writing.
        if !self.read(async move |tx, now| requests::waits(tx, now).await).await? {
            return Ok(None);
        }
        self.write(async move |tx, now| requests::take(tx, now).await).await
    }

    async fn end_backup_request(
        &self,
        request: BackupRequestId,
        outcome: Result<String, String>,
    ) -> Answer<()> {
        self.write(async move |tx, now| requests::end(tx, request, &outcome, now).await).await
    }

    async fn give_up_backup_requests(&self) -> Answer<u64> {
        self.write(async move |tx, now| requests::give_up(tx, now).await).await
    }

    async fn keep_span(&self, began_at: u64, length_s: u32, figures: Vec<u8>) -> Answer<()> {
        if figures.len() > SPAN_BYTES_MAX {
            return Err(AccountError::Invalid { field: "figures", problem: "at most 1 MiB" });
        }
        self.write(async move |tx, _| {
            tx.execute(
                "INSERT INTO metric_spans (length_s, began_at, figures) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                &[&seconds(length_s), &At(began_at), &figures],
            )
            .await?;
            Ok(())
        })
        .await
    }

    async fn spans(&self, length_s: u32, from: u64, until: u64, limit: u32) -> Answer<Vec<(u64, Vec<u8>)>> {
        self.read(async move |tx, _| {
            let rows = tx
                .query(
                    "SELECT began_at, figures FROM metric_spans
                     WHERE length_s = $1 AND began_at >= $2 AND began_at < $3 ORDER BY began_at LIMIT $4",
                    &[&seconds(length_s), &At(from), &At(until), &i64::from(limit)],
                )
                .await?;
            rows.iter().map(|row| Ok((time(row, 0)?, row.try_get(1)?))).collect()
        })
        .await
    }

    async fn forget_spans(&self, length_s: u32, before: u64) -> Answer<()> {
        self.write(async move |tx, _| {
            tx.execute(
                "DELETE FROM metric_spans WHERE length_s = $1 AND began_at < $2",
                &[&seconds(length_s), &At(before)],
            )
            .await?;
            Ok(())
        })
        .await
    }

    async fn condition(&self) -> Answer<Condition> {
        self.read(async move |tx, _| Ok(Condition::Postgres(condition(tx).await?))).await
    }

    async fn take_statistics(&self, older_than: u64) -> Answer<bool> {
        self.transact(Access::Long, async move |tx, now| statistics::take(tx, older_than, now).await).await
    }

    async fn statistics(&self) -> Answer<Option<Statistics>> {
        self.read(async move |tx, _| statistics::find(tx).await).await
    }

    async fn hold_work(&self, work: &'static str, holder: [u8; 16], for_ms: u64) -> Answer<bool> {
        self.write(async move |tx, now| {
            let held = tx
                .execute(
                    "INSERT INTO held_work (work, holder, until) VALUES ($1, $2, $3)
                     ON CONFLICT (work) DO UPDATE SET holder = excluded.holder, until = excluded.until
                     WHERE held_work.holder = excluded.holder OR held_work.until <= $4",
                    &[&work, &Id(holder), &At(now.saturating_add(for_ms)), &At(now)],
                )
                .await?;
            Ok(held > 0)
        })
        .await
    }

    async fn settings_set(&self) -> Answer<Vec<Setting>> {
        self.read(async move |tx, _| {
            let rows = tx
                .query(
                    "SELECT s.name, s.value, coalesce(u.name, ''), s.changed_at FROM operator_settings s
                     LEFT JOIN users u ON u.id = s.changed_by ORDER BY s.name",
                    &[],
                )
                .await?;
            let read = |row: &Row| {
                let (name, value, changed_by) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                Ok(Setting { name, value, changed_by, changed_at: time(row, 3)? })
            };
            rows.iter().map(read).collect()
        })
        .await
    }

    async fn change_settings(&self, changes: Vec<SettingChange>, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| {
            tx.query("SELECT pg_advisory_xact_lock($1)", &[&SETTINGS_LOCK]).await?;
            for one in &changes {
                change(tx, one, &by, now).await?;
            }
            Ok(())
        })
        .await
    }
}

fn seconds(length_s: u32) -> i32 {
    i32::try_from(length_s).unwrap_or(i32::MAX)
}

/// What has ended; one under way has no outcome to show.
async fn backups(tx: &Tx, limit: u32) -> Answer<Vec<BackupRow>> {
    let rows = tx
        .query(
            "SELECT kind, location, started_at, finished_at, size, sha256, generation, audit_id, audit_hash,
               coalesce(error, '') FROM backups
             WHERE finished_at IS NOT NULL ORDER BY started_at DESC LIMIT $1",
            &[&i64::from(limit)],
        )
        .await?;
    let read = |row: &Row| {
        let is_done = row.try_get::<_, Option<i64>>(4)?.is_some();
        let end = if is_done {
            let generation = u32::try_from(uint(row, 6)?).map_err(|_| Failed::Unreadable("a generation"))?;
            BackupEnd::Done {
                bytes: uint(row, 4)?,
                manifest_sha256: hash(row, 5)?,
                generation: Generation(generation),
                audit: AuditHead { id: uint(row, 7)?, hash: hash(row, 8)? },
            }
        } else {
            BackupEnd::Failed { why: row.try_get(9)? }
        };
        let (started_at, finished_at) = (time(row, 2)?, time(row, 3)?);
        Ok(BackupRow { kind: row.try_get(0)?, location: row.try_get(1)?, started_at, finished_at, end })
    };
    rows.iter().map(read).collect()
}

/// What somebody set, by name, for whoever runs by it.
pub async fn set(tx: &Tx) -> Answer<Vec<(String, String)>> {
    let rows = tx.query("SELECT name, value FROM operator_settings", &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn change(tx: &Tx, wanted: &SettingChange, by: &Origin, now: u64) -> Answer<()> {
    let (name, value) = (wanted.name, wanted.value.as_deref());
    if value.is_some_and(|value| value.len() > SETTING_VALUE_BYTES_MAX) {
        return Err(AccountError::Invalid { field: "value", problem: "at most 2048 bytes" });
    }
    let found = tx.query_opt("SELECT value FROM operator_settings WHERE name = $1", &[&name]).await?;
    let before: Option<String> = found.map(|row| row.try_get(0)).transpose()?;
    if before.as_deref() == value {
        return Ok(());
    }
    match value {
        Some(value) => {
            tx.execute(
                "INSERT INTO operator_settings (name, value, changed_by, changed_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_by = excluded.changed_by,
                   changed_at = excluded.changed_at",
                &[&name, &value, &by.actor.map(|user| Id(user.0)), &At(now)],
            )
            .await?
        }
        None => tx.execute("DELETE FROM operator_settings WHERE name = $1", &[&name]).await?,
    };
    record(tx, audit_event::SETTING_CHANGED, None, &wanted.told(before.as_deref()), by, now).await?;
    Ok(())
}
