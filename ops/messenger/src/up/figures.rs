//! What /metrics says of backups: read from the tables that whoever backs up and drills writes, in this process or
//! another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use schema_store::accounts::Answer;
use schema_store::rows::backup::{BackupEnd, BackupRow, DrillRow};

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
    /// Bytes of the log that had not arrived where it is sealed.
    pub log_lag: Option<u64>,
}

/// The figures.
pub struct Figures {
    success_ms: AtomicU64,
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
            success_ms: zero(),
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
                self.success_ms.store(row.finished_at, Relaxed);
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
            self.drill_took_ms.store(row.finished_at.saturating_sub(row.started_at), Relaxed);
        }
        if let Some(row) = rows.drills.iter().find(|row| !row.passed) {
            self.drill_failure_ms.store(row.finished_at, Relaxed);
        }
        self.log_lag.store(rows.log_lag.unwrap_or(UNKNOWN), Relaxed);
    }

    /// As Prometheus reads it.
    pub fn render(&self) -> String {
        let of = |value: &AtomicU64| value.load(Relaxed);
        let seconds = |value: &AtomicU64| of(value) as f64 / 1000.0;
        let age = match of(&self.success_ms) {
            0 => f64::INFINITY,
            at => unix_ms().saturating_sub(at) as f64 / 1000.0,
        };
        let mut rows = vec![
            (
                "backup_last_success_timestamp_seconds",
                "When the last backup was whole; 0 before the first.",
                seconds(&self.success_ms),
            ),
            (
                "backup_last_failure_timestamp_seconds",
                "When one last failed; 0 if none did.",
                seconds(&self.failure_ms),
            ),
            ("backup_age_seconds", "How old the last whole backup is.", age),
            ("backup_last_duration_seconds", "How long it took.", seconds(&self.duration_ms)),
            ("backup_last_bytes", "Its sealed bytes.", of(&self.bytes) as f64),
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
                "How long the last one that passed took, checks included.",
                seconds(&self.drill_took_ms),
            ),
        ];
        if of(&self.log_lag) != UNKNOWN {
            let help = "Bytes of PostgreSQL's log that have not left the server yet.";
            rows.push(("backup_log_lag_bytes", help, of(&self.log_lag) as f64));
        }
        let row = |(name, help, value): (&str, &str, f64)| {
            let value = if value.is_infinite() { "+Inf".to_owned() } else { value.to_string() };
            format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
        };
        rows.into_iter().map(row).collect()
    }
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
        let drill = DrillRow { passed: true, started_at: 1_000, finished_at: 4_000, detail: String::new() };
        figures.take(&Rows { backups, drills: vec![drill], log_lag: Some(3) });
        let text = figures.render();
        for (name, expected) in [
            ("backup_last_success_timestamp_seconds", 5.0),
            ("backup_last_failure_timestamp_seconds", 9.0),
            ("backup_last_duration_seconds", 2.0),
            ("backup_last_bytes", 7.0),
            ("restore_drill_last_success_timestamp_seconds", 4.0),
            ("restore_drill_last_duration_seconds", 3.0),
            ("backup_log_lag_bytes", 3.0),
        ] {
            assert_eq!(value(&text, name), expected, "{name}");
            assert!(
                text.contains(&format!("# TYPE {name} gauge")) && text.contains(&format!("# HELP {name} "))
            );
        }
    }
}
