//! What a program that is killed leaves behind: a SQLite file.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use schema_store::SqliteStore;

use crate::kept::Store;
use crate::support::fresh_folder;

/// The file, in a folder of its own.
pub struct Ground {
    folder: PathBuf,
}

impl Ground {
    /// An id as 32 hexadecimal digits.
    pub const HEX_ID: &str = "lower(hex(id))";
    pub const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

    pub async fn lay() -> Self {
        Self { folder: fresh_folder() }
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    fn file(&self) -> PathBuf {
        self.folder.join("messenger.db")
    }

    pub async fn store(&self) -> Store {
        SqliteStore::open(&self.file()).unwrap()
    }

    /// Runs one statement; what a query says first, as text.
    pub fn sql(&self, statement: &str) -> String {
        let connection = Connection::open(self.file()).unwrap();
        connection.busy_timeout(Duration::from_secs(20)).unwrap();
        let mut prepared = connection.prepare(statement).unwrap();
        let mut rows = prepared.query([]).unwrap();
        let first = rows.next().unwrap().map(|row| row.get::<_, i64>(0).unwrap().to_string());
        first.unwrap_or_default()
    }

    /// The file is always there.
    pub fn try_sql(&self, statement: &str) -> Option<String> {
        Some(self.sql(statement))
    }

    /// Waits until a query says this.
    pub fn until(&self, query: &str, says: &str) {
        let began = Instant::now();
        while self.sql(query) != says {
            assert!(began.elapsed() < Duration::from_secs(60), "{query} never said {says}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Nothing but the program itself works with the file.
    pub fn kill_a_process(&self) -> bool {
        false
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
