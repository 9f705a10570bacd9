//! Two nodes, and poolers, on one database.

use std::collections::BTreeSet;

use schema_store::postgres::{Options, Statements};
use schema_store::{PostgresStore, Store};
use servers::Bouncer;

use crate::seed::{bodies, message, offset, open, people, world};

const CONVERSATIONS: u32 = 6;
const ROUNDS: u64 = 30;

/// Batches that touch many conversations, each writer in an order of its own.
async fn write(store: PostgresStore, writer: u64) -> Vec<(u32, u64)> {
    let mut seen = Vec::new();
    for round in 0..ROUNDS {
        let to = |n: u32| (n * 5 + writer as u32 + round as u32) % CONVERSATIONS + 1;
        let key = |n: u32| writer * 1_000_000 + round * 1_000 + u64::from(n);
        let batch: Vec<_> = (0..20).map(|n| message(1 + (writer % 4) as u32, to(n), key(n))).collect();
        let done = store.append(batch).await.unwrap();
        seen.extend(done.iter().zip(0..).map(|(outcome, n)| (to(n), offset(outcome))));
    }
    seen
}

#[tokio::test]
async fn two_nodes_share_dense_logs() {
    let (server, one) = world().await;
    let two = open(&server.url("postgres")).await;
    people(&server, 4, CONVERSATIONS);
    let writers: Vec<_> =
        (0..8).map(|n| tokio::spawn(write(if n % 2 == 0 { one.clone() } else { two.clone() }, n))).collect();
    let (mut seen, mut count) = (BTreeSet::new(), 0);
    for writer in writers {
        let places = writer.await.unwrap();
        count += places.len();
        seen.extend(places);
    }
    assert_eq!((count, seen.len()), (8 * ROUNDS as usize * 20, count), "no place twice");
    let mut total = 0;
    for n in 1..=CONVERSATIONS {
        total += bodies(&two, n).await.len();
    }
    assert_eq!(total, count);
    assert!(!server.log().contains("deadlock detected"), "{}", server.log());
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_enough() {
    let (server, _direct) = world().await;
    people(&server, 4, CONVERSATIONS);
    let bouncer = Bouncer::with(&server, &["default_pool_size = 3"]);
    let options = Options { statements: Statements::Unnamed, ..Options::default() };
    let store = PostgresStore::open(&bouncer.url("postgres"), options).await.unwrap();
    let writers: Vec<_> = (0..6).map(|n| tokio::spawn(write(store.clone(), n))).collect();
    let mut count = 0;
    for writer in writers {
        count += writer.await.unwrap().len();
    }
    let mut total = 0;
    for n in 1..=CONVERSATIONS {
        total += bodies(&store, n).await.len();
    }
    assert_eq!(total, count);
    assert_eq!(store.check().await, Ok(()));
}
