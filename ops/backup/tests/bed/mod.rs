//! What the tests of whole backups share: a data folder with people who wrote messages, a place, a key.
#![allow(dead_code, clippy::unwrap_used)]

use std::future::Future;
use std::path::PathBuf;

use backup::BackupError;
use backup::catalogue::Which;
use backup::key::{Keyring, MasterKey};
use backup::place::{BucketAccess, Location, Place};
use backup::restore::{Back, Target, restore};
use backup::run::{Made, run};
use schema_store::SqliteStore;

/// Runs a future that needs a runtime, on it.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Runs work on a place.
pub fn on_ring<T>(work: impl Future<Output = Result<T, BackupError>>) -> Result<T, BackupError> {
    backup::block_on(work)
}

pub struct Bed {
    pub folder: tempfile::TempDir,
    pub keys: Keyring,
    pub location: Location,
    pub access: BucketAccess,
}

impl Bed {
    /// With its backups in a folder.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().join("place"));
        for data in ["data", "other"] {
            std::fs::create_dir(folder.path().join(data)).unwrap();
        }
        Self { keys: Keyring::of(MasterKey::generate()), location, access: BucketAccess::default(), folder }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("data/messenger.db")
    }

    pub fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.database()).unwrap()
    }

    pub fn place(&self) -> Place {
        Place::open(&self.location, &self.access).unwrap()
    }

    pub fn back_up(&self) -> Result<Made, BackupError> {
        on_ring(async { run(&self.place(), &self.keys, &self.database(), &mut |_, _| {}).await })
    }

    /// Into the other folder.
    pub fn elsewhere(&self) -> Target {
        Target { database: self.folder.path().join("other/messenger.db"), replace: false }
    }

    /// Into a new folder.
    pub fn beside(&self, name: &str) -> Target {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        Target { database: folder.join("messenger.db"), replace: false }
    }

    pub fn restore(&self, which: Which, target: &Target) -> Result<Back, BackupError> {
        self.restore_with(&self.keys, which, target)
    }

    pub fn restore_with(&self, keys: &Keyring, which: Which, target: &Target) -> Result<Back, BackupError> {
        on_ring(async { restore(&self.place(), which, keys, target, &mut |_, _| {}).await })
    }

    /// Files below a folder of the bed.
    pub fn files(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join(below)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.folder.path().join(below)).unwrap();
                    found.push(name.display().to_string());
                }
            }
        }
        found.sort();
        found
    }
}
