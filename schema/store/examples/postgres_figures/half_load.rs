//! How long an append waits for its ack at half of what the store takes, beside one commit of as many rows. Messages
//! come one after the other at an even rate, whatever became of those before; as in the relay, what comes while all
//! lanes are busy travels in the next batch.

use std::time::{Duration, Instant};

use schema_store::{PostgresStore, Store};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{CONVERSATIONS, SLICE, message};

/// The middle of some times, and what 99 of 100 do not exceed.
pub fn spread(mut times: Vec<Duration>) -> [Duration; 2] {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    [at(50), at(99)].map(|time| time.copied().unwrap_or_default())
}

/// From when a message came until it was acked, with `lanes` batches of `size` at most under way and `rate` messages a
/// second in all.
pub async fn waits(store: &PostgresStore, lanes: usize, size: u64, rate: f64) -> Vec<Duration> {
    let (began, mut waits) = (Instant::now(), Vec::new());
    let came = move |n: u64| Duration::from_secs_f64(n as f64 / rate);
    let (mut arrivals, mut batches) = (arrivals(began, rate), JoinSet::new());
    let (mut sent, mut arrived, mut open) = (0, 0, true);
    while open || sent < arrived || !batches.is_empty() {
        while batches.len() < lanes && sent < arrived {
            let last = arrived.min(sent + size);
            // More conversations than messages under way: none is in two batches.
            let batch = (sent..last).map(|n| message(n % CONVERSATIONS)).collect();
            let (store, first) = (store.clone(), std::mem::replace(&mut sent, last));
            batches.spawn(async move {
                let stored = store.append(batch).await.is_ok();
                let acked = began.elapsed();
                (first..last).filter(|_| stored).map(|n| acked - came(n)).collect::<Vec<_>>()
            });
        }
        tokio::select! {
            Some(done) = batches.join_next(), if !batches.is_empty() => waits.extend(done.unwrap_or_default()),
            more = arrivals.recv(), if open => match more {
                Some(last) => arrived = last,
                None => open = false,
            },
        }
    }
    waits
}

/// How many have come by now, told each time that more have, from a thread that sleeps less coarsely than a runtime.
fn arrivals(began: Instant, rate: f64) -> mpsc::UnboundedReceiver<u64> {
    let (told, arrivals) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while began.elapsed() < SLICE {
            let arrived = (began.elapsed().as_secs_f64() * rate) as u64 + 1;
            let next = Duration::from_secs_f64(arrived as f64 / rate);
            if told.send(arrived).is_err() {
                return;
            }
            std::thread::sleep(next.saturating_sub(began.elapsed()));
        }
    });
    arrivals
}
