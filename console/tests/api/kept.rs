//! The store under the API: SQLite in the API's folder.

use std::sync::Arc;

use console::database::Database;
use console::{Clock, ConsoleConfig};
use schema_store::SqliteStore;
use schema_store::sqlite::Options;

pub type Store = SqliteStore;

/// Nothing but the folder keeps it.
pub struct Kept;

impl Kept {
    pub async fn open(config: &ConsoleConfig, clock: Clock) -> (Self, Store) {
        let Database::Sqlite(file) = &config.database else { panic!("the default is a file") };
        let options = Options { clock: Arc::new(move || clock.now_ms()), ..Options::default() };
        (Self, SqliteStore::open_with(file, options).unwrap())
    }
}
