//! Read replicas answer what they may, and never with less than the primary has shown.

use schema_store::PostgresStore;
use schema_store::Store;
use schema_store::postgres::Options;
use schema_wire::record::{StoreReply, StoreRequest};
use servers::{Postgres, Sync};

use crate::seed::{conversation, message, page, people, publish, user, world};

#[tokio::test]
async fn a_replica_that_lags_is_passed_over() {
    let (server, _) = world().await;
    people(&server, 1, 1);
    let mut standby = server.standby(Sync::Asynchronous, None);
    let options = Options { replicas: vec![standby.url("postgres")], ..Options::default() };
    let store = PostgresStore::open(&server.url("postgres"), options).await.unwrap();
    for n in 1..=3 {
        publish(&store, message(1, 1, n)).await;
    }
    let head = "SELECT next_offset FROM conversations";
    standby.until(head, "4");
    standby.sql("SELECT pg_wal_replay_pause()");
    let before = reads(&server);
    assert_eq!(page(&store, 1, 1, 1).await.entries.len(), 3);
    assert_eq!(reads(&server), before, "the replica answered");
    publish(&store, message(1, 1, 4)).await;
    let fresh = page(&store, 1, 1, 1).await;
    assert_eq!((fresh.entries.len(), fresh.head.0), (4, 4), "the replica lags: the primary answers");
    standby.sql("SELECT pg_wal_replay_resume()");
    standby.until(head, "5");
    assert_eq!(page(&store, 1, 1, 1).await.entries.len(), 4);
    standby.kill();
    assert_eq!(page(&store, 1, 1, 1).await.entries.len(), 4, "without it, too");
    let standing = StoreRequest::Standing { user: user(1), conversation: conversation(1), after: None };
    assert!(matches!(store.ask(standing).await, StoreReply::Standing(Some(_))));
}

/// Scans of the messages on the primary so far.
fn reads(server: &Postgres) -> String {
    server.sql("SELECT pg_stat_clear_snapshot()");
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    server.sql("SELECT sum(coalesce(idx_scan, 0) + seq_scan) FROM pg_stat_user_tables WHERE relname LIKE 'messages%'")
}
