//! Backups and drills that somebody asks for at the console, which starts no programs: whoever makes backups looks for them
//! every few seconds, does one at a time, and says what became of it.

use std::time::Duration;

use ::backup::key::Keyring;
use ::backup::postgres::restore::Until;
use ::backup::postgres::run::Source;
use console::database::Server;
use schema_store::accounts::Answer;
use schema_store::rows::backup::{BackupRequestId, BackupWork};
use schema_store::{AccountError, Operations};

use super::settings::PlaceOptions;
use super::{drill, line, on_ring, postgres};
use crate::failure::Failure;

/// Between two looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Ends what a process before this one took up and did not do.
pub async fn begin(store: &impl Operations) -> Answer<()> {
    let given_up = store.give_up_backup_requests().await?;
    if given_up > 0 {
        tracing::warn!(given_up, "what was asked for before was not done; ask again");
    }
    Ok(())
}

/// Takes up what waits, if anything does.
pub async fn take(store: &impl Operations) -> Answer<Option<(BackupRequestId, BackupWork)>> {
    let taken = store.take_backup_request().await?;
    if let Some((_, work)) = taken {
        tracing::info!(work = work.name(), "asked for at the console");
    }
    Ok(taken)
}

/// Says what became of it.
pub async fn end(
    store: &impl Operations,
    request: BackupRequestId,
    outcome: Result<String, Failure>,
) -> Answer<()> {
    let outcome = outcome.map_err(|failure| failure.message);
    if let Err(why) = &outcome {
        tracing::error!(why, "what was asked for failed");
    }
    store.end_backup_request(request, outcome).await
}

/// Does what is asked for of a server's backups, on a thread of its own as long as this process lives. What is under way
/// when it ends is given up, and leaves nothing that looks whole.
pub fn follow(options: &PlaceOptions, keys: &Keyring, server: &Server) {
    let (options, keys, server) = (options.clone(), keys.clone(), server.clone());
    let following = move || {
        if let Err(why) = on_ring(async { look(&options, &keys, &server).await }) {
            tracing::error!(why = why.message, "backups cannot be asked for at the console");
        }
    };
    if let Err(why) = std::thread::Builder::new().name("requests".into()).spawn(following) {
        tracing::error!(%why, "backups cannot be asked for at the console");
    }
}

async fn look(options: &PlaceOptions, keys: &Keyring, server: &Server) -> Result<(), Failure> {
    let source = postgres::source(server).await?;
    let mut has_begun = false;
    loop {
        let done = async {
            if !has_begun {
                begin(&source.store).await?;
                has_begun = true;
            }
            if let Some((request, work)) = take(&source.store).await? {
                let outcome = perform(options, keys, &source, work).await;
                end(&source.store, request, outcome).await?;
            }
            Ok::<_, AccountError>(())
        };
        if let Err(error) = done.await {
            tracing::debug!(%error, "what is asked for at the console could not be looked for; trying again");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Does one thing; gives a line about it.
async fn perform(
    options: &PlaceOptions,
    keys: &Keyring,
    source: &Source,
    work: BackupWork,
) -> Result<String, Failure> {
    match work {
        BackupWork::Run => {
            let made = postgres::make(options, keys, source, &mut |_, _| {}).await?;
            Ok(line(&made, &options.location()?))
        }
        BackupWork::Drill => {
            let (row, drilled) = drill::recovered(options, keys, Until::Latest, &mut |_, _| {}).await?;
            source.store.note_drill(row).await.map_err(Failure::other)?;
            drilled.map(|drilled| drill::line(&drilled))
        }
    }
}
