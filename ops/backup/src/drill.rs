//! The drill: a whole restore into a folder that goes afterwards, timed, and asked what only a working database answers.

use std::path::Path;
use std::time::{Duration, Instant};

use schema_store::audit_chain::Verified;
use schema_store::rows::account::AuditHead;
use schema_store::rows::backup::Contents;
use schema_store::{Accounts, SqliteStore};

use crate::catalogue::Which;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::name::BackupName;
use crate::place::Place;
use crate::restore::{Target, restore};
use crate::run::{FolderLock, on_thread};

/// Where it restores to, inside the data folder; gone afterwards.
const SCRATCH: &str = "backup.drill";
/// Entries of the audit trail checked at once.
const ENTRIES: u32 = 10_000;

/// A backup that came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drilled {
    pub name: BackupName,
    pub contents: Contents,
    /// From the first byte to a database that answers.
    pub took: Duration,
}

/// A folder that goes when this does, and is empty when this begins.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn inside(folder: &Path) -> Result<Self, BackupError> {
        let scratch = Self(folder.join(SCRATCH));
        let made = scratch.remove().and_then(|()| {
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&scratch.0)
        });
        made.map_err(|why| BackupError::file(&scratch.0, why))?;
        Ok(scratch)
    }

    fn remove(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays goes when the next drill begins.
        let _ = self.remove();
    }
}

/// Restores into the data folder's scratch and checks what came back.
pub async fn drill(
    place: &Place,
    which: Which,
    keys: &Keyring,
    folder: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Drilled, BackupError> {
    let _lock = FolderLock::of_drills(folder)?;
    let scratch = Scratch::inside(folder)?;
    let began = Instant::now();
    let target = Target { database: scratch.0.join("messenger.db"), replace: false };
    let back = restore(place, which, keys, &target, told).await?;
    let store = on_thread(move || SqliteStore::open(&target.database)).await??;
    let took = began.elapsed();
    let checked = audit(&store, back.name).await;
    on_thread(move || drop(store)).await?;
    checked?;
    Ok(Drilled { name: back.name, contents: back.contents, took })
}

/// Every entry of the audit trail follows from the one before it.
async fn audit(store: &SqliteStore, name: BackupName) -> Result<(), BackupError> {
    let mut after: Option<AuditHead> = None;
    loop {
        match store.audit_verify(after, ENTRIES).await.map_err(BackupError::Prepare)? {
            Verified::Broken { id } => return Err(BackupError::Audit { name: name.to_string(), entry: id }),
            Verified::Intact { more: false, .. } => return Ok(()),
            Verified::Intact { head, more: true } => after = Some(head),
        }
    }
}
