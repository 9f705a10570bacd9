//! `messenger backup`: makes, lists, checks, prunes and rekeys backups of the embedded database.

mod drill;
pub mod progress;
pub mod settings;
mod show;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use ::backup::catalogue::{self, Which};
use ::backup::place::Location;
use ::backup::retain::Retention;
use ::backup::run::Made;
use ::backup::{BackupError, check, prune, rekey, run};
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
    /// List the backups, oldest first.
    List(ShowOptions),
    /// Say how old the newest backup is; fails when it is too old.
    Status(StatusOptions),
    /// Read every byte of a backup and check it.
    Verify(VerifyOptions),
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
pub struct VerifyOptions {
    /// `latest`, `all`, or a name from `messenger backup list`.
    #[arg(value_name = "WHICH", default_value = "latest")]
    which: String,
    #[command(flatten)]
    place: PlaceOptions,
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
        BackupCommand::List(options) => show::list(&options.place, options.json),
        BackupCommand::Status(options) => {
            show::status(&options.show.place, options.show.json, options.max_age)
        }
        BackupCommand::Verify(options) => verify(options),
        BackupCommand::Drill(options) => drill::run(options),
        BackupCommand::Prune(options) => remove(options),
        BackupCommand::Rekey(options) => change_key(options),
    }
}

fn make(options: &RunOptions) -> Result<ExitCode, Failure> {
    let keys = options.place.keys()?;
    let file = embedded(&options.place.data)?;
    let started_at = unix_ms();
    let made = on_ring(async {
        let place = options.place.open()?;
        let mut progress = Progress::new("backing up");
        let made = run::run(&place, &keys, &file, &mut |done, all| progress.told(done, all)).await;
        made.map_err(Failure::backup)
    });
    let location = options.place.location()?;
    let row = row("MANUAL", &location, started_at, &made);
    note(&file, async |store| store.note_backup(row).await);
    let made = made?;
    println!(
        "{} in {location}: {} of database, {} sealed, {} messages",
        made.name,
        show::size(made.manifest.plain_bytes()),
        show::size(made.manifest.bytes()),
        made.contents.messages
    );
    Ok(ExitCode::SUCCESS)
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

fn verify(options: &VerifyOptions) -> Result<ExitCode, Failure> {
    let keys = options.place.keys()?;
    on_ring(async {
        let place = options.place.open()?;
        let wanted: Vec<Which> = match options.which.as_str() {
            "all" => {
                let all = catalogue::entries(&place).await.map_err(Failure::backup)?;
                all.iter().filter(|entry| entry.is_whole).map(|entry| Which::Named(entry.name)).collect()
            }
            one => vec![one.parse().map_err(|error| Failure::backup(BackupError::Name(error)))?],
        };
        let mut worst = None;
        for which in wanted {
            let mut progress = Progress::new("checking");
            match check::check(&place, which, &keys, &mut |done, all| progress.told(done, all)).await {
                Ok(checked) => println!(
                    "{}: whole and authentic, {} in {} objects",
                    checked.name,
                    show::size(checked.manifest.bytes()),
                    checked.manifest.all_objects().count()
                ),
                Err(error) => {
                    let failure = Failure::backup(error);
                    if let Some(before) = worst.replace(failure) {
                        before.report();
                    }
                }
            }
        }
        worst.map_or(Ok(ExitCode::SUCCESS), Err)
    })
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
        for name in pruned.removed.iter().chain(&pruned.interrupted) {
            println!("{verb} {name}");
        }
        println!(
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
        println!(
            "{} backups put under key {}, {} were already",
            done.changed,
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
