//! `messenger backup`: makes, lists, checks, proves, prunes and rekeys backups of whichever database there is.

pub mod drill;
pub mod postgres;
pub mod progress;
pub mod requests;
pub mod settings;
mod show;
mod verify;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use ::backup::place::Location;
use ::backup::retain::Retention;
use ::backup::run::Made;
use ::backup::{prune, rekey, run, wal};
use clap::{Args, Subcommand};
use schema_store::SqliteStore;
use schema_store::rows::backup::{BackupEnd, BackupRow};

use crate::create_admin::embedded;
use crate::failure::Failure;
use progress::Progress;
use settings::PlaceOptions;

/// What to do.
#[derive(Subcommand, Debug, Clone)]
pub enum BackupCommand {
    /// Back up the database, also while it is in use.
    Run(RunOptions),
    /// Follow a PostgreSQL server's log and seal it as it is written, until stopped.
    Stream(postgres::StreamOptions),
    /// List the backups, oldest first.
    List(ShowOptions),
    /// Say how old the newest backup is; fails when it is too old.
    Status(StatusOptions),
    /// Read every byte of a backup and check it.
    Verify(verify::VerifyOptions),
    /// Prove a backup: restore it into a folder that goes afterwards, and time it.
    Drill(drill::DrillOptions),
    /// Remove backups that no retention rule keeps.
    Prune(PruneOptions),
    /// Put all backups under the key file's first key, without encrypting them again.
    Rekey(RekeyOptions),
}

#[derive(Args, Debug, Clone)]
pub struct RunOptions {
    #[command(flatten)]
    place: PlaceOptions,
}

#[derive(Args, Debug, Clone)]
pub struct ShowOptions {
    #[command(flatten)]
    place: PlaceOptions,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug, Clone)]
pub struct StatusOptions {
    #[command(flatten)]
    show: ShowOptions,
    /// Oldest that the newest backup may be, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    max_age: u64,
}

#[derive(Args, Debug, Clone)]
pub struct PruneOptions {
    #[command(flatten)]
    place: PlaceOptions,
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug, Clone)]
pub struct RekeyOptions {
    #[command(flatten)]
    place: PlaceOptions,
}

/// Runs it.
pub fn run(command: &BackupCommand) -> Result<ExitCode, Failure> {
    match command {
        BackupCommand::Run(options) => make(options),
        BackupCommand::Stream(options) => postgres::stream(options),
        BackupCommand::List(options) => show::list(&options.place, options.json),
        BackupCommand::Status(options) => {
            show::status(&options.show.place, options.show.json, options.max_age)
        }
        BackupCommand::Verify(options) => verify::run(options),
        BackupCommand::Drill(options) => drill::run(options),
        BackupCommand::Prune(options) => remove(options),
        BackupCommand::Rekey(options) => change_key(options),
    }
}

fn make(options: &RunOptions) -> Result<ExitCode, Failure> {
    let began = unix_ms();
    let made = match postgres::server(&options.place.data)? {
        None => make_embedded(&options.place)?,
        Some(server) => make_of_server(&options.place, &server)?,
    };
    let location = options.place.location()?;
    tracing::info!(
        name = %made.name,
        place = %location,
        database_bytes = made.manifest.plain_bytes(),
        bytes = made.manifest.bytes(),
        took_ms = unix_ms().saturating_sub(began),
        "backed up"
    );
    say!("{}", line(&made, &location));
    Ok(ExitCode::SUCCESS)
}

/// What a backup that was made is, in a line.
pub fn line(made: &Made, location: &Location) -> String {
    format!(
        "{} in {location}: {} of database, {} sealed, {} messages",
        made.name,
        show::size(made.manifest.plain_bytes()),
        show::size(made.manifest.bytes()),
        made.contents.messages
    )
}

fn make_embedded(options: &PlaceOptions) -> Result<Made, Failure> {
    let keys = options.keys()?;
    let file = embedded(&options.data)?;
    let started_at = unix_ms();
    let made = on_ring(async {
        let place = options.open()?;
        let mut progress = Progress::new("backing up");
        let made = run::run(&place, &keys, &file, &mut |done, all| progress.told(done, all)).await;
        made.map_err(Failure::backup)
    });
    let row = row("MANUAL", &options.location()?, started_at, &made);
    note(&file, async |store| store.note_backup(row).await);
    made
}

fn make_of_server(options: &PlaceOptions, server: &console::database::Server) -> Result<Made, Failure> {
    let keys = options.keys()?;
    on_ring(async {
        let source = postgres::source(server).await?;
        let mut progress = Progress::new("backing up");
        postgres::make(options, &keys, &source, &mut |done, all| progress.told(done, all)).await
    })
}

/// The row of an attempt.
pub fn row(kind: &str, location: &Location, started_at: u64, made: &Result<Made, Failure>) -> BackupRow {
    let (location, end) = match made {
        Ok(made) => (
            format!("{location}/{}", made.name.path("")),
            BackupEnd::Done {
                bytes: made.manifest.bytes(),
                manifest_sha256: made.manifest_sha256,
                generation: made.contents.generation,
                audit: made.contents.audit,
            },
        ),
        Err(failure) => (location.to_string(), BackupEnd::Failed { why: failure.message.clone() }),
    };
    BackupRow { kind: kind.to_owned(), location, started_at, finished_at: unix_ms(), end }
}

/// Notes something in the database, unless another version of this program keeps it. Only a warning when that fails:
/// what was to be noted happened all the same.
fn note<T, W>(file: &std::path::Path, write: W)
where
    W: AsyncFnOnce(&SqliteStore) -> Result<T, schema_store::AccountError>,
{
    let known = schema_store::sqlite::schema_version();
    if !schema_store::sqlite::schema_of(file).is_ok_and(|schema| schema == known) {
        return;
    }
    let noted = SqliteStore::open(file).map_err(Failure::store).and_then(|store| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::other)?;
        runtime.block_on(write(&store)).map_err(Failure::other)
    });
    if let Err(why) = noted {
        tracing::warn!(why = why.message, "it could not be noted in the database");
    }
}

/// What a place keeps.
pub fn retention(location: &Location) -> Retention {
    match location {
        Location::Folder(_) => Retention::LOCAL,
        Location::Bucket { .. } => Retention::BUCKET,
    }
}

fn remove(options: &PruneOptions) -> Result<ExitCode, Failure> {
    let retention = retention(&options.place.location()?);
    on_ring(async {
        let place = options.place.open()?;
        let now = jiff::Timestamp::now();
        let pruned = prune::prune(&place, &retention, now, options.dry_run).await.map_err(Failure::backup)?;
        let verb = if options.dry_run { "would remove" } else { "removed" };
        // Where the log's end is known by a signed manifest only: without the key all of it stays.
        if let Ok(keys) = options.place.keys() {
            let dropped = wal::prune(&place, &keys, &retention, now, options.dry_run).await;
            let dropped = dropped.map_err(Failure::backup)?;
            if dropped.pieces > 0 {
                say!("{verb} {} pieces of the log, {}", dropped.pieces, show::size(dropped.bytes));
            }
        }
        for name in pruned.removed.iter().chain(&pruned.interrupted) {
            say!("{verb} {name}");
        }
        if !options.dry_run {
            let (removed, interrupted) = (pruned.removed.len(), pruned.interrupted.len());
            tracing::info!(removed, interrupted, bytes = pruned.bytes, kept = pruned.kept, "pruned");
        }
        say!(
            "{verb} {} backups and {} interrupted ones, {}; {} are kept",
            pruned.removed.len(),
            pruned.interrupted.len(),
            show::size(pruned.bytes),
            pruned.kept
        );
        Ok(ExitCode::SUCCESS)
    })
}

fn change_key(options: &RekeyOptions) -> Result<ExitCode, Failure> {
    let keys = options.place.keys()?;
    on_ring(async {
        let place = options.place.open()?;
        let done = rekey::rekey(&place, &keys).await.map_err(Failure::backup)?;
        say!(
            "{} backups and {} pieces of logs put under key {}, {} backups were already",
            done.changed,
            done.pieces,
            keys.current().id(),
            done.unchanged
        );
        Ok(ExitCode::SUCCESS)
    })
}

/// Work on a place, where io_uring is.
pub fn on_ring<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut outcome = None;
    let ran = ::backup::block_on(async {
        outcome = Some(work.await);
        Ok(())
    });
    ran.map_err(Failure::backup)?;
    outcome.expect("the work ran to its end")
}

/// Unix milliseconds.
pub fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}
