//! The embedded store: SQLite in WAL mode with one writer thread (group commit) and a few reader threads.

mod accounts;
mod append;
mod backup_notes;
mod backups;
mod changes;
mod checkpoint;
mod condition;
mod console;
mod content;
mod copy;
mod detection;
mod fault;
mod generation;
mod moderation;
mod nodes;
mod open;
mod operations;
mod oversight;
mod reads;
mod recover;
mod requests;
mod restore;
mod services;
mod standing;
mod statistics;
mod store;
mod stream;
mod sweep;
mod thread;
mod value;

mod account;

use std::path::Path;
use std::sync::Arc;

pub use copy::{CopyError, check_copy, contents, copy, schema_of};
pub use generation::GENERATION_REASON_BYTES_MAX;
pub use open::{Clock, OpenError, Options, schema_version};
pub use sweep::Swept;

use crate::accounts::{AccountError, Answer};
use schema_wire::record::StoreFault;
use thread::Threads;

/// A handle to the embedded store. Clones share it; the last one dropped closes the file.
#[derive(Clone)]
pub struct SqliteStore {
    threads: Arc<Threads>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteStore")
    }
}

impl SqliteStore {
    /// Opens or creates the database file and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, Options::default())
    }

    /// The same, with a clock or bounds of one's own.
    pub fn open_with(path: &Path, options: Options) -> Result<Self, OpenError> {
        Ok(Self { threads: Arc::new(Threads::start(path, options)?) })
    }

    /// Runs `work` in a transaction of its own on the writer; an error rolls it back.
    async fn write<T, F>(&self, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>, u64) -> Answer<T> + Send + 'static,
    {
        self.threads.write(work).await
    }

    /// Runs `work` on a reader, in one snapshot.
    async fn read<T, F>(&self, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Transaction<'_>, u64) -> Answer<T> + Send + 'static,
    {
        self.threads.read(work).await
    }
}

/// What the data plane can be told of an account-side failure: only faults happen there.
fn fault_of(error: AccountError) -> StoreFault {
    match error {
        AccountError::Fault(fault) => fault,
        other => {
            tracing::error!(error = ?other, "a data-plane request failed with an account error");
            StoreFault::Unavailable
        }
    }
}
