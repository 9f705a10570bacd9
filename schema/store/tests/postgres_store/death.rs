//! The server dies, hangs, or is replaced: nothing acknowledged is lost, and the store comes back by itself.

use std::time::{Duration, Instant};

use schema_store::postgres::Options;
use schema_store::{PostgresStore, Store};
use schema_wire::record::{Appended, StoreFault, StoreReply, StoreRequest};
use schema_wire::{Generation, Offset, Position};
use servers::{Options as ServerOptions, Postgres, Sync};

use crate::seed::{bodies, conversation, message, offset, people, publish, user, world, world_on};

/// Tries until the store answers; fails when that takes too long.
async fn until_stored(store: &PostgresStore, append: schema_wire::record::Append) -> Appended {
    let began = Instant::now();
    loop {
        match store.append(vec![append.clone()]).await {
            Ok(mut outcomes) => return outcomes.pop().unwrap(),
            Err(_) => assert!(began.elapsed() < Duration::from_secs(30), "it does not come back"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let options = ServerOptions { fsync: true, ..ServerOptions::default() };
    let (mut server, store) = world_on(Postgres::start_with(options)).await;
    people(&server, 4, 4);
    let writers: Vec<_> = (1..=4u32)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let (mut acked, mut faults) = (Vec::new(), 0);
                for n in 0..150u64 {
                    let append = message(writer, writer, u64::from(writer) * 10_000 + n);
                    let body = String::from_utf8(append.body.to_vec()).unwrap();
                    loop {
                        match store.append(vec![append.clone()]).await {
                            Ok(outcomes) => {
                                let (Appended::Stored { offset, .. } | Appended::Duplicate { offset, .. }) =
                                    outcomes[0]
                                else {
                                    panic!("{outcomes:?}")
                                };
                                acked.push((offset.0, body));
                                break;
                            }
                            Err(StoreFault::Unavailable) => faults += 1,
                            Err(other) => panic!("{other:?}"),
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                (writer, acked, faults)
            })
        })
        .collect();
    let mut restarted = Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.kill();
        server.start_again();
        restarted = Instant::now();
    }
    publish_again(&store).await;
    assert!(restarted.elapsed() < Duration::from_secs(10), "{:?}", restarted.elapsed());
    for writer in writers {
        let (conversation, acked, _) = writer.await.unwrap();
        let log = bodies(&store, conversation).await;
        for (offset, body) in acked {
            let kept = log.get(offset as usize - 1);
            assert_eq!(kept, Some(&body), "offset {offset} of {conversation}");
        }
        assert_eq!(log.len(), 150 + usize::from(conversation == 1), "nothing twice");
    }
}

async fn publish_again(store: &PostgresStore) {
    until_stored(store, message(1, 1, 999_999)).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let (server, _store) = world().await;
    people(&server, 1, 1);
    let options = Options { statement_timeout: Duration::from_millis(300), ..Options::default() };
    let store = PostgresStore::open(&server.url("postgres"), options).await.unwrap();
    offset(&publish(&store, message(1, 1, 1)).await);
    server.pause();
    let fault = tokio::time::timeout(Duration::from_secs(60), store.append(vec![message(1, 1, 2)])).await;
    assert_eq!(fault.unwrap(), Err(StoreFault::Unavailable));
    server.resume();
    let outcome = until_stored(&store, message(1, 1, 2)).await;
    assert!(matches!(
        outcome,
        Appended::Stored { offset: Offset(2), .. } | Appended::Duplicate { offset: Offset(2), .. }
    ));
}

#[tokio::test]
async fn a_server_that_is_full_or_read_only_refuses_for_a_while() {
    let options = ServerOptions::default().set("max_connections", 8).set("superuser_reserved_connections", 2);
    let (server, _) = world_on(Postgres::start_with(options)).await;
    people(&server, 1, 1);
    server.sql("CREATE ROLE plain LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO plain");
    let url = server.url("postgres").replace("test@", "plain@");
    let store = PostgresStore::open(&url, Options::default()).await.unwrap();
    offset(&publish(&store, message(1, 1, 1)).await);
    server.sql("ALTER ROLE plain SET default_transaction_read_only = on");
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'plain'");
    assert_eq!(store.append(vec![message(1, 1, 2)]).await, Err(StoreFault::Unavailable));
    server.sql("ALTER ROLE plain RESET ALL");
    let mut others = Vec::new();
    // Those that are on their way out make room once more.
    for _ in 0..5 {
        while let Ok(connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            others.push((connection.0, tokio::spawn(connection.1)));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(store.append(vec![message(1, 1, 2)]).await, Err(StoreFault::Unavailable), "none is left");
    drop(others);
    assert_eq!(offset(&until_stored(&store, message(1, 1, 2)).await), 2);
}

/// What an asynchronous standby did not get is gone, and said to be gone.
#[tokio::test]
async fn a_standby_that_takes_over_begins_a_generation() {
    let (mut server, store) = world().await;
    people(&server, 1, 1);
    offset(&publish(&store, message(1, 1, 1)).await);
    let standby = server.standby(Sync::Asynchronous, None);
    standby.sql("SELECT pg_wal_replay_pause()");
    let Appended::Stored { generation: first, .. } = publish(&store, message(1, 1, 2)).await else {
        panic!("stored")
    };
    assert_eq!(first, Generation(1));
    server.kill();
    standby.sql("SELECT pg_wal_replay_resume()");
    standby.promote();
    let promoted = PostgresStore::open(&standby.url("postgres"), Options::default()).await.unwrap();
    let second = promoted.generation().await.unwrap();
    assert!(second > first);
    let after = Some(Position { generation: first, offset: Offset(3) });
    let standing = StoreRequest::Standing { user: user(1), conversation: conversation(1), after };
    let StoreReply::Standing(Some(standing)) = promoted.ask(standing).await else { panic!("a standing") };
    assert_eq!((standing.generation, standing.rewound), (second, Some(standing.head)));
    let Appended::Stored { generation, .. } = publish(&promoted, message(1, 1, 3)).await else {
        panic!("stored")
    };
    assert_eq!(generation, second, "no offset means two messages: its generation is another one");
    let again = PostgresStore::open(&standby.url("postgres"), Options::default()).await.unwrap();
    assert_eq!(again.generation().await.unwrap(), second, "once");
}
