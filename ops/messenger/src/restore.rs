//! `messenger restore`: brings a backup back, of the embedded database into a data folder while no server runs there, of
//! PostgreSQL into the folder of a server to make.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::backup::BackupError;
use ::backup::catalogue::Which;
use ::backup::key::Keyring;
use ::backup::postgres::Lsn;
use ::backup::postgres::restore::{Recovery, Until, restore as restore_server};
use ::backup::restore::{Back, Target, restore};
use clap::Args;

use crate::backup::progress::Progress;
use crate::backup::settings::PlaceOptions;
use crate::backup::{on_ring, postgres};
use crate::create_admin::embedded;
use crate::failure::{Code, Failure};
use crate::up::folder::DataFolder;
use schema_store::rows::backup::{Contents, Restored};

/// Flags.
#[derive(Args, Debug, Clone)]
pub struct RestoreOptions {
    /// `latest`, or a name from `messenger backup list`, with or without the end that files of dumps have.
    #[arg(value_name = "WHICH", default_value = "latest")]
    which: String,
    /// Of PostgreSQL: the data folder of the server to make; $PGDATA when not given. Its log is replayed up to the newest
    /// sealed moment, or up to the backup alone when a name is given.
    #[arg(long, value_name = "DIR")]
    target: Option<PathBuf>,
    /// Of PostgreSQL: stop at that moment, such as 2026-11-26T12:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["to_lsn", "which"])]
    to_time: Option<jiff::Timestamp>,
    /// Of PostgreSQL: stop at that position in the log, such as 0/16B3748.
    #[arg(long, value_name = "LSN", conflicts_with = "which")]
    to_lsn: Option<Lsn>,
    /// Of PostgreSQL: also compare every file with what the server wrote down of it.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    place: PlaceOptions,
    /// Replace what the data folder has. If that database is alive it is backed up first.
    #[arg(long)]
    replace: bool,
}

/// Restores, and says what came back.
pub fn run(options: &RestoreOptions) -> Result<ExitCode, Failure> {
    let which: Which = options.which.parse().map_err(|error| Failure::backup(BackupError::Name(error)))?;
    let keys = options.place.keys()?;
    if let Some(target) = target(options)? {
        return of_server(options, &keys, which, &target);
    }
    // Held to the end: no server may start on half a restore.
    let _folder = DataFolder::open(&options.place.data)?;
    let target = Target { database: embedded(&options.place.data)?, replace: options.replace };
    let back = on_ring(async {
        let place = options.place.open()?;
        let mut progress = Progress::new("restoring");
        let back = restore(&place, which, &keys, &target, &mut |done, all| progress.told(done, all)).await;
        back.map_err(Failure::backup)
    })?;
    print(&back, &target);
    Ok(ExitCode::SUCCESS)
}

/// The data folder of the server to make; none where the database is embedded.
fn target(options: &RestoreOptions) -> Result<Option<PathBuf>, Failure> {
    if options.target.is_some() {
        return Ok(options.target.clone());
    }
    if postgres::server(&options.place.data)?.is_none() {
        let is_of_servers = options.to_time.is_some() || options.to_lsn.is_some() || options.verify;
        let line = "--to-time, --to-lsn and --verify are of PostgreSQL; name the folder of the server to make with --target";
        return if is_of_servers { Err(Failure::new(Code::Settings, line)) } else { Ok(None) };
    }
    let set = std::env::var_os("PGDATA").filter(|folder| !folder.is_empty());
    let line = "DATABASE_URL names a PostgreSQL server, and nothing says which folder it is restored into; name that of the \
                server to make in PGDATA or with --target";
    set.map(|folder| Some(folder.into())).ok_or_else(|| Failure::new(Code::Settings, line))
}

/// Makes a PostgreSQL server's data folder.
fn of_server(
    options: &RestoreOptions,
    keys: &Keyring,
    which: Which,
    target: &Path,
) -> Result<ExitCode, Failure> {
    let until = match (options.to_time, options.to_lsn, which) {
        (Some(time), _, _) => Until::Time(time),
        (None, Some(lsn), _) => Until::Lsn(lsn),
        (None, None, Which::Latest) => Until::Latest,
        (None, None, Which::Named(name)) => Until::Backup(name),
    };
    let fetch = postgres::fetch(&options.place)?;
    let target = std::path::absolute(target).map_err(Failure::other)?;
    let back = on_ring(async {
        let place = options.place.open()?;
        let alive = match postgres::server(&options.place.data)? {
            Some(server) if target.join("postmaster.pid").exists() => Some(postgres::source(&server).await?),
            _ => None,
        };
        let mut progress = Progress::new("restoring");
        let told = &mut |done, all| progress.told(done, all);
        let recovery = Recovery { place: &place, keys, until, fetch: &fetch, verify: options.verify };
        let back = restore_server(&recovery, &target, options.replace, alive.as_ref(), told).await;
        back.map_err(Failure::backup)
    })?;
    if let Some(safety) = &back.safety {
        say!("what was there is backed up as {}", safety.name);
    }
    if let Some(aside) = &back.aside {
        say!("what was there lies in {}", aside.display());
    }
    tracing::info!(name = %back.name, messages = back.contents.messages, "restored");
    say!("restored {} into {}", back.name, target.display());
    counts(&back.contents, &back.restored);
    say!("start the server on it; its configuration is the backed-up one");
    Ok(ExitCode::SUCCESS)
}

fn print(back: &Back, target: &Target) {
    if let Some(safety) = &back.safety {
        say!("what was there is backed up as {}", safety.name);
    }
    if let Some(aside) = &back.aside {
        say!("what was there is damaged and lies in {}", aside.display());
    }
    tracing::info!(name = %back.name, messages = back.contents.messages, "restored");
    say!("restored {} into {}", back.name, target.database.display());
    counts(&back.contents, &back.restored);
}

fn counts(contents: &Contents, restored: &Restored) {
    say!(
        "users {}, conversations {}, messages {}, audit entries up to {}",
        contents.users,
        contents.conversations,
        contents.messages,
        contents.audit.id
    );
    say!(
        "generation {}: clients are told to rewind; {} one-time key packages dropped, {} accounts erased again",
        restored.generation.0,
        restored.packages_dropped,
        restored.erased_again
    );
}
