//! The store under the API: a database on a private PostgreSQL server.

use std::sync::Arc;

use console::{Clock, ConsoleConfig};
use schema_store::PostgresStore;
use schema_store::postgres::{Options, migrate};
use servers::Postgres;

pub type Store = PostgresStore;

/// The server it is on.
pub struct Kept {
    _server: Postgres,
}

impl Kept {
    pub async fn open(_: &ConsoleConfig, clock: Clock) -> (Self, Store) {
        let server = Postgres::start();
        migrate(&mut server.connect().await).await.unwrap();
        let options = Options { clock: Some(Arc::new(move || clock.now_ms())), ..Options::default() };
        let store = PostgresStore::open(&server.url("postgres"), options).await.unwrap();
        (Self { _server: server }, store)
    }
}
