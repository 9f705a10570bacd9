//! Backups, figures over time and settings, as the pages about running the product read them.

use rusqlite::{OptionalExtension, Transaction, params};

use super::account::audit::record;
use super::condition::condition;
use super::value::{int, uint};
use super::{SqliteStore, backup_notes, requests, statistics};
use crate::accounts::{AccountError, Answer};
use crate::operations::{Operations, SPAN_BYTES_MAX};
use crate::rows::account::{Origin, audit_event};
use crate::rows::backup::{
    BackupRequest, BackupRequestId, BackupRow, BackupWork, CheckRow, DrillRow, LogNote, LogNoted,
};
use crate::rows::condition::Condition;
use crate::rows::operations::{SETTING_VALUE_BYTES_MAX, Setting, SettingChange, Statistics};

impl Operations for SqliteStore {
    async fn backups_noted(&self, limit: u32) -> Answer<Vec<BackupRow>> {
        self.backups(limit).await
    }

    async fn drills_noted(&self, limit: u32) -> Answer<Vec<DrillRow>> {
        self.read(move |tx, _| backup_notes::drills(tx, limit)).await
    }

    async fn note_drill(&self, row: DrillRow) -> Answer<()> {
        self.write(move |tx, now| backup_notes::note_drill(tx, &row, now)).await
    }

    async fn checks_noted(&self, limit: u32) -> Answer<Vec<CheckRow>> {
        self.read(move |tx, _| backup_notes::checks(tx, limit)).await
    }

    async fn note_check(&self, row: CheckRow) -> Answer<()> {
        self.write(move |tx, now| backup_notes::note_check(tx, &row, now)).await
    }

    async fn log_noted(&self) -> Answer<Option<LogNoted>> {
        self.read(|tx, _| backup_notes::log(tx)).await
    }

    async fn note_log(&self, note: LogNote) -> Answer<()> {
        self.write(move |tx, now| backup_notes::note_log(tx, &note, now)).await
    }

    async fn ask_backup(&self, work: BackupWork, by: Origin) -> Answer<()> {
        self.write(move |tx, now| requests::ask(tx, work, &by, now)).await
    }

    async fn backup_requests(&self, limit: u32) -> Answer<Vec<BackupRequest>> {
        self.read(move |tx, now| requests::list(tx, limit, now)).await
    }

    async fn take_backup_request(&self) -> Answer<Option<(BackupRequestId, BackupWork)>> {
        // Most looks find nothing, which needs no writing.
        if !self.read(requests::waits).await? {
            return Ok(None);
        }
        self.write(requests::take).await
    }

    async fn end_backup_request(
        &self,
        request: BackupRequestId,
        outcome: Result<String, String>,
    ) -> Answer<()> {
        self.write(move |tx, now| requests::end(tx, request, &outcome, now)).await
    }

    async fn give_up_backup_requests(&self) -> Answer<u64> {
        self.write(requests::give_up).await
    }

    async fn keep_span(&self, began_at: u64, length_s: u32, figures: Vec<u8>) -> Answer<()> {
        if figures.len() > SPAN_BYTES_MAX {
            return Err(AccountError::Invalid { field: "figures", problem: "at most 1 MiB" });
        }
        self.write(move |tx, _| {
            tx.execute(
                "INSERT INTO metric_spans (length_s, began_at, figures) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![length_s, int(began_at), figures],
            )?;
            Ok(())
        })
        .await
    }

    async fn spans(&self, length_s: u32, from: u64, until: u64, limit: u32) -> Answer<Vec<(u64, Vec<u8>)>> {
        self.read(move |tx, _| {
            let mut find = tx.prepare_cached(
                "SELECT began_at, figures FROM metric_spans WHERE length_s = ?1 AND began_at >= ?2 AND began_at < ?3
                 ORDER BY began_at LIMIT ?4",
            )?;
            let rows = find.query_map(params![length_s, int(from), int(until), limit], |row| {
                Ok((uint(row, 0)?, row.get(1)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn forget_spans(&self, length_s: u32, before: u64) -> Answer<()> {
        self.write(move |tx, _| {
            tx.execute(
                "DELETE FROM metric_spans WHERE length_s = ?1 AND began_at < ?2",
                params![length_s, int(before)],
            )?;
            Ok(())
        })
        .await
    }

    async fn condition(&self) -> Answer<Condition> {
        let passes = self.threads.passes();
        self.read(move |tx, _| Ok(Condition::Sqlite(condition(tx, &passes)?))).await
    }

    async fn take_statistics(&self, older_than: u64) -> Answer<bool> {
        let counted = self.read(move |tx, now| statistics::count(tx, older_than, now)).await?;
        let Some(counted) = counted else { return Ok(false) };
        self.write(move |tx, now| statistics::keep(tx, &counted, now)).await?;
        Ok(true)
    }

    async fn statistics(&self) -> Answer<Option<Statistics>> {
        self.read(|tx, _| statistics::find(tx)).await
    }

    async fn hold_work(&self, work: &'static str, holder: [u8; 16], for_ms: u64) -> Answer<bool> {
        self.write(move |tx, now| {
            let held = tx.execute(
                "INSERT INTO held_work (work, holder, until) VALUES (?1, ?2, ?3)
                 ON CONFLICT (work) DO UPDATE SET holder = excluded.holder, until = excluded.until
                 WHERE held_work.holder = excluded.holder OR held_work.until <= ?4",
                params![work, holder, int(now.saturating_add(for_ms)), int(now)],
            )?;
            Ok(held > 0)
        })
        .await
    }

    async fn settings_set(&self) -> Answer<Vec<Setting>> {
        self.read(|tx, _| {
            let mut find = tx.prepare_cached(
                "SELECT s.name, s.value, coalesce(u.name, ''), s.changed_at FROM operator_settings s
                 LEFT JOIN users u ON u.id = s.changed_by ORDER BY s.name",
            )?;
            let rows = find.query_map([], |row| {
                let (name, value, changed_by) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Setting { name, value, changed_by, changed_at: uint(row, 3)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn change_settings(&self, changes: Vec<SettingChange>, by: Origin) -> Answer<()> {
        self.write(move |tx, now| changes.iter().try_for_each(|one| change(tx, one, &by, now))).await
    }
}

/// What somebody set, by name, for whoever runs by it.
pub fn set(tx: &Transaction<'_>) -> rusqlite::Result<Vec<(String, String)>> {
    let mut find = tx.prepare_cached("SELECT name, value FROM operator_settings")?;
    find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn change(tx: &Transaction<'_>, wanted: &SettingChange, by: &Origin, now: u64) -> Answer<()> {
    let (name, value) = (wanted.name, wanted.value.as_deref());
    if value.is_some_and(|value| value.len() > SETTING_VALUE_BYTES_MAX) {
        return Err(AccountError::Invalid { field: "value", problem: "at most 2048 bytes" });
    }
    let before: Option<String> = tx
        .query_row("SELECT value FROM operator_settings WHERE name = ?1", [name], |row| row.get(0))
        .optional()?;
    if before.as_deref() == value {
        return Ok(());
    }
    match value {
        Some(value) => tx.execute(
            "INSERT INTO operator_settings (name, value, changed_by, changed_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_by = excluded.changed_by,
               changed_at = excluded.changed_at",
            params![name, value, by.actor.map(|user| user.0), int(now)],
        )?,
        None => tx.execute("DELETE FROM operator_settings WHERE name = ?1", [name])?,
    };
    record(tx, audit_event::SETTING_CHANGED, None, &wanted.told(before.as_deref()), by, now)?;
    Ok(())
}
