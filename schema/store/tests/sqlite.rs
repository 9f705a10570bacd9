//! The contract against SQLite.
#![allow(clippy::unwrap_used)]

mod contract;

use contract::{Bed, TestClock, log};
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

macro_rules! contract {
    ($($module:ident: $($test:ident),* $(,)?;)*) => {$($(
        #[tokio::test]
        async fn $test() {
            let (_folder, bed) = bed();
            $module::$test(bed).await;
        }
    )*)*};
}

contract! {
    log: offsets_are_dense_under_concurrent_appends, a_retry_gets_the_first_offset,
        one_refusal_does_not_spoil_the_batch, times_never_go_back, delete_leaves_a_gap_that_says_so,
        what_expires_is_gone, pages_are_dense_both_ways, big_pages_end_early,
        a_home_shard_reads_without_membership, nothing_from_blocked_suspended_or_muted;
}
