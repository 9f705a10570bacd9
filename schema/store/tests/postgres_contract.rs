//! The contract against PostgreSQL: once straight, once through a pooler in transaction mode that knows no names, once with
//! what is read often cached in Redis.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod contract;

use contract::{
    Bed, TestClock, account, block, card, console, detection, erasure, keys, log, member, moderation,
    operations, oversight, relation, reversal, services, stream,
};
use schema_store::PostgresStore;
use schema_store::postgres::{Options, Statements, migrate};
use schema_store::redis::{Cache, Lives, RedisAddress};
use servers::{Bouncer, Postgres, Redis};
use std::sync::Arc;
use std::time::Duration;

/// What stands before and beside the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Straight,
    Pooled,
    Cached,
}

/// A server with a migrated database that others are copied from.
struct Ground {
    // Ends before the server.
    bouncer: Option<Bouncer>,
    redis: Option<Redis>,
    server: Postgres,
}

impl Ground {
    async fn prepare(way: Way) -> Self {
        let server = Postgres::start();
        server.database("ground");
        migrate(&mut server.connect_to("ground").await).await.unwrap();
        let bouncer = (way == Way::Pooled).then(|| Bouncer::before(&server));
        Self { bouncer, redis: (way == Way::Cached).then(Redis::start), server }
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
        let options = Options {
            clock: Some(clock_of_store),
            statements,
            pool_size: 10,
            cache: self.cache(),
            ..Options::default()
        };
        Bed { store: PostgresStore::open(&url, options).await.unwrap(), clock }
    }
}

impl Ground {
    fn cache(&self) -> Option<Arc<Cache>> {
        let address = RedisAddress::parse(&self.redis.as_ref()?.url()).unwrap();
        Some(Cache::new(address, Lives::at_most(Duration::from_secs(3_600))))
    }
}

macro_rules! each {
    ($($module:ident: $($test:ident),* $(,)?;)*) => {
        mod straight {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $module() {
                let ground = Ground::prepare(Way::Straight).await;
                $($module::$test(ground.bed(stringify!($test)).await).await;)*
            })*
        }

        mod pooled {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $module() {
                let ground = Ground::prepare(Way::Pooled).await;
                $($module::$test(ground.bed(stringify!($test)).await).await;)*
            })*
        }

        mod cached {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $module() {
                let ground = Ground::prepare(Way::Cached).await;
                $($module::$test(ground.bed(stringify!($test)).await).await;)*
            })*
        }
    };
}

contract!(each);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_about_erased_accounts_go_also_those_of_before() {
    let ground = Ground::prepare(Way::Straight).await;
    let bed = ground.bed("erased").await;
    erasure::erased(&bed).await;
    let sql = |text: &str| ground.server.sql_in("erased", text);
    assert_eq!(sql(erasure::LEFTOVERS).trim(), "0");
    sql(&erasure::left_before("bytea", "'203.0.113.7'"));
    assert!(
        sql(erasure::LEFTOVERS).trim().parse::<u32>().unwrap() > 8,
        "as a release left it that did not know"
    );
    sql(include_str!("../migrations/postgres/V34__erased_in_moderation.sql"));
    assert_eq!(sql(erasure::LEFTOVERS).trim(), "0");
    // Or as such a release leaves it that runs on beside this one.
    sql(&erasure::left_before("bytea", "'203.0.113.7'"));
    sql("UPDATE erasure_ledger SET forgotten = false");
    bed.store.sweep(bed.clock.now()).await.unwrap();
    assert_eq!(sql(erasure::LEFTOVERS).trim(), "0");
    assert_eq!(sql("SELECT count(*) FROM erasure_ledger WHERE NOT forgotten").trim(), "0");
    let living =
        "SELECT count(*) FROM reports WHERE status = 'PENDING' AND evidence IS NOT NULL AND comment <> ''";
    assert_eq!(sql(living).trim(), "1", "of who is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_bans_of_an_address_reversed_at_once_none_is_left() {
    let ground = Ground::prepare(Way::Straight).await;
    let bed = ground.bed("reversed").await;
    reversal::two_bans_reversed_at_once_leave_no_address_banned(bed).await;
}
