//! What a server tells of itself: with and without pg_stat_statements, with a standby that lags, never with values.

use schema_store::rows::condition::{Condition, PostgresCondition, Slowest};
use schema_store::{Operations, PostgresStore};
use servers::{Options, Postgres, Sync};

use crate::seed::{message, people, publish, world, world_on};

async fn condition(store: &PostgresStore) -> PostgresCondition {
    match store.condition().await.unwrap() {
        Condition::Postgres(condition) => condition,
        other @ Condition::Sqlite(_) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_tells_what_runs_and_who_follows() {
    let (server, store) = world().await;
    people(&server, 1, 1);
    publish(&store, message(1, 1, 1)).await;
    let standby = server.standby(Sync::Asynchronous, None);
    standby.until("SELECT next_offset FROM conversations", "2");
    standby.sql("SELECT pg_wal_replay_pause()");
    let busy = server.connect().await;
    let sleeping = tokio::spawn(async move {
        let _ = busy.batch_execute("SELECT pg_sleep(60), 'ada@example.org'").await;
    });
    let mut seen = condition(&store).await;
    for n in 2..200 {
        let runs = matches!(&seen.statements, Slowest::Running(all) if !all.is_empty());
        if runs && seen.replicas.iter().any(|replica| replica.lag_bytes > Some(0)) {
            break;
        }
        publish(&store, message(1, 1, n)).await;
        seen = condition(&store).await;
    }
    sleeping.abort();
    let Slowest::Running(running) = &seen.statements else { panic!("{seen:?}") };
    assert_eq!(running[0].text, "SELECT pg_sleep(?), ?", "without what somebody typed");
    assert_eq!(running[0].state, "active");
    let replica = &seen.replicas[0];
    assert_eq!((replica.state.as_str(), replica.sync.as_str()), ("streaming", "async"));
    assert!(replica.lag_bytes > Some(0), "{replica:?}");
    assert!(seen.version.starts_with(char::is_numeric) && seen.database_bytes > 1_000_000, "{seen:?}");
    assert!(seen.commits > 0 && seen.blocks_hit > 0, "{seen:?}");
    let ours: u64 = seen.connections.iter().map(|(_, count)| count).sum();
    assert!((2..=seen.connections_used).contains(&ours) && seen.connections_used < seen.connections_max);
}

#[tokio::test]
async fn ended_statements_are_told_without_values() {
    let options = Options::default().set("shared_preload_libraries", "pg_stat_statements");
    let (server, store) = world_on(Postgres::start_with(options)).await;
    assert!(matches!(condition(&store).await.statements, Slowest::Running(_)), "nobody made the extension");
    server.sql("CREATE SCHEMA \"of whom\"; CREATE EXTENSION pg_stat_statements SCHEMA \"of whom\"");
    server.sql("SELECT pg_sleep(0.2), 'ada@example.org'");
    let Slowest::Ended(ended) = condition(&store).await.statements else { panic!("it is there now") };
    let slow = ended.iter().find(|one| one.text.contains("pg_sleep")).unwrap();
    assert!(slow.calls == 1 && slow.mean_ms >= 200.0 && slow.max_ms >= 200.0 && slow.total_ms >= 200.0);
    assert!(ended.iter().all(|one| !one.text.contains("ada")), "{ended:?}");
    assert!(ended.windows(2).all(|two| two[0].mean_ms >= two[1].mean_ms), "the slowest first");
    server.sql("DROP EXTENSION pg_stat_statements");
    // The library is gone, its view is not.
    let (server, store) = world().await;
    server.sql("CREATE EXTENSION pg_stat_statements");
    assert!(matches!(condition(&store).await.statements, Slowest::Running(_)));
}
