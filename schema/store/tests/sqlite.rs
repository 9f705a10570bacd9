//! The contract against SQLite.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod contract;

use contract::{Bed, TestClock, account, keys, log, member, stream};
use schema_store::SqliteStore;
use schema_store::sqlite::Options;
use std::sync::Arc;

/// A fresh store in a folder of its own.
fn bed() -> (tempfile::TempDir, Bed<SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let reading = clock.clone();
    let options = Options { clock: Arc::new(move || reading.now()), ..Options::default() };
    let store = SqliteStore::open_with(&folder.path().join("store.db"), options).unwrap();
    (folder, Bed { store, clock })
}

macro_rules! each {
    ($($module:ident: $($test:ident),* $(,)?;)*) => {$($(
        #[tokio::test]
        async fn $test() {
            let (_folder, bed) = bed();
            $module::$test(bed).await;
        }
    )*)*};
}

contract!(each);
