//! Numbers of relay nodes on a real PostgreSQL server: no two processes have one, and a dead one's goes to the next.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schema_store::postgres::{Options, migrate};
use schema_store::rows::node::{NODE_LEASE_MS, NodeLease, NodeState};
use schema_store::{Nodes, PostgresStore};
use schema_wire::NodeId;
use servers::Postgres;

async fn claim(store: &PostgresStore, wanted: Option<u16>) -> Option<NodeLease> {
    store.claim_node("here".into(), "1".into(), wanted.map(NodeId)).await.unwrap()
}

async fn beat(store: &PostgresStore, lease: NodeLease, state: NodeState) -> bool {
    store.beat(lease, "127.0.0.1:9".into(), state).await.unwrap()
}

#[tokio::test]
async fn no_two_living_nodes_have_one_number() {
    let server = Postgres::start();
    migrate(&mut server.connect().await).await.unwrap();
    let now = Arc::new(AtomicU64::new(1_800_000_000_000));
    let clock = now.clone();
    let options =
        Options { clock: Some(Arc::new(move || clock.load(Ordering::SeqCst))), ..Options::default() };
    let store = PostgresStore::open(&server.url("postgres"), options).await.unwrap();
    let forward = |ms: u64| now.fetch_add(ms, Ordering::SeqCst);
    let one = claim(&store, None).await.unwrap();
    let two = claim(&store, None).await.unwrap();
    assert_eq!((one.node, two.node), (NodeId(1), NodeId(2)));
    assert_eq!(claim(&store, Some(1)).await, None);
    forward(NODE_LEASE_MS);
    assert!(beat(&store, one, NodeState::Ready).await);
    forward(1);
    assert_eq!(claim(&store, Some(1)).await, None, "it was heard of");
    let heir = claim(&store, Some(2)).await.unwrap();
    assert!(!beat(&store, two, NodeState::Ready).await, "it was away for longer than its lease");
    assert!(beat(&store, heir, NodeState::Gone).await);
    forward(1);
    assert_eq!(claim(&store, None).await.unwrap().node, NodeId(2), "what ended in order is free at once");
    let rows = store.nodes().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.node.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((rows[0].address.as_str(), rows[0].state), ("127.0.0.1:9", NodeState::Ready));
}

#[tokio::test]
async fn of_many_who_ask_at_once_each_gets_its_own() {
    let server = Postgres::start();
    migrate(&mut server.connect().await).await.unwrap();
    let store = PostgresStore::open(&server.url("postgres"), Options::default()).await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            loop {
                if let Some(lease) = claim(&store, None).await {
                    return lease.node.0;
                }
            }
        }));
    }
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_the_databases_clock_counts_and_a_jump_of_it_costs_a_number_for_a_lease_at_most() {
    let server = Postgres::start();
    migrate(&mut server.connect().await).await.unwrap();
    let now = Arc::new(AtomicU64::new(1_800_000_000_000));
    let clock = now.clone();
    let options =
        Options { clock: Some(Arc::new(move || clock.load(Ordering::SeqCst))), ..Options::default() };
    let store = PostgresStore::open(&server.url("postgres"), options).await.unwrap();
    let (living, dead) = (claim(&store, None).await.unwrap(), claim(&store, None).await.unwrap());
    let ended = claim(&store, None).await.unwrap();
    assert!(beat(&store, ended, NodeState::Gone).await);
    // Back by an hour.
    now.fetch_sub(3_600_000, Ordering::SeqCst);
    assert!(beat(&store, living, NodeState::Ready).await, "who lives keeps its number");
    let again = claim(&store, Some(3)).await.unwrap();
    assert!(
        again.since > ended.since && !beat(&store, ended, NodeState::Ready).await,
        "older leases stay lost"
    );
    assert_eq!(claim(&store, Some(2)).await, None, "nobody knows yet that it is dead");
    now.fetch_add(NODE_LEASE_MS, Ordering::SeqCst);
    assert!(beat(&store, living, NodeState::Ready).await);
    now.fetch_add(1, Ordering::SeqCst);
    assert!(
        claim(&store, Some(2)).await.unwrap().since > dead.since,
        "free after one lease, not after the hour"
    );
    assert_eq!(claim(&store, Some(1)).await, None);
    // Ahead by an hour: until its next beat nobody can tell who lives from who is dead.
    now.fetch_add(3_600_000, Ordering::SeqCst);
    assert!(beat(&store, living, NodeState::Ready).await);
    assert_eq!(claim(&store, Some(1)).await, None);
    now.fetch_add(3_600_000, Ordering::SeqCst);
    let heir = claim(&store, Some(1)).await.unwrap();
    assert!(
        !beat(&store, living, NodeState::Ready).await && beat(&store, heir, NodeState::Ready).await,
        "it is told"
    );
}
