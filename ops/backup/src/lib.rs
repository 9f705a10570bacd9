//! The backup engine: what a backup is made of, how it is sealed, where it lies, how it comes back.
//! Runs in the `messenger` program; a library so that tests reach every part of it.

pub mod catalogue;
pub mod check;
pub mod drill;
pub mod error;
pub mod hex;
mod hint;
pub mod key;
pub mod manifest;
pub mod name;
mod pipe;
pub mod place;
pub mod postgres;
pub mod prune;
pub mod rekey;
pub mod restore;
pub mod retain;
pub mod run;
pub mod seal;
mod signed;
pub mod wal;

use std::future::Future;

pub use error::BackupError;

/// Runs a backup's work on a thread that has io_uring.
pub fn block_on<T>(work: impl Future<Output = Result<T, BackupError>>) -> Result<T, BackupError> {
    let mut builder = tokio_uring::builder();
    let runtime = tokio_uring::Runtime::new(builder.entries(RING_ENTRIES)).map_err(BackupError::Ring)?;
    runtime.block_on(work)
}

/// A few files at once, each with one request.
const RING_ENTRIES: u32 = 64;
