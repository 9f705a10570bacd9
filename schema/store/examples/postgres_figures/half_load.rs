//! How long an append waits for its ack at half of what the store takes, beside one commit of as many rows. Messages
//! come one after the other at an even rate, whatever became of those before.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use schema_store::{PostgresStore, Store};

use crate::{CONVERSATIONS, LASTS, message};

/// The middle of some times, and what 99 of 100 do not exceed.
pub fn spread(mut times: Vec<Duration>) -> [Duration; 2] {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    [at(50), at(99)].map(|time| time.copied().unwrap_or_default())
}

/// From when a message came until it was acked, with `lanes` batches of `size` at most under way and `rate` messages a
/// second in all.
pub async fn waits(store: &PostgresStore, lanes: u64, size: u64, rate: f64) -> Vec<Duration> {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let lane =
        |lane: u64| tokio::spawn(one(store.clone(), (lane, lanes), size, rate / lanes as f64, waits.clone()));
    for lane in (0..lanes).map(lane).collect::<Vec<_>>() {
        let _ = lane.await;
    }
    Arc::try_unwrap(waits).map_or_else(|_| Vec::new(), |waits| waits.into_inner().unwrap_or_default())
}

/// One lane, with conversations of its own: what came while a batch was under way travels in the next one.
async fn one(
    store: PostgresStore,
    (lane, lanes): (u64, u64),
    size: u64,
    rate: f64,
    waits: Arc<Mutex<Vec<Duration>>>,
) {
    let (each, began) = (CONVERSATIONS / lanes, Instant::now());
    let came = |n: u64| Duration::from_secs_f64((n as f64 + lane as f64 / lanes as f64) / rate);
    let mut sent = 0;
    while began.elapsed() < LASTS {
        let now = began.elapsed();
        let due = (sent..sent + size).take_while(|n| came(*n) <= now).count() as u64;
        if due == 0 {
            tokio::time::sleep(came(sent).saturating_sub(now)).await;
            continue;
        }
        let batch = (sent..sent + due).map(|n| message(lane * each + n % each)).collect();
        let stored = store.append(batch).await.is_ok();
        let acked = began.elapsed();
        if stored && let Ok(mut waits) = waits.lock() {
            waits.extend((sent..sent + due).map(|n| acked - came(n)));
        }
        sent += due;
    }
}
