//! The data folder: made when missing, closed to others, used by one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::failure::{Code, Failure};

/// A folder this process owns while it runs.
pub struct DataFolder {
    _lock: File,
}

/// Makes the folder for its owner only (0700), unless it is there.
pub fn make(path: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| fail(path, &format!("cannot be made: {error}; choose another with --data")))
}

fn fail(path: &Path, why: &str) -> Failure {
    Failure::new(Code::Folder, format!("data folder {}: {why}", path.display()))
}

impl DataFolder {
    /// Makes the folder (0700) and takes its lock.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        make(path)?;
        let fail = |why: String| fail(path, &why);
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(|error| {
            fail(format!("cannot be written: {error}; fix its permissions or choose another with --data"))
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(fail("another messenger runs on it; stop that one or choose another with --data".into()))
            }
            Err(TryLockError::Error(error)) => Err(fail(format!("cannot be locked: {error}"))),
        }
    }
}
