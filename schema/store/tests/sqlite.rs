//! The contract against SQLite.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod contract;

// What the pages ask of a store; SQLite answers it so far.
#[path = "contract/console.rs"]
mod console;
#[path = "contract/moderation.rs"]
mod moderation;

use contract::{Bed, TestClock, account, keys, log, member, stream};
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
each! {
    console: a_session_lives_while_it_is_used, a_session_ends_with_role_and_account, own_sessions_are_listed_and_ended, a_code_works_once, failures_lock_longer_each_time;
    moderation: ten_reports_are_one_case, evidence_is_weighed, a_claim_keeps_others_away_for_a_while, nothing_happens_before_its_time, a_ban_needs_four_eyes, a_mute_keeps_reports_and_raises_no_case, what_does_not_go_is_refused;
}

#[tokio::test]
async fn the_only_node_always_gets_its_number() {
    let (_folder, bed) = bed();
    let claim = async || bed.store.claim_node("here".into(), "1".into(), None).await.unwrap().unwrap();
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
