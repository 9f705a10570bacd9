//! Saying in the server's own database how far its log is sealed: the console and the alerts read it there. Never waited for:
//! what is sealed is sealed all the same.

use std::time::{Duration, Instant};

use schema_store::rows::backup::LogNote;
use schema_store::{Operations, PostgresStore};

use crate::catalogue::LogEnd;

/// Between two notes. Each is a change to the log that is followed.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// What was noted last, and what is being noted.
#[derive(Default)]
pub(super) struct Notes {
    last: Option<(Instant, bool)>,
    writing: Option<tokio::task::JoinHandle<()>>,
}

impl Notes {
    /// Notes it unless that was done just now, or is under way.
    pub fn note(&mut self, store: &PostgresStore, end: &LogEnd, continues: bool) {
        let is_recent = self.last.is_some_and(|(at, of)| of == continues && at.elapsed() < NOTE_EVERY);
        if is_recent || self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        self.last = Some((Instant::now(), continues));
        let (store, note) = (store.clone(), row(end, continues));
        self.writing = Some(tokio_uring::spawn(async move {
            if let Err(why) = store.note_log(note).await {
                tracing::warn!(%why, "how far the log is sealed could not be noted; trying again");
            }
        }));
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            writing.abort();
        }
    }
}

fn row(end: &LogEnd, continues: bool) -> LogNote {
    let unix_ms = |at: jiff::Timestamp| u64::try_from(at.as_millisecond()).unwrap_or(0);
    LogNote {
        safe_at: unix_ms(end.at),
        lag_bytes: end.lag_bytes,
        sealed_to: end.to.to_string(),
        unbroken_from: end.from.unwrap_or(end.to).to_string(),
        unbroken_since: unix_ms(end.since.unwrap_or(end.at)),
        continues,
    }
}
