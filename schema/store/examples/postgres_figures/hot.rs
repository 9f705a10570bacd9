//! What a conversation that all nodes write to costs their other conversations: the same nodes take turns, a slice with
//! one conversation for all of them, a slice with one each, so that what else the machine does meets both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use schema_store::postgres::Options;
use schema_store::{PostgresStore, Store};

use crate::{CONVERSATIONS, NODES, Outcome, SLICE, message};

/// Messages of 64 that go to the conversation all share.
const HOT: u64 = 8;
/// Slices of each kind.
const TURNS: usize = 8;
/// What was under way when a slice began is not counted.
const SETTLES: Duration = Duration::from_millis(500);

/// What all nodes look at.
#[derive(Default)]
struct Stage {
    shared: AtomicBool,
    ends: AtomicBool,
    /// Acked on the others, and on what is, or might be, hot.
    acked: [AtomicU64; 2],
}

/// Prints the rates, and the ratio of their medians.
pub async fn compare(url: &str) -> Outcome<()> {
    let stage = Arc::<Stage>::default();
    let mut running = Vec::new();
    for node in 1..=NODES {
        let store = PostgresStore::open(url, Options { pool_size: 4, ..Options::default() }).await?;
        running.push(tokio::spawn(write(store, node, stage.clone())));
    }
    let mut rates = [Vec::new(), Vec::new()];
    for turn in 0..2 * TURNS {
        let shared = turn % 2 == 1;
        stage.shared.store(shared, Ordering::Relaxed);
        tokio::time::sleep(SETTLES).await;
        let (before, began) = (stage.count(), Instant::now());
        tokio::time::sleep(SLICE).await;
        let (after, took) = (stage.count(), began.elapsed().as_secs_f64());
        rates[usize::from(shared)].push([0, 1].map(|n: usize| (after[n] - before[n]) as f64 / took));
    }
    stage.ends.store(true, Ordering::Relaxed);
    for node in running {
        node.await?;
    }
    let [apart, shared] = rates.map(|rates| [0, 1].map(|n: usize| middle(&rates, n)));
    println!(
        "{NODES} nodes: apart {:.0}/s on the others and {:.0}/s on 8 of their own, shared {:.0}/s and {:.0}/s on the one; others {:.2}",
        apart[0],
        apart[1],
        shared[0],
        shared[1],
        shared[0] / apart[0],
    );
    Ok(())
}

fn middle(rates: &[[f64; 2]], which: usize) -> f64 {
    let mut rates: Vec<_> = rates.iter().map(|rates| rates[which]).collect();
    rates.sort_by(f64::total_cmp);
    (rates[(rates.len() - 1) / 2] + rates[rates.len() / 2]) / 2.0
}

impl Stage {
    fn count(&self) -> [u64; 2] {
        [0, 1].map(|n: usize| self.acked[n].load(Ordering::Relaxed))
    }

    fn add(&self, others: u64, hot: u64) {
        self.acked[0].fetch_add(others, Ordering::Relaxed);
        self.acked[1].fetch_add(hot, Ordering::Relaxed);
    }
}

/// As the relay does it: one batch at a time of what nobody else holds, the rest in a lane of its own.
async fn write(store: PostgresStore, node: u64, stage: Arc<Stage>) {
    let mut own: Option<tokio::task::JoinHandle<()>> = None;
    while !stage.ends.load(Ordering::Relaxed) {
        let common = CONVERSATIONS * (NODES + 1);
        let hot = if stage.shared.load(Ordering::Relaxed) { common } else { common + node };
        let idle = own.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
        let first = if idle { 0 } else { HOT };
        let place = |n| if n < HOT { hot } else { node * CONVERSATIONS + n };
        let batch = (first..64).map(|n| message(place(n))).collect();
        let Ok(done) = store.try_append(batch).await else { continue };
        let held: Vec<_> = done.into_iter().filter_map(Result::err).collect();
        if held.is_empty() {
            stage.add(64 - HOT, HOT - first);
            continue;
        }
        stage.add(64 - HOT, 0);
        let (store, stage) = (store.clone(), stage.clone());
        own = Some(tokio::spawn(async move {
            let stored = store.append(held).await.map_or(0, |done| done.len() as u64);
            stage.add(0, stored);
        }));
    }
    if let Some(own) = own {
        let _ = own.await;
    }
}
