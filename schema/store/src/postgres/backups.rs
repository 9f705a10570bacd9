//! The table of backups, what a backup's manifest says of the database, and what one process at a time
//! may do to it.

use tokio_postgres::Row;

use super::account::audit;
use super::connect::{Connections, OpenError, explain};
use super::fault::Failed;
use super::options::Options;
use super::transaction::{Access, Tx};
use super::value::{At, Id, id, time, uint};
use super::{PostgresStore, generation};
use crate::accounts::Answer;
use crate::rows::account::AuditHead;
use crate::rows::backup::{BackupEnd, BackupRow, Cluster, Contents, Erased, LogHead};
use crate::stored::int;
use schema_wire::Generation;

/// Attempts kept: a week of one every five minutes, and more.
const ROWS_MAX: u32 = 4_096;
/// Longest error kept, in characters.
const ERROR_CHARS_MAX: usize = 512;
/// Key of the lock of who backs up.
const BACKUP_LOCK: i64 = 0x5345_4355_5245_4241;

/// A session that holds the lock of who backs up; given up when it is dropped, or the process ends.
pub struct BackupLock {
    _session: deadpool_postgres::ClientWrapper,
}

impl BackupLock {
    /// Takes it; none while another process has it.
    pub async fn take(url: &str, options: &Options) -> Result<Option<Self>, OpenError> {
        let primary = Connections::to_primary(url, options)?;
        let connection = primary.get().await.map_err(|failed| explain(&primary.host, &failed))?;
        let session = deadpool_postgres::Object::take(connection);
        let taken = session.query_one("SELECT pg_try_advisory_lock($1)", &[&BACKUP_LOCK]).await;
        let taken = taken.and_then(|row| row.try_get::<_, bool>(0));
        let taken = taken.map_err(|error| explain(&primary.host, &Failed::Sql(error)))?;
        Ok(taken.then_some(Self { _session: session }))
    }
}

impl PostgresStore {
    /// Notes an attempt; forgets the oldest ones.
    pub async fn note_backup(&self, row: BackupRow) -> Answer<()> {
        self.write(async move |tx, now| Ok(note_backup(tx, &row, now).await?)).await
    }

    /// Newest attempts first.
    pub async fn backups(&self, limit: u32) -> Answer<Vec<BackupRow>> {
        self.read(async move |tx, _| {
            let found = tx
                .query(
                    "SELECT kind, location, started_at, coalesce(finished_at, started_at), size, sha256, generation,
                       audit_id, audit_hash, error
                     FROM backups ORDER BY started_at DESC LIMIT $1",
                    &[&i64::from(limit.min(ROWS_MAX))],
                )
                .await?;
            found.iter().map(|row| Ok(backup(row)?)).collect()
        })
        .await
    }

    /// What the database holds, and its erasure ledger.
    pub async fn contents(&self) -> Answer<(Contents, Vec<Erased>)> {
        self.read(async move |tx, _| contents(tx).await).await
    }

    /// The erasure ledger, unless it has as many lines as were seen.
    pub async fn erasures(&self, seen: Option<u64>) -> Answer<Option<Vec<Erased>>> {
        self.read(async move |tx, _| {
            let lines = uint(&tx.query_one("SELECT count(*) FROM erasure_ledger", &[]).await?, 0)?;
            if Some(lines) == seen { Ok(None) } else { Ok(Some(erased(tx).await?)) }
        })
        .await
    }

    /// How many conversations miss messages between the oldest one kept and their head.
    pub async fn gaps(&self) -> Answer<u64> {
        self.read(async move |tx, _| Ok(uint(&tx.query_one(GAPS, &[]).await?, 0)?)).await
    }

    /// The hash of one entry of the audit trail.
    pub async fn audit_hash(&self, entry: u64) -> Answer<Option<[u8; 32]>> {
        self.read(async move |tx, _| {
            let found = tx.query_opt("SELECT hash FROM audit_logs WHERE id = $1", &[&int(entry)]).await?;
            Ok(found.map(|row| hash(&row, 0)).transpose()?)
        })
        .await
    }

    /// The server itself, as backups need to know it.
    pub async fn cluster(&self) -> Answer<Cluster> {
        self.transact(Access::Snapshot, async move |tx, _| {
            let row = tx.query_one(CLUSTER, &[]).await?;
            Ok(Cluster {
                system: row.try_get(0).map_err(Failed::Sql)?,
                version: u32::try_from(uint(&row, 1)?).unwrap_or(0),
                segment_bytes: uint(&row, 2)?,
                bytes: uint(&row, 3)?,
                user: row.try_get(4).map_err(Failed::Sql)?,
                database: row.try_get(5).map_err(Failed::Sql)?,
            })
        })
        .await
    }

    /// Up to where a recovery replayed the log before this server took writes; none when it never recovered.
    pub async fn replayed(&self) -> Answer<Option<String>> {
        self.read(async move |tx, _| {
            let row = tx.query_one("SELECT pg_last_wal_replay_lsn()::text", &[]).await?;
            Ok(row.try_get(0).map_err(Failed::Sql)?)
        })
        .await
    }

    /// Whether somebody receives the log by that slot.
    pub async fn is_followed(&self, slot: String) -> Answer<bool> {
        self.read(async move |tx, _| {
            let found = tx
                .query_opt("SELECT active FROM pg_replication_slots WHERE slot_name = $1", &[&slot])
                .await?;
            Ok(found.map(|row| row.try_get(0)).transpose().map_err(Failed::Sql)?.unwrap_or(false))
        })
        .await
    }

    /// Whether the server has given up what it kept by that slot.
    pub async fn is_slot_lost(&self, slot: String) -> Answer<bool> {
        self.read(async move |tx, _| {
            let find =
                "SELECT coalesce(wal_status, '') = 'lost' FROM pg_replication_slots WHERE slot_name = $1";
            let found = tx.query_opt(find, &[&slot]).await?;
            Ok(found.map(|row| row.try_get(0)).transpose().map_err(Failed::Sql)?.unwrap_or(false))
        })
        .await
    }

    /// Up to where this server has made its log durable, and on which timeline.
    pub async fn log_head(&self) -> Answer<LogHead> {
        self.read(async move |tx, _| {
            let row = tx
                .query_one(
                    "SELECT flushed::text, substr(pg_walfile_name(flushed), 1, 8)
                     FROM pg_current_wal_flush_lsn() AS flushed",
                    &[],
                )
                .await?;
            let timeline: String = row.try_get(1).map_err(Failed::Sql)?;
            let timeline = u32::from_str_radix(&timeline, 16).unwrap_or(0);
            Ok(LogHead { flushed: row.try_get(0).map_err(Failed::Sql)?, timeline })
        })
        .await
    }

    /// How many bytes of the log the receiver of that name has not flushed yet; none when it is not there.
    pub async fn log_lag(&self, receiver: String) -> Answer<Option<u64>> {
        self.read(async move |tx, _| {
            let found = tx
                .query_opt(
                    "SELECT greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn), 0)::bigint
                     FROM pg_stat_replication WHERE application_name = $1 AND flush_lsn IS NOT NULL LIMIT 1",
                    &[&receiver],
                )
                .await?;
            Ok(found.map(|row| uint(&row, 0)).transpose()?)
        })
        .await
    }
}

const CLUSTER: &str = "SELECT (SELECT system_identifier::text FROM pg_control_system()),
  current_setting('server_version_num')::bigint,
  (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
  (SELECT sum(pg_database_size(oid))::bigint FROM pg_database),
  current_user::text, current_database()::text";

/// Conversations whose log is not dense from the oldest message still kept (old partitions go) up to its head.
const GAPS: &str = "SELECT count(*) FROM conversations c
  LEFT JOIN (SELECT conversation_id, count(*) AS kept, min(log_offset) AS oldest FROM messages GROUP BY 1) m
    ON m.conversation_id = c.id
  WHERE c.next_offset - coalesce(m.oldest, c.next_offset) <> coalesce(m.kept, 0)";

async fn note_backup(tx: &Tx, row: &BackupRow, now: u64) -> Result<(), Failed> {
    let (mut size, mut sha256, mut generation, mut audit) = (None, None, None, None);
    let mut error: Option<String> = None;
    match &row.end {
        BackupEnd::Done { bytes, manifest_sha256, generation: of, audit: head } => {
            size = Some(int(*bytes));
            sha256 = Some(manifest_sha256.to_vec());
            generation = Some(i64::from(of.0));
            audit = Some((int(head.id), head.hash.to_vec()));
        }
        BackupEnd::Failed { why } => error = Some(why.chars().take(ERROR_CHARS_MAX).collect()),
    }
    let status = if error.is_none() { "DONE" } else { "FAILED" };
    let (audit_id, audit_hash) = audit.unzip();
    tx.execute(
        "INSERT INTO backups (id, kind, location, status, started_at, finished_at, size, sha256, generation,
           audit_id, audit_hash, error)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        &[
            &Id(crate::fresh_id(now)),
            &row.kind,
            &row.location,
            &status,
            &At(row.started_at),
            &At(row.finished_at),
            &size,
            &sha256,
            &generation,
            &audit_id,
            &audit_hash,
            &error,
        ],
    )
    .await?;
    tx.execute(
        "DELETE FROM backups WHERE id NOT IN (SELECT id FROM backups ORDER BY started_at DESC LIMIT $1)",
        &[&i64::from(ROWS_MAX)],
    )
    .await?;
    Ok(())
}

fn backup(row: &Row) -> Result<BackupRow, Failed> {
    let end = match row.try_get::<_, Option<String>>(9)? {
        Some(why) => BackupEnd::Failed { why },
        None => BackupEnd::Done {
            bytes: uint(row, 4)?,
            manifest_sha256: hash(row, 5)?,
            generation: Generation(u32::try_from(uint(row, 6)?).unwrap_or(u32::MAX)),
            audit: AuditHead { id: uint(row, 7)?, hash: hash(row, 8)? },
        },
    };
    let (started_at, finished_at) = (time(row, 2)?, time(row, 3)?);
    Ok(BackupRow { kind: row.try_get(0)?, location: row.try_get(1)?, started_at, finished_at, end })
}

fn hash(row: &Row, column: usize) -> Result<[u8; 32], Failed> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes.try_into().map_err(|_| Failed::Unreadable("a hash"))
}

async fn contents(tx: &Tx) -> Answer<(Contents, Vec<Erased>)> {
    let counts = tx
        .query_one(
            "SELECT (SELECT max(version) FROM refinery_schema_history)::bigint, (SELECT count(*) FROM users),
               (SELECT count(*) FROM conversations), (SELECT count(*) FROM messages)",
            &[],
        )
        .await?;
    let contents = Contents {
        schema: u32::try_from(uint(&counts, 0)?).unwrap_or(0),
        generation: generation::current(tx).await?,
        audit: audit::head(tx).await?,
        users: uint(&counts, 1)?,
        conversations: uint(&counts, 2)?,
        messages: uint(&counts, 3)?,
    };
    Ok((contents, erased(tx).await?))
}

async fn erased(tx: &Tx) -> Result<Vec<Erased>, Failed> {
    let found = tx.query("SELECT user_id, reason, erased_at FROM erasure_ledger ORDER BY id", &[]).await?;
    let erased = found
        .iter()
        .map(|row| Ok(Erased { user: id(row, 0)?, reason: row.try_get(1)?, erased_at: time(row, 2)? }));
    erased.collect()
}
