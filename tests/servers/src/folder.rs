//! The folder of one server: temporary, owned by the account that runs it, and short, since sockets lie in it.

use std::path::{Path, PathBuf};

use crate::account;

/// A folder that goes with the value.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// A new one.
    pub fn new(prefix: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in("/tmp").expect("/tmp is writable");
        account::hand_over(folder.path(), 0o700);
        Self(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file that only the account reads.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        account::hand_over(&path, 0o600);
        path
    }
}
