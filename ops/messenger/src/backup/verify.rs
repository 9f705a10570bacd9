//! `messenger backup verify`: every byte of a backup is read, and the log after it without a gap. What was found is noted for
//! the console.

use std::process::ExitCode;
use std::time::Duration;

use ::backup::catalogue::{self, Which};
use ::backup::check::Checked;
use ::backup::key::Keyring;
use ::backup::place::Place;
use ::backup::postgres::Base;
use ::backup::{BackupError, check, wal};
use clap::Args;
use schema_store::Operations;
use schema_store::rows::backup::CheckRow;

use super::progress::Progress;
use super::settings::PlaceOptions;
use super::show::size;
use super::{note, on_ring, postgres, unix_ms};
use crate::create_admin::embedded;
use crate::failure::Failure;

/// How long a server may take to let it be noted; what is checked may be all that is left of it.
const NOTE_MAX: Duration = Duration::from_secs(5);

#[derive(Args, Debug, Clone)]
pub struct VerifyOptions {
    /// `latest`, `all`, or a name from `messenger backup list`.
    #[arg(value_name = "WHICH", default_value = "latest")]
    which: String,
    #[command(flatten)]
    place: PlaceOptions,
}

/// Checks, prints a line of each, notes it all as one check.
pub fn run(options: &VerifyOptions) -> Result<ExitCode, Failure> {
    let which: Option<Which> = match options.which.as_str() {
        "all" => None,
        one => Some(one.parse().map_err(|error| Failure::backup(BackupError::Name(error)))?),
    };
    let keys = options.place.keys()?;
    let started_at = unix_ms();
    let mut lines = Vec::new();
    let verified = on_ring(async {
        let place = options.place.open()?;
        verify(&place, &keys, which, &mut |line| {
            say!("{line}");
            lines.push(line);
        })
        .await
    });
    let detail = match (&verified, lines.as_slice()) {
        (Err(failure), _) => failure.message.clone(),
        (Ok(()), [first, .., last]) if lines.len() > 2 => {
            format!("{} backups, the first {first}; the last {last}", lines.len())
        }
        (Ok(()), lines) => lines.join("; "),
    };
    let row = CheckRow { passed: verified.is_ok(), started_at, finished_at: unix_ms(), detail };
    if let Err(why) = noted(&options.place, row) {
        tracing::warn!(why = why.message, "it could not be noted in the database");
    }
    verified.map(|()| ExitCode::SUCCESS)
}

/// Notes it where the database is, if it is there.
fn noted(options: &PlaceOptions, row: CheckRow) -> Result<(), Failure> {
    let Some(server) = postgres::server(&options.data)? else {
        let file = embedded(&options.data)?;
        note(&file, async |store| store.note_check(row).await);
        return Ok(());
    };
    on_ring(async {
        let noting =
            async { postgres::source(&server).await?.store.note_check(row).await.map_err(Failure::other) };
        tokio::time::timeout(NOTE_MAX, noting).await.map_err(Failure::other)?
    })
}

/// Goes on after one that is not whole, whose failure is the outcome.
async fn verify(
    place: &Place,
    keys: &Keyring,
    which: Option<Which>,
    told: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let wanted = match which {
        Some(one) => vec![one],
        None => all(place).await?,
    };
    let (mut worst, mut log) = (None, None);
    for which in wanted {
        let mut progress = Progress::new("checking");
        match check::check(place, which, keys, &mut |done, all| progress.told(done, all)).await {
            Ok(checked) => {
                told(line(&checked));
                log = checked.manifest.base;
            }
            Err(error) => {
                let failure = Failure::backup(error);
                if let Some(before) = worst.replace(failure) {
                    before.report();
                }
            }
        }
    }
    if let Some(base) = log
        && let Some(line) = verify_log(place, keys, &base).await?
    {
        told(line);
    }
    worst.map_or(Ok(()), Err)
}

async fn all(place: &Place) -> Result<Vec<Which>, Failure> {
    let all = catalogue::entries(place).await.map_err(Failure::backup)?;
    Ok(all.iter().filter(|entry| entry.is_whole).map(|entry| Which::Named(entry.name)).collect())
}

fn line(checked: &Checked) -> String {
    format!(
        "{}: whole and authentic, {} in {} objects",
        checked.name,
        size(checked.manifest.bytes()),
        checked.manifest.all_objects().count()
    )
}

/// The log from the newest checked backup on, as far as it was said to be sealed.
async fn verify_log(place: &Place, keys: &Keyring, base: &Base) -> Result<Option<String>, Failure> {
    // First, as it grows meanwhile.
    let latest = catalogue::latest(place).await.map_err(Failure::backup)?;
    let found = wal::check(place, keys, base).await.map_err(Failure::backup)?;
    let said = latest.and_then(|latest| latest.log).filter(|log| log.system == base.system);
    let is_short = |log: &catalogue::LogEnd| {
        log.timeline == found.timeline && found.to.unwrap_or_else(|| base.log_after()) < log.to
    };
    if let Some(log) = said.as_ref().filter(|log| is_short(log)) {
        let why =
            format!("its end is missing: it was sealed up to {} by {}; make a base backup", log.to, log.at);
        let (place, segment) = (place.to_string(), found.to.unwrap_or(log.to).to_string());
        return Err(Failure::backup(BackupError::Log { place, segment, why }));
    }
    if let Some(log) = said.filter(|log| log.timeline > found.timeline) {
        let timeline = log.timeline;
        tracing::warn!(timeline, "the log that is sealed now does not go on from this backup; make a backup");
    }
    let (Some(to), Some(at)) = (found.to, found.sealed_at) else { return Ok(None) };
    let (size, pieces) = (size(found.bytes), found.pieces);
    Ok(Some(format!("its log: whole and authentic up to {to} of {at}, {size} in {pieces} pieces")))
}
