//! What /metrics says of backups: read from the tables that whoever backs up and drills writes, in this process or
//! another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use schema_store::Operations;
use schema_store::accounts::Answer;
use schema_store::rows::backup::{BackupEnd, BackupRow, CheckRow, DrillRow, LogNoted};

use super::housekeeping::Kept;
use crate::backup::unix_ms;

/// How often the tables are read.
const EVERY: Duration = Duration::from_secs(5);
/// Newest rows looked at: the last success lies among them, or long ago.
pub const ROWS: u32 = 64;
/// No receiver of the log is connected, or this account may not see it.
const UNKNOWN: u64 = u64::MAX;

/// What the tables say.
pub struct Rows {
    /// Newest first.
    pub backups: Vec<BackupRow>,
    /// Newest first.
    pub drills: Vec<DrillRow>,
    /// Newest first.
    pub checks: Vec<CheckRow>,
    /// How far the log is sealed, as whoever follows it said.
    pub log: Option<LogNoted>,
    /// Bytes of the log that had not arrived where it is sealed.
    pub log_lag: Option<u64>,
}

impl Rows {
    /// Reads so many of each.
    pub async fn read(store: &impl Operations, limit: u32, log_lag: Option<u64>) -> Answer<Self> {
        Ok(Self {
            backups: store.backups_noted(limit).await?,
            drills: store.drills_noted(limit).await?,
            checks: store.checks_noted(limit).await?,
            log: store.log_noted().await?,
            log_lag,
        })
    }
}

/// The figures. What never happened was at 0.
pub struct Figures {
    base_ms: AtomicU64,
    safe_ms: AtomicU64,
    unbroken_ms: AtomicU64,
    check_ms: AtomicU64,
    check_failure_ms: AtomicU64,
    duration_ms: AtomicU64,
    bytes: AtomicU64,
    failure_ms: AtomicU64,
    drill_ms: AtomicU64,
    drill_took_ms: AtomicU64,
    drill_failure_ms: AtomicU64,
    log_lag: AtomicU64,
}

impl Default for Figures {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            base_ms: zero(),
            safe_ms: zero(),
            unbroken_ms: zero(),
            check_ms: zero(),
            check_failure_ms: zero(),
            duration_ms: zero(),
            bytes: zero(),
            failure_ms: zero(),
            drill_ms: zero(),
            drill_took_ms: zero(),
            drill_failure_ms: zero(),
            log_lag: AtomicU64::new(UNKNOWN),
        }
    }
}

impl Figures {
    /// Takes what the tables say.
    pub fn take(&self, rows: &Rows) {
        let failed = |row: &&BackupRow| matches!(row.end, BackupEnd::Failed { .. });
        for row in &rows.backups {
            if let BackupEnd::Done { bytes, .. } = row.end {
                self.base_ms.store(row.finished_at, Relaxed);
                self.duration_ms.store(row.finished_at.saturating_sub(row.started_at), Relaxed);
                self.bytes.store(bytes, Relaxed);
                break;
            }
        }
        if let Some(row) = rows.backups.iter().find(failed) {
            self.failure_ms.store(row.finished_at, Relaxed);
        }
        if let Some(row) = rows.drills.iter().find(|row| row.passed) {
            self.drill_ms.store(row.finished_at, Relaxed);
            self.drill_took_ms.store(row.restore_ms(), Relaxed);
        }
        if let Some(row) = rows.drills.iter().find(|row| !row.passed) {
            self.drill_failure_ms.store(row.finished_at, Relaxed);
        }
        if let Some(row) = rows.checks.iter().find(|row| row.passed) {
            self.check_ms.store(row.finished_at, Relaxed);
        }
        if let Some(row) = rows.checks.iter().find(|row| !row.passed) {
            self.check_failure_ms.store(row.finished_at, Relaxed);
        }
        let followed = rows.log.as_ref().filter(|log| log.note.continues);
        self.safe_ms.store(followed.map_or(0, |log| log.note.safe_at), Relaxed);
        self.unbroken_ms.store(followed.map_or(0, |log| log.note.unbroken_since), Relaxed);
        self.log_lag.store(rows.log_lag.unwrap_or(UNKNOWN), Relaxed);
    }

    /// As Prometheus reads it.
    pub fn render(&self) -> String {
        let row = |(name, help, value): (&str, &str, f64)| {
            let value = if value.is_infinite() { "+Inf".to_owned() } else { value.to_string() };
            format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
        };
        self.of_backups().into_iter().chain(self.of_proofs()).chain(self.of_log()).map(row).collect()
    }

    fn of_backups(&self) -> Vec<Figure> {
        // A log that is followed makes what a restore reaches younger than the backup it goes on from.
        let last_ms = of(&self.base_ms).max(of(&self.safe_ms));
        let age = match last_ms {
            0 => f64::INFINITY,
            at => unix_ms().saturating_sub(at) as f64 / 1000.0,
        };
        vec![
            (
                "backup_last_success_timestamp_seconds",
                "The newest moment a restore reaches: the last whole backup, or up to where the log after it is sealed; 0 before the first.",
                last_ms as f64 / 1000.0,
            ),
            (
                "backup_last_failure_timestamp_seconds",
                "When a backup last failed; 0 if none did.",
                seconds(&self.failure_ms),
            ),
            ("backup_age_seconds", "How old the newest moment is that a restore reaches.", age),
            (
                "backup_base_last_success_timestamp_seconds",
                "When the last backup was whole; 0 before the first.",
                seconds(&self.base_ms),
            ),
            ("backup_last_duration_seconds", "How long it took.", seconds(&self.duration_ms)),
            ("backup_last_bytes", "Its sealed bytes.", of(&self.bytes) as f64),
        ]
    }

    fn of_proofs(&self) -> Vec<Figure> {
        vec![
            (
                "backup_check_last_success_timestamp_seconds",
                "When a check of every byte last passed; 0 before the first.",
                seconds(&self.check_ms),
            ),
            (
                "backup_check_last_failure_timestamp_seconds",
                "When one last failed; 0 if none did.",
                seconds(&self.check_failure_ms),
            ),
            (
                "restore_drill_last_success_timestamp_seconds",
                "When a drill last passed; 0 before the first.",
                seconds(&self.drill_ms),
            ),
            (
                "restore_drill_last_failure_timestamp_seconds",
                "When one last failed; 0 if none did.",
                seconds(&self.drill_failure_ms),
            ),
            (
                "restore_drill_last_duration_seconds",
                "How long the restore of the last one that passed took, up to a database that answers.",
                seconds(&self.drill_took_ms),
            ),
        ]
    }

    fn of_log(&self) -> Vec<Figure> {
        let mut rows = Vec::new();
        if of(&self.safe_ms) > 0 {
            rows.push((
                "backup_log_sealed_timestamp_seconds",
                "All that PostgreSQL had made durable by then is sealed, as whoever follows its log said.",
                seconds(&self.safe_ms),
            ));
            rows.push((
                "backup_log_unbroken_since_timestamp_seconds",
                "Since when nothing of that log is missing.",
                seconds(&self.unbroken_ms),
            ));
        }
        if of(&self.log_lag) != UNKNOWN {
            let help = "Bytes of PostgreSQL's log that have not left the server yet.";
            rows.push(("backup_log_lag_bytes", help, of(&self.log_lag) as f64));
        }
        rows
    }
}

/// A name, what it means, and the value.
type Figure = (&'static str, &'static str, f64);

fn of(value: &AtomicU64) -> u64 {
    value.load(Relaxed)
}

fn seconds(value: &AtomicU64) -> f64 {
    of(value) as f64 / 1000.0
}

/// Reads the tables until it is aborted.
pub async fn follow(store: impl Kept, figures: Arc<Figures>) {
    loop {
        let read: Answer<Rows> = store.backup_rows(ROWS).await;
        match read {
            Ok(rows) => figures.take(&rows),
            Err(error) => tracing::debug!(%error, "the tables of backups could not be read; trying again"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use schema_store::rows::account::AuditHead;
    use schema_store::rows::backup::LogNote;
    use schema_wire::Generation;

    use super::*;

    fn row(finished_at: u64, end: BackupEnd) -> BackupRow {
        BackupRow {
            kind: "MANUAL".into(),
            location: "x".into(),
            started_at: finished_at - 2_000,
            finished_at,
            end,
        }
    }

    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn every_figure_is_declared_and_tells_the_newest_row() {
        let figures = Figures::default();
        assert!(figures.render().contains("\nbackup_age_seconds +Inf\n"));
        let audit = AuditHead { id: 1, hash: [0; 32] };
        let done = BackupEnd::Done { bytes: 7, manifest_sha256: [0; 32], generation: Generation(1), audit };
        let backups = vec![row(9_000, BackupEnd::Failed { why: "x".into() }), row(5_000, done)];
        let drill = DrillRow {
            passed: true,
            started_at: 1_000,
            finished_at: 4_000,
            took_ms: Some(1_500),
            detail: String::new(),
        };
        let checks = [false, true].map(|passed| {
            let (started_at, finished_at) = (1_000, if passed { 2_000 } else { 3_000 });
            CheckRow { passed, started_at, finished_at, detail: String::new() }
        });
        let rows = Rows { backups, drills: vec![drill], checks: checks.into(), log: None, log_lag: Some(3) };
        figures.take(&rows);
        let text = figures.render();
        for (name, expected) in [
            ("backup_last_success_timestamp_seconds", 5.0),
            ("backup_last_failure_timestamp_seconds", 9.0),
            ("backup_base_last_success_timestamp_seconds", 5.0),
            ("backup_last_duration_seconds", 2.0),
            ("backup_last_bytes", 7.0),
            ("backup_check_last_success_timestamp_seconds", 2.0),
            ("backup_check_last_failure_timestamp_seconds", 3.0),
            ("restore_drill_last_success_timestamp_seconds", 4.0),
            ("restore_drill_last_duration_seconds", 1.5),
            ("backup_log_lag_bytes", 3.0),
        ] {
            assert_eq!(value(&text, name), expected, "{name}");
            assert!(
                text.contains(&format!("# TYPE {name} gauge")) && text.contains(&format!("# HELP {name} "))
            );
        }
    }

    #[test]
    fn a_log_that_goes_on_from_a_backup_makes_what_is_safe_younger() {
        let audit = AuditHead { id: 1, hash: [0; 32] };
        let done = BackupEnd::Done { bytes: 7, manifest_sha256: [0; 32], generation: Generation(1), audit };
        for (continues, safe_at, last) in [(true, 8_000, 8.0), (false, 8_000, 5.0), (true, 2_000, 5.0)] {
            let note = LogNote {
                safe_at,
                lag_bytes: 0,
                sealed_to: "0/2".into(),
                unbroken_from: "0/1".into(),
                unbroken_since: 1_000,
                continues,
            };
            let log = Some(LogNoted { note, noted_at: 9_000 });
            let figures = Figures::default();
            let backups = vec![row(5_000, done.clone())];
            figures.take(&Rows { backups, drills: Vec::new(), checks: Vec::new(), log, log_lag: None });
            let text = figures.render();
            assert_eq!(value(&text, "backup_last_success_timestamp_seconds"), last, "{continues} {safe_at}");
            assert_eq!(text.contains("\nbackup_log_unbroken_since_timestamp_seconds 1\n"), continues);
        }
    }
}
