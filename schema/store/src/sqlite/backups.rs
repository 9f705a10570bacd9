//! The table of backups: what the console and the alerts know of them.

use rusqlite::params;
use schema_wire::Generation;

use super::SqliteStore;
use super::value::{int, uint};
use crate::accounts::Answer;
use crate::rows::account::AuditHead;
use crate::rows::backup::{BackupEnd, BackupRow};

/// Attempts kept: a week of one every five minutes, and more.
const ROWS_MAX: u32 = 4_096;
/// Longest error kept, in characters.
const ERROR_CHARS_MAX: usize = 512;

impl SqliteStore {
    /// Notes an attempt; forgets the oldest ones.
    pub async fn note_backup(&self, row: BackupRow) -> Answer<()> {
        self.write(move |tx, now| {
            let mut columns = (None, None, None, None, None, None);
            match &row.end {
                BackupEnd::Done { bytes, manifest_sha256, generation, audit } => {
                    columns.0 = Some(int(*bytes));
                    columns.1 = Some(*manifest_sha256);
                    columns.2 = Some(generation.0);
                    (columns.3, columns.4) = (Some(int(audit.id)), Some(audit.hash));
                }
                BackupEnd::Failed { why } => columns.5 = Some(why.chars().take(ERROR_CHARS_MAX).collect::<String>()),
            }
            tx.execute(
                "INSERT INTO backups (id, kind, location, status, started_at, finished_at,
                   size, sha256, generation, audit_id, audit_hash, error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    crate::fresh_id(now),
                    row.kind,
                    row.location,
                    if columns.5.is_none() { "DONE" } else { "FAILED" },
                    int(row.started_at),
                    int(row.finished_at),
                    columns.0,
                    columns.1,
                    columns.2,
                    columns.3,
                    columns.4,
                    columns.5,
                ],
            )?;
            tx.execute(
                "DELETE FROM backups WHERE id NOT IN (SELECT id FROM backups ORDER BY started_at DESC LIMIT ?1)",
                [ROWS_MAX],
            )?;
            Ok(())
        })
        .await
    }

    /// Newest attempts first.
    pub async fn backups(&self, limit: u32) -> Answer<Vec<BackupRow>> {
        self.read(move |tx, _| {
            let mut find = tx.prepare_cached(
                "SELECT kind, location, started_at, finished_at, size, sha256, generation, audit_id, audit_hash, error
                 FROM backups ORDER BY started_at DESC LIMIT ?1",
            )?;
            let found = find.query_map([limit.min(ROWS_MAX)], |row| {
                let why: Option<String> = row.get(9)?;
                let end = match why {
                    Some(why) => BackupEnd::Failed { why },
                    None => BackupEnd::Done {
                        bytes: uint(row, 4)?,
                        manifest_sha256: row.get(5)?,
                        generation: Generation(row.get(6)?),
                        audit: AuditHead { id: uint(row, 7)?, hash: row.get(8)? },
                    },
                };
                let (started_at, finished_at) = (uint(row, 2)?, uint(row, 3)?);
                Ok(BackupRow { kind: row.get(0)?, location: row.get(1)?, started_at, finished_at, end })
            })?;
            Ok(found.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
