//! Backups that `up` makes by itself: one when it starts, then one per interval, and whenever somebody asks at the console,
//! on a thread of their own; old ones are pruned. What became of each is in the `backups` table.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::backup::catalogue::Which;
use ::backup::drill::Drilled;
use ::backup::key::Keyring;
use ::backup::place::Location;
use ::backup::run::Made;
use ::backup::{prune, run};
use console::database::Database;
use schema_store::accounts::Answer;
use schema_store::rows::backup::{BackupEnd, BackupWork};
use schema_store::{AccountError, Operations, SqliteStore};

use super::settings::Settings;
use crate::backup::settings::PlaceOptions;
use crate::backup::{drill, line, on_ring, requests, retention, row, unix_ms};
use crate::failure::{Code, Failure};

/// Seconds when nobody says otherwise, and most: what may be lost at most.
const INTERVAL_SECONDS_MAX: u64 = 300;
const INTERVAL_SECONDS_MIN: u64 = 10;
/// The part of the interval by which a backup begins earlier at least.
const LEAD_PART: u32 = 20;

/// What the operator is told.
#[derive(Clone, Debug)]
pub struct Told {
    pub location: Location,
    /// Made now, since none was given.
    pub new_key: Option<PathBuf>,
}

/// The running thread.
pub struct Backups {
    stop: Sender<()>,
    thread: JoinHandle<()>,
    pub told: Told,
}

/// Everything one backup needs.
struct Job {
    options: PlaceOptions,
    location: Location,
    keys: Keyring,
    database: PathBuf,
    store: SqliteStore,
    /// Waits for the store's answers.
    runtime: tokio::runtime::Handle,
}

/// The interval, `None` when backups are off.
fn interval(text: &str) -> Result<Option<Duration>, Failure> {
    let allowed = INTERVAL_SECONDS_MIN..=INTERVAL_SECONDS_MAX;
    let seconds = match text {
        "" => INTERVAL_SECONDS_MAX,
        "off" | "none" | "0" => return Ok(None),
        text => text.parse().ok().filter(|seconds| allowed.contains(seconds)).ok_or_else(|| {
            let (min, max) = (INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_MAX);
            let fix = format!(
                "BACKUP_INTERVAL={text}: not {min} to {max} seconds, which is what may be lost at most, and not off; fix: \
                 BACKUP_INTERVAL={max}"
            );
            Failure::new(Code::Settings, fix)
        })?,
    };
    Ok(Some(Duration::from_secs(seconds)))
}

/// How long after a backup began the next one begins. What is safe is what was there when a whole one began, so that the next
/// one has to be whole by the end of the interval: it begins earlier by twice what the last one took.
fn next(every: Duration, took: Duration) -> Duration {
    every - (took * 2).clamp(every / LEAD_PART, every / 2)
}

impl Backups {
    /// Starts them; `None` when they are off. Called on the runtime.
    pub fn start(settings: &Settings, store: SqliteStore) -> Result<Option<Self>, Failure> {
        let text = std::env::var("BACKUP_INTERVAL").unwrap_or_default();
        let (Some(every), Database::Sqlite(database)) = (interval(&text)?, &settings.api.database) else {
            return Ok(None);
        };
        let options = PlaceOptions::from_env(&settings.data);
        let location = options.location()?;
        let (keys, new_key) = options.keys_or_new()?;
        let runtime = tokio::runtime::Handle::current();
        let job =
            Job { options, location: location.clone(), keys, database: database.clone(), store, runtime };
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("backup".into())
            .spawn(move || work(&job, every, &stopped))
            .map_err(Failure::other)?;
        Ok(Some(Self { stop, thread, told: Told { location, new_key } }))
    }

    /// Lets a backup that is going on finish.
    pub fn stop(self) {
        // The thread may be gone already.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn work(job: &Job, every: Duration, stopped: &Receiver<()>) {
    job.written(requests::begin(&job.store));
    loop {
        let began = Instant::now();
        // What became of it is told already.
        let _ = attempt(job, "SCHEDULED");
        let next = next(every, began.elapsed());
        while let Some(left) = next.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            match stopped.recv_timeout(left.min(requests::LOOK_EVERY)) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
            requested(job);
        }
    }
}

/// Does what somebody asked for at the console, if anybody did.
fn requested(job: &Job) {
    let Some(Some((request, work))) = job.written(requests::take(&job.store)) else { return };
    let outcome = match work {
        BackupWork::Run => attempt(job, "MANUAL").map(|made| line(&made, &job.location)),
        BackupWork::Drill => prove(job).map(|drilled| drill::line(&drilled)),
    };
    job.written(requests::end(&job.store, request, outcome));
}

impl Job {
    /// Waits for what is written down in the database; none when that fails.
    fn written<T>(&self, writing: impl Future<Output = Answer<T>>) -> Option<T> {
        let written = self.runtime.block_on(writing);
        let warn = |error: &AccountError| {
            tracing::warn!(%error, "what is known of backups could not be noted in the database");
        };
        written.inspect_err(warn).ok()
    }
}

/// Makes a backup, notes it, and prunes.
fn attempt(job: &Job, kind: &str) -> Result<Made, Failure> {
    let started_at = unix_ms();
    let made = on_ring(async {
        let place = job.options.open()?;
        let made =
            run::run(&place, &job.keys, &job.database, &mut |_, _| {}).await.map_err(Failure::backup)?;
        let pruned = prune::prune(&place, &retention(&job.location), jiff::Timestamp::now(), false).await;
        if let Err(why) = pruned {
            tracing::warn!(%why, "old backups could not be removed");
        }
        Ok(made)
    });
    let row = row(kind, &job.location, started_at, &made);
    match &row.end {
        BackupEnd::Done { bytes, .. } => {
            let took_ms = row.finished_at.saturating_sub(row.started_at);
            tracing::info!(bytes, took_ms, place = %job.location, "backed up");
        }
        BackupEnd::Failed { why } => tracing::error!(why, "no backup was made; trying again"),
    }
    job.written(job.store.note_backup(row));
    made
}

/// Restores the newest backup beside the database, and notes how that went.
fn prove(job: &Job) -> Result<Drilled, Failure> {
    let folder = job.database.parent().unwrap_or(Path::new("."));
    let started_at = unix_ms();
    let drilled = on_ring(async {
        let place = job.options.open()?;
        let drilled = ::backup::drill::drill(&place, Which::Latest, &job.keys, folder, &mut |_, _| {}).await;
        drilled.map_err(Failure::backup)
    });
    job.written(job.store.note_drill(drill::row(started_at, &drilled)));
    drilled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_interval_may_lose_more_than_five_minutes() {
        for (text, seconds) in [("", 300), ("10", 10), ("300", 300)] {
            assert_eq!(interval(text).unwrap(), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["off", "none", "0"] {
            assert_eq!(interval(text).unwrap(), None, "{text}");
        }
        for text in ["9", "301", "86400", "-1", "5m", "18446744073709551616"] {
            let refused = interval(text).unwrap_err();
            assert!(
                refused.code == Code::Settings && refused.message.contains("BACKUP_INTERVAL=300"),
                "{text}"
            );
        }
    }

    /// The oldest that what is safe gets, when backups take these times one after the other.
    fn oldest(every: u64, took: &[u64]) -> Duration {
        let every = Duration::from_millis(every);
        let (mut now, mut safe, mut oldest) = (Duration::ZERO, None, Duration::ZERO);
        for took in took.iter().map(|ms| Duration::from_millis(*ms)) {
            let (began, whole) = (now, now + took);
            oldest = safe.map_or(oldest, |safe| oldest.max(whole - safe));
            safe = Some(began);
            now = whole.max(began + next(every, took));
        }
        oldest
    }

    #[test]
    fn what_is_safe_is_never_older_than_the_interval() {
        let five = 300_000;
        let growing: Vec<u64> = (0..40).map(|n| 20 * 5_u64.pow(2) * n / 4).collect();
        for took in [
            &[30; 9][..],
            &[20_000; 9],
            &[70_000; 9],
            &[140_000; 9],
            &[9_000, 17_000, 30_000, 8_000],
            &growing,
        ] {
            let oldest = oldest(five, took);
            assert!(oldest <= Duration::from_millis(five), "{oldest:?}: {took:?}");
        }
        assert!(oldest(10_000, &[400; 50]) <= Duration::from_secs(10));
        let steady = next(Duration::from_secs(300), Duration::from_millis(30));
        assert!(steady >= Duration::from_secs(280), "and not made much more often: {steady:?}");
    }
}
