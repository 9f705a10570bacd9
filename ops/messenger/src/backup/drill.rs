//! `messenger backup drill`: a backup that nobody restored is a hope. The result is noted for the console.

use std::path::Path;
use std::process::ExitCode;

use ::backup::BackupError;
use ::backup::catalogue::Which;
use ::backup::drill::{Drilled, drill};
use ::backup::key::Keyring;
use ::backup::postgres::restore::{Recovery, Until};
use clap::Args;
use schema_store::Operations;
use schema_store::rows::backup::DrillRow;

use super::progress::Progress;
use super::settings::PlaceOptions;
use super::{note, on_ring, postgres, unix_ms};
use crate::create_admin::embedded;
use crate::failure::Failure;

#[derive(Args, Debug, Clone)]
pub struct DrillOptions {
    /// `latest`, or a name from `messenger backup list`.
    #[arg(value_name = "WHICH", default_value = "latest")]
    which: String,
    #[command(flatten)]
    place: PlaceOptions,
}

/// Drills, notes the result, prints it.
pub fn run(options: &DrillOptions) -> Result<ExitCode, Failure> {
    let which = options.which.parse().map_err(|error| Failure::backup(BackupError::Name(error)))?;
    let keys = options.place.keys()?;
    if let Some(server) = postgres::server(&options.place.data)? {
        return of_server(options, &keys, &server);
    }
    let file = embedded(&options.place.data)?;
    let folder = file.parent().filter(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let started_at = unix_ms();
    let drilled = on_ring(async {
        let place = options.place.open()?;
        let mut progress = Progress::new("restoring");
        let drilled = drill(&place, which, &keys, folder, &mut |done, all| progress.told(done, all)).await;
        drilled.map_err(Failure::backup)
    });
    let row = row(started_at, &drilled);
    note(&file, async |store| store.note_drill(row).await);
    Ok(told(&drilled?))
}

/// Says it to people and to whoever collects logs.
fn told(drilled: &Drilled) -> ExitCode {
    tracing::info!(name = %drilled.name, took_ms = took_ms(drilled), messages = drilled.contents.messages, "drilled");
    say!("{}", line(drilled));
    ExitCode::SUCCESS
}

/// The same of a PostgreSQL server's backup, with its log; the server may be gone.
fn of_server(
    options: &DrillOptions,
    keys: &Keyring,
    server: &console::database::Server,
) -> Result<ExitCode, Failure> {
    let which: Which = options.which.parse().map_err(|error| Failure::backup(BackupError::Name(error)))?;
    let until = match which {
        Which::Latest => Until::Latest,
        Which::Named(name) => Until::Backup(name),
    };
    let drilled = on_ring(async {
        let mut progress = Progress::new("restoring");
        let (row, drilled) =
            recovered(&options.place, keys, until, &mut |done, all| progress.told(done, all)).await?;
        let noted = match postgres::source(server).await {
            Ok(source) => source.store.note_drill(row).await.map_err(Failure::other),
            Err(why) => Err(why),
        };
        if let Err(why) = noted {
            tracing::warn!(why = why.message, "it could not be noted in the database");
        }
        drilled
    })?;
    Ok(told(&drilled))
}

/// Recovers a server beside what is in the data folder, which goes afterwards; gives what is to be noted of it.
pub async fn recovered(
    options: &PlaceOptions,
    keys: &Keyring,
    until: Until,
    told: &mut dyn FnMut(u64, u64),
) -> Result<(DrillRow, Result<Drilled, Failure>), Failure> {
    crate::up::folder::make(&options.data)?;
    let (place, fetch, started_at) = (options.open()?, postgres::fetch(options)?, unix_ms());
    let recovery = Recovery { place: &place, keys, until, fetch: &fetch, verify: true };
    let drilled = ::backup::postgres::drill::drill(&recovery, &options.data, told).await;
    let drilled = drilled.map_err(Failure::backup);
    Ok((row(started_at, &drilled), drilled))
}

/// The row of an attempt.
pub fn row(started_at: u64, drilled: &Result<Drilled, Failure>) -> DrillRow {
    let detail = match drilled {
        Ok(drilled) => line(drilled),
        Err(failure) => failure.message.clone(),
    };
    let took_ms = drilled.as_ref().ok().map(took_ms);
    DrillRow { passed: drilled.is_ok(), started_at, finished_at: unix_ms(), took_ms, detail }
}

/// From the first byte to a database that answers.
fn took_ms(drilled: &Drilled) -> u64 {
    u64::try_from(drilled.took.as_millis()).unwrap_or(u64::MAX)
}

/// What came back, in a line.
pub fn line(drilled: &Drilled) -> String {
    let contents = &drilled.contents;
    format!(
        "{} came back in {:.1} s: users {}, conversations {}, messages {}, audit trail intact",
        drilled.name,
        drilled.took.as_secs_f64(),
        contents.users,
        contents.conversations,
        contents.messages
    )
}
