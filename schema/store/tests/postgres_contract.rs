//! The contract against PostgreSQL: once straight, once through a pooler in transaction mode that knows no names.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod contract;

use contract::{
    Bed, TestClock, account, console, detection, keys, log, member, moderation, operations, oversight,
    services, stream,
};
use schema_store::PostgresStore;
use schema_store::postgres::{Options, Statements, migrate};
use servers::{Bouncer, Postgres};
use std::sync::Arc;

/// A server with a migrated database that others are copied from.
struct Ground {
    // Ends before the server.
    bouncer: Option<Bouncer>,
    server: Postgres,
}

impl Ground {
    async fn prepare(is_pooled: bool) -> Self {
        let server = Postgres::start();
        server.database("ground");
        migrate(&mut server.connect_to("ground").await).await.unwrap();
        Self { bouncer: is_pooled.then(|| Bouncer::before(&server)), server }
    }

    /// A fresh store in a database of its own.
    async fn bed(&self, name: &str) -> Bed<PostgresStore> {
        eprintln!("{name}");
        self.server.sql(&format!("CREATE DATABASE {name} TEMPLATE ground"));
        let (url, statements) = match &self.bouncer {
            Some(bouncer) => (bouncer.url(name), Statements::Unnamed),
            None => (self.server.url(name), Statements::Named),
        };
        let clock = TestClock::new();
        let reading = clock.clone();
        let clock_of_store: schema_store::sqlite::Clock = Arc::new(move || reading.now());
        let options =
            Options { clock: Some(clock_of_store), statements, pool_size: 10, ..Options::default() };
        Bed { store: PostgresStore::open(&url, options).await.unwrap(), clock }
    }
}

macro_rules! each {
    ($($module:ident: $($test:ident),* $(,)?;)*) => {
        mod straight {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $module() {
                let ground = Ground::prepare(false).await;
                $($module::$test(ground.bed(stringify!($test)).await).await;)*
            })*
        }

        mod pooled {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $module() {
                let ground = Ground::prepare(true).await;
                $($module::$test(ground.bed(stringify!($test)).await).await;)*
            })*
        }
    };
}

contract!(each);
