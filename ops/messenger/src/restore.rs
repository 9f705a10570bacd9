//! `messenger restore`: brings a backup of the embedded database back into a data folder, while no server runs there.

use std::process::ExitCode;

use ::backup::BackupError;
use ::backup::catalogue::Which;
use ::backup::restore::{Back, Target, restore};
use clap::Args;

use crate::backup::on_ring;
use crate::backup::progress::Progress;
use crate::backup::settings::PlaceOptions;
use crate::create_admin::embedded;
use crate::failure::Failure;
use crate::up::folder::DataFolder;

/// Flags.
#[derive(Args, Debug, Clone)]
pub struct RestoreOptions {
    /// `latest`, or a name from `messenger backup list`.
    #[arg(value_name = "WHICH")]
    which: String,
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

fn print(back: &Back, target: &Target) {
    if let Some(safety) = &back.safety {
        println!("what was there is backed up as {}", safety.name);
    }
    if let Some(aside) = &back.aside {
        println!("what was there is damaged and lies in {}", aside.display());
    }
    let contents = &back.contents;
    println!("restored {} into {}", back.name, target.database.display());
    println!(
        "users {}, conversations {}, messages {}, audit entries up to {}",
        contents.users, contents.conversations, contents.messages, contents.audit.id
    );
    println!(
        "generation {}: clients are told to rewind; {} one-time key packages dropped, {} accounts erased again",
        back.restored.generation.0, back.restored.packages_dropped, back.restored.erased_again
    );
}
