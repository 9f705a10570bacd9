//! `messenger backup drill`: a backup that nobody restored is a hope. The result is noted for the console.

use std::path::Path;
use std::process::ExitCode;

use ::backup::BackupError;
use ::backup::drill::{Drilled, drill};
use clap::Args;
use schema_store::rows::backup::DrillRow;

use super::progress::Progress;
use super::settings::PlaceOptions;
use super::{note, on_ring, unix_ms};
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
    let file = embedded(&options.place.data)?;
    let folder = file.parent().filter(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let started_at = unix_ms();
    let drilled = on_ring(async {
        let place = options.place.open()?;
        let mut progress = Progress::new("restoring");
        let drilled = drill(&place, which, &keys, folder, &mut |done, all| progress.told(done, all)).await;
        drilled.map_err(Failure::backup)
    });
    let (passed, detail) = match &drilled {
        Ok(drilled) => (true, line(drilled)),
        Err(failure) => (false, failure.message.clone()),
    };
    let row = DrillRow { passed, started_at, finished_at: unix_ms(), detail };
    note(&file, async |store| store.note_drill(row).await);
    println!("{}", line(&drilled?));
    Ok(ExitCode::SUCCESS)
}

fn line(drilled: &Drilled) -> String {
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
