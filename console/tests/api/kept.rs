//! The store under the API: SQLite in the API's folder.

use std::sync::Arc;

use console::database::Database;
use console::{Clock, ConsoleConfig, ServeFault, Served, Starting};
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

/// Reports find somebody who reads them.
pub const HAS_MODERATORS: bool = true;

/// Serves it.
pub async fn start(
    config: ConsoleConfig,
    store: Store,
    starting: Starting,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Served, ServeFault> {
    console::start_with_pages(config, store, starting, shutdown).await
}
