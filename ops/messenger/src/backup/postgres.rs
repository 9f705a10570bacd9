//! Backups of a PostgreSQL server: what they need to know of it, and the commands that only it has.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ::backup::key::Keyring;
use ::backup::place::Place;
use ::backup::postgres::restore::Fetch;
use ::backup::postgres::run::{Source, run};
use ::backup::run::Made;
use ::backup::wal;
use ::backup::wal::stream::News;
use clap::Args;
use console::database::{Database, Server};
use schema_store::PostgresStore;
use schema_store::postgres::Options;
use tokio::signal::unix::{SignalKind, signal};

use super::settings::PlaceOptions;
use super::{on_ring, requests, row, unix_ms};
use crate::create_admin::database;
use crate::failure::{Code, Failure};

/// What counts rows of large tables may take this long.
const STATEMENT: Duration = Duration::from_secs(3600);
/// Longest wait of one who follows the log for its server: what is sent to one that is gone without a word waits so long.
const FOLLOWING: Duration = Duration::from_secs(10);
/// Most connections of a command.
const POOL: usize = 4;
/// Exit code of `wal-fetch` for a file that is not sealed: recovery ends there.
const NOT_THERE: u8 = 1;
/// Exit code of `wal-fetch` for everything else: PostgreSQL stops recovery instead of taking it for the end of the log.
const STOP: u8 = 200;

#[derive(Args, Debug, Clone)]
pub struct StreamOptions {
    #[command(flatten)]
    place: PlaceOptions,
    /// Where pg_receivewal puts the log down before it is sealed; `wal` in the data folder when not given.
    #[arg(long, value_name = "DIR", env = "BACKUP_SPOOL")]
    spool: Option<PathBuf>,
    /// The replication slot, by which the server keeps what was not received yet; made when it is missing.
    #[arg(long, value_name = "NAME", default_value = "messenger_wal", env = "BACKUP_SLOT")]
    slot: String,
    /// Longest time between two seals, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, env = "BACKUP_SEAL_SECONDS", value_parser = clap::value_parser!(u64).range(1..=300))]
    every: u64,
}

#[derive(Args, Debug, Clone)]
pub struct WalFetchOptions {
    #[command(flatten)]
    place: PlaceOptions,
    /// The server's system identifier.
    #[arg(long, value_name = "ID")]
    system: String,
    /// The file's name: PostgreSQL's %f.
    #[arg(value_name = "FILE")]
    file: String,
    /// Where it goes: PostgreSQL's %p.
    #[arg(value_name = "INTO")]
    into: PathBuf,
}

/// The server that is meant, when it is one.
pub fn server(data: &Path) -> Result<Option<Server>, Failure> {
    match database(data)? {
        Database::Sqlite(_) => Ok(None),
        Database::Postgres(server) => Ok(Some(server)),
    }
}

/// Connects to it as one who copies it: BACKUP_DATABASE_URL, or DATABASE_URL.
pub async fn source(server: &Server) -> Result<Source, Failure> {
    source_within(server, STATEMENT).await
}

async fn source_within(server: &Server, statement_timeout: Duration) -> Result<Source, Failure> {
    let own = std::env::var("BACKUP_DATABASE_URL").ok().filter(|url| !url.is_empty());
    if own.is_none() && server.is_pooled {
        let line = "DATABASE_POOLER: a server is not copied through a pooler; fix: give its own address in \
                    BACKUP_DATABASE_URL";
        return Err(Failure::new(Code::Settings, line));
    }
    let url = own.unwrap_or_else(|| server.url().to_owned());
    let options = Options { statement_timeout, pool_size: POOL, ..server.options() };
    let store = PostgresStore::open(&url, options.clone()).await.map_err(Failure::database)?;
    Ok(Source { store, url, options })
}

/// Backs the server up and notes that in it. `told` hears of the bytes done, of about how many.
pub async fn make(
    options: &PlaceOptions,
    keys: &Keyring,
    source: &Source,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Made, Failure> {
    let (place, location, started_at) = (options.open()?, options.location()?, unix_ms());
    let made = run(&place, keys, source, told).await.map_err(Failure::backup);
    if let Err(why) = source.store.note_backup(row("MANUAL", &location, started_at, &made)).await {
        tracing::warn!(%why, "it could not be noted in the database");
    }
    made
}

/// How a recovering server calls this program for sealed files of its log.
pub fn fetch(place: &PlaceOptions) -> Result<Fetch, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(Failure::other);
    let mut environment: Vec<(&'static str, OsString)> = vec![("DATA_DIR", absolute(&place.data)?.into())];
    let location = match place.location()? {
        ::backup::place::Location::Folder(path) => absolute(&path)?.into_os_string(),
        bucket @ ::backup::place::Location::Bucket { .. } => bucket.to_string().into(),
    };
    environment.push(("BACKUP_LOCATION", location));
    if let Some(file) = place.key_file.as_ref().filter(|file| !file.as_os_str().is_empty()) {
        environment.push(("BACKUP_KEY_FILE", absolute(file)?.into()));
    }
    Ok(Fetch { program: std::env::current_exe().map_err(Failure::other)?, environment })
}

/// Follows the server's log until SIGTERM or SIGINT.
pub fn stream(options: &StreamOptions) -> Result<ExitCode, Failure> {
    let keys = options.place.keys()?;
    let Some(server) = server(&options.place.data)? else {
        let line =
            "DATABASE_URL: the embedded database has no log to follow; `messenger up` backs it up by itself";
        return Err(Failure::new(Code::Settings, line));
    };
    let settings = wal::stream::Settings {
        spool: options.spool.clone().unwrap_or_else(|| options.place.data.join("wal")),
        slot: options.slot.clone(),
        every: Duration::from_secs(options.every),
    };
    on_ring(async {
        let place = options.place.open()?;
        let source = match source_within(&server, FOLLOWING).await {
            Ok(source) => source,
            Err(failure) => {
                seal_left(&place, &keys, &settings).await;
                return Err(failure);
            }
        };
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::other)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::other)?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let mut told = |news: News<'_>| match news {
            News::Following => {
                tracing::info!(place = %place, spool = %settings.spool.display(), "following the log");
                requests::follow(&options.place, &keys, &server);
            }
            News::Sealed(piece) => sealed(piece),
        };
        let done = wal::stream::stream(&place, &keys, &source, &settings, stop, &mut told).await;
        done.map_err(Failure::backup)
    })?;
    say!("stopped; what was received is sealed");
    Ok(ExitCode::SUCCESS)
}

fn sealed(piece: &wal::Piece) {
    tracing::info!(file = piece.file, from = piece.from, to = piece.to, bytes = piece.object.bytes, "sealed");
}

/// What was received of a server that cannot be reached now.
async fn seal_left(place: &Place, keys: &Keyring, settings: &wal::stream::Settings) {
    let mut told = |news: News<'_>| {
        if let News::Sealed(piece) = news {
            sealed(piece);
        }
    };
    match wal::seal_left(place, keys, settings, &mut told).await {
        Ok(true) => tracing::warn!("the server cannot be reached; what was received of it is sealed"),
        Ok(false) => {}
        Err(why) => tracing::warn!(%why, "what was received of the server could not be sealed"),
    }
}

/// Gives a sealed file of the log to a server that recovers.
pub fn wal_fetch(options: &WalFetchOptions) -> ExitCode {
    let fetched = options.place.keys().and_then(|keys| {
        on_ring(async {
            let place = options.place.open()?;
            let fetched = wal::fetch(&place, &keys, &options.system, &options.file, &options.into).await;
            fetched.map_err(Failure::backup)
        })
    });
    match fetched {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_THERE),
        Err(failure) => {
            failure.report();
            ExitCode::from(STOP)
        }
    }
}
