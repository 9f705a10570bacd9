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
use schema_store::{AccountError, SqliteStore};

use super::settings::Settings;
use crate::backup::settings::PlaceOptions;
use crate::backup::{drill, line, on_ring, requests, retention, row, unix_ms};
use crate::failure::{Code, Failure};

/// Seconds between two backups when nobody says otherwise: what may be lost at most.
const INTERVAL_SECONDS: u64 = 300;
const INTERVAL_SECONDS_MIN: u64 = 10;

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
fn interval() -> Result<Option<Duration>, Failure> {
    let text = std::env::var("BACKUP_INTERVAL").unwrap_or_default();
    let seconds = match text.as_str() {
        "" => INTERVAL_SECONDS,
        "off" => return Ok(None),
        text => text.parse().ok().filter(|seconds| *seconds >= INTERVAL_SECONDS_MIN).ok_or_else(|| {
            let fix = format!("BACKUP_INTERVAL={text}: not off and not {INTERVAL_SECONDS_MIN} seconds or more; fix: BACKUP_INTERVAL=300");
            Failure::new(Code::Settings, fix)
        })?,
    };
    Ok(Some(Duration::from_secs(seconds)))
}

impl Backups {
    /// Starts them; `None` when they are off. Called on the runtime.
    pub fn start(settings: &Settings, store: SqliteStore) -> Result<Option<Self>, Failure> {
        let (Some(every), Database::Sqlite(database)) = (interval()?, &settings.api.database) else {
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
        // What became of it is told already.
        let _ = attempt(job, "SCHEDULED");
        let began = Instant::now();
        while let Some(left) = every.checked_sub(began.elapsed()) {
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
