//! The change log: nothing is skipped, whatever order transactions commit in.

use schema_store::{ChangePosition, PostgresStore, Store};
use schema_wire::Network;
use schema_wire::record::{Change, UserStatus};

use crate::seed::{conversation, people, user, world};

async fn poll(store: &PostgresStore, at: &mut ChangePosition, limit: u32) -> Vec<Change> {
    let (changes, next) = store.changes(at.clone(), limit).await.unwrap();
    *at = next;
    changes
}

fn erased(n: u32) -> String {
    let id = conversation(n);
    format!("INSERT INTO change_log (kind, conversation_id) VALUES ('ERASED', '{id}')")
}

#[tokio::test]
async fn a_late_commit_is_told_and_a_long_transaction_holds_nothing_up() {
    let (server, store) = world().await;
    let (mut slow, quick) = (server.connect().await, server.connect().await);
    let mut at = ChangePosition::default();
    assert!(poll(&store, &mut at, 100).await.is_empty());
    let transaction = slow.transaction().await.unwrap();
    transaction.batch_execute(&erased(1)).await.unwrap();
    quick.batch_execute(&erased(2)).await.unwrap();
    let told = |n| vec![Change::Erased { conversation: conversation(n) }];
    assert_eq!(poll(&store, &mut at, 100).await, told(2), "although an older one is still open");
    assert!(poll(&store, &mut at, 100).await.is_empty(), "once");
    transaction.commit().await.unwrap();
    quick.batch_execute(&erased(3)).await.unwrap();
    let both = poll(&store, &mut at, 100).await;
    assert_eq!(both, [told(1), told(3)].concat());
    assert!(poll(&store, &mut at, 100).await.is_empty(), "once");
}

#[tokio::test]
async fn pages_lose_nothing_while_others_commit() {
    let (server, store) = world().await;
    let (mut slow, quick) = (server.connect().await, server.connect().await);
    let mut at = ChangePosition::default();
    poll(&store, &mut at, 100).await;
    let transaction = slow.transaction().await.unwrap();
    transaction.batch_execute(&erased(100)).await.unwrap();
    for n in 0..10 {
        quick.batch_execute(&erased(n)).await.unwrap();
    }
    let mut seen = poll(&store, &mut at, 3).await;
    transaction.commit().await.unwrap();
    quick.batch_execute(&erased(101)).await.unwrap();
    loop {
        let page = poll(&store, &mut at, 3).await;
        assert!(page.len() <= 3);
        if page.is_empty() && seen.len() >= 12 {
            break;
        }
        assert!(seen.len() < 13, "{seen:?}");
        seen.extend(page);
    }
    let mut expected: Vec<_> =
        (0..10).chain([100, 101]).map(|n| Change::Erased { conversation: conversation(n) }).collect();
    seen.sort_by_key(|change| format!("{change:?}"));
    expected.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(seen, expected);
}

/// As the administrator's guide prints it.
#[tokio::test]
async fn what_is_changed_in_sql_is_told() {
    let (server, store) = world().await;
    people(&server, 2, 1);
    let mut at = ChangePosition::default();
    poll(&store, &mut at, 100).await;
    server.sql("UPDATE users SET status = 'SUSPENDED', suspended_at = NOW() WHERE name = 'n2'");
    server
        .sql("INSERT INTO banned_ips (ip_address, reason) VALUES ('1.2.3.4', 'Associated with banned user')");
    let status = UserStatus::Suspended { until: None };
    server.sql("INSERT INTO banned_ips (ip_address) VALUES ('2001:db8::/32')");
    let banned = |text| Change::AddressBanned { network: Network::parse(text).unwrap() };
    let expected = [Change::UserStatus { user: user(2), status }, banned("1.2.3.4"), banned("2001:db8::/32")];
    assert_eq!(poll(&store, &mut at, 100).await, expected);
}

#[tokio::test]
async fn a_new_generation_is_told_whatever_the_position_was() {
    let (server, store) = world().await;
    people(&server, 1, 1);
    let mut at = ChangePosition::default();
    poll(&store, &mut at, 100).await;
    let generation = store.begin_generation("restored".to_owned()).await.unwrap();
    assert_eq!(poll(&store, &mut at, 100).await[0], Change::Generation { generation });
    server.sql(&erased(5));
    let more = poll(&store, &mut at, 100).await;
    assert!(more.contains(&Change::Erased { conversation: conversation(5) }), "{more:?}");
    assert!(poll(&store, &mut at, 100).await.is_empty());
}

/// The clock of the server, unix ms.
fn clock(server: &servers::Postgres) -> u64 {
    server.sql("SELECT floor(extract(epoch FROM now()) * 1000)::bigint").parse().unwrap()
}

#[tokio::test]
async fn what_was_read_may_be_swept_and_what_was_not_is_missed() {
    const HOURS_MS: u64 = 2 * 3_600_000;
    let (server, store) = world().await;
    let mut reads = ChangePosition::default();
    poll(&store, &mut reads, 100).await;
    let mut sleeps = reads.clone();
    let mut last = 0;
    for n in 1..=3 {
        server.sql(&erased(n));
        assert_eq!(poll(&store, &mut reads, 100).await, [Change::Erased { conversation: conversation(n) }]);
        assert_eq!(store.sweep(clock(&server) + HOURS_MS).await.unwrap().changes, 1);
        assert!(poll(&store, &mut reads, 100).await.is_empty(), "what the sweep wrote down is no change");
        let kept: u64 = server.sql("SELECT text FROM change_log WHERE kind = 'SWEPT'").parse().unwrap();
        assert!(kept > last, "one entry, of the newest");
        last = kept;
    }
    assert_eq!(store.sweep(clock(&server) + HOURS_MS).await.unwrap().changes, 0, "it stays");
    assert_eq!(poll(&store, &mut sleeps, 100).await, [Change::Missed]);
    assert!(poll(&store, &mut sleeps, 100).await.is_empty(), "once");
    server.sql("UPDATE change_log SET text = '9000000000000' WHERE kind = 'SWEPT'");
    assert!(poll(&store, &mut reads, 100).await.is_empty(), "a number of another server");
    server.sql(&erased(4));
    poll(&store, &mut reads, 100).await;
    store.sweep(clock(&server) + HOURS_MS).await.unwrap();
    assert_ne!(server.sql("SELECT text FROM change_log WHERE kind = 'SWEPT'"), "9000000000000");
    assert!(poll(&store, &mut reads, 100).await.is_empty());
}

#[tokio::test]
async fn a_generation_that_began_long_ago_leaves_something_missed() {
    let (server, store) = world().await;
    let mut at = ChangePosition::default();
    poll(&store, &mut at, 100).await;
    let generation = store.begin_generation("restored".to_owned()).await.unwrap();
    server.sql("UPDATE store_generation SET begun_at = begun_at - interval '1 hour'");
    server.sql(&erased(1));
    assert_eq!(poll(&store, &mut at, 100).await, [Change::Generation { generation }, Change::Missed]);
    assert!(poll(&store, &mut at, 100).await.is_empty(), "from there on");
}
