//! The contract against SQLite.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod contract;

use contract::{
    Bed, TestClock, account, block, card, console, detection, erasure, keys, log, member, moderation,
    operations, oversight, relation, reversal, services, stream,
};
use schema_store::rows::node::NodeState;
use schema_store::sqlite::Options;
use schema_store::{Nodes, SqliteStore};
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

#[tokio::test]
async fn the_only_node_always_gets_its_number() {
    let (_folder, bed) = bed();
    let claim = async || bed.store.claim_node("here".into(), "1".into(), None, None).await.unwrap().unwrap();
    let first = claim().await;
    bed.clock.forward(1);
    let second = claim().await;
    assert_eq!((first.node, second.node), (schema_wire::NodeId(1), schema_wire::NodeId(1)));
    let beat = async |lease| bed.store.beat(lease, "127.0.0.1:9".into(), NodeState::Draining).await.unwrap();
    assert!(!beat(first).await, "an older process has lost it");
    assert!(beat(second).await);
    let row = bed.store.nodes().await.unwrap().remove(0);
    assert_eq!(
        (row.address.as_str(), row.state, row.name.as_str()),
        ("127.0.0.1:9", NodeState::Draining, "here")
    );
}

#[tokio::test]
async fn texts_about_erased_accounts_go_also_those_of_before() {
    let (folder, bed) = bed();
    erasure::erased(&bed).await;
    let sql = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    let left = || sql.query_row(erasure::LEFTOVERS, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(left(), 0);
    sql.execute_batch(&erasure::left_before("BLOB", "'203.0.113.7'")).unwrap();
    assert!(left() > 8, "as a release left it that did not know");
    sql.execute_batch(include_str!("../migrations/sqlite/V34__erased_in_moderation.sql")).unwrap();
    assert_eq!(left(), 0);
    // Or as such a release leaves it that runs on beside this one.
    sql.execute_batch(&erasure::left_before("BLOB", "'203.0.113.7'")).unwrap();
    bed.store.sweep(bed.clock.now()).await.unwrap();
    assert!(left() > 8, "this one forgot when it erased");
    sql.execute_batch("UPDATE erasure_ledger SET forgotten = 0").unwrap();
    bed.store.sweep(bed.clock.now()).await.unwrap();
    assert_eq!(left(), 0);
    assert_eq!(
        sql.query_row("SELECT min(forgotten) FROM erasure_ledger", [], |row| row.get::<_, i64>(0)).unwrap(),
        1
    );
    let living =
        "SELECT count(*) FROM reports WHERE status = 'PENDING' AND evidence IS NOT NULL AND comment <> ''";
    assert_eq!(sql.query_row(living, [], |row| row.get::<_, i64>(0)).unwrap(), 1, "of who is there");
}
