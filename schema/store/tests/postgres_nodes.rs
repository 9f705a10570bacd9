//! Numbers of relay nodes on a real PostgreSQL server: no two processes have one, and a dead one's goes to the next.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schema_store::postgres::{Options, migrate};
use schema_store::rows::node::{NODE_LEASE_MS, NodeLease, NodeState};
use schema_store::{Nodes, PostgresStore};
use schema_wire::NodeId;
use servers::Postgres;

/// A server of one's own, and a store on it by a clock that the test moves.
async fn on_a_clock() -> (Postgres, PostgresStore, Arc<AtomicU64>) {
    let server = Postgres::start();
    migrate(&mut server.connect().await).await.unwrap();
    let now = Arc::new(AtomicU64::new(1_800_000_000_000));
    let clock = now.clone();
    let options =
        Options { clock: Some(Arc::new(move || clock.load(Ordering::SeqCst))), ..Options::default() };
    let store = PostgresStore::open(&server.url("postgres"), options).await.unwrap();
    (server, store, now)
}

async fn claim(store: &PostgresStore, wanted: Option<u16>) -> Option<NodeLease> {
    store.claim_node("here".into(), "1".into(), wanted.map(NodeId), None).await.unwrap()
}

async fn claim_again(store: &PostgresStore, wanted: Option<u16>, previous: NodeLease) -> Option<NodeLease> {
    store.claim_node("here".into(), "1".into(), wanted.map(NodeId), Some(previous)).await.unwrap()
}

async fn beat(store: &PostgresStore, lease: NodeLease, state: NodeState) -> bool {
    store.beat(lease, "127.0.0.1:9".into(), state).await.unwrap()
}

#[tokio::test]
async fn no_two_living_nodes_have_one_number() {
    let (_server, store, now) = on_a_clock().await;
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
async fn a_process_that_follows_one_that_died_has_its_number_at_once_unless_somebody_was_faster() {
    let (_server, store, now) = on_a_clock().await;
    let (one, two) = (claim(&store, None).await.unwrap(), claim(&store, None).await.unwrap());
    let next = claim_again(&store, None, two).await.unwrap();
    assert_eq!(next.node, two.node, "not the lowest free one, and without waiting for the lease to end");
    assert!(next.since > two.since && !beat(&store, two, NodeState::Ready).await);
    let elsewhere = store.claim_node("there".into(), "1".into(), Some(NodeId(2)), Some(next)).await.unwrap();
    assert_eq!(elsewhere, None, "a copied data folder takes nothing away");
    assert_eq!(claim_again(&store, Some(2), next).await.unwrap().node, next.node, "nor when it is asked for");
    assert_eq!(claim_again(&store, Some(1), next).await, None, "another's number stays another's");
    assert_eq!(claim_again(&store, None, two).await.unwrap().node, NodeId(3), "somebody had it since");
    assert!(beat(&store, one, NodeState::Gone).await);
    now.fetch_add(1, Ordering::SeqCst);
    assert_eq!(claim_again(&store, None, one).await.unwrap().node, one.node, "also after an end in order");
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
    let (_server, store, now) = on_a_clock().await;
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
