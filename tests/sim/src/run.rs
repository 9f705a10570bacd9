//! Runs worlds: many seeds on a few threads, one seed in detail, and the search for planted faults.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use relay_proto::planted::Fault;

use crate::model::Violation;
use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::{Outcome, World};

/// A planted fault must be found within this many seeds.
pub const PLANTED_SEEDS: u64 = 1_000;
/// Threads that run seeds.
const THREADS: usize = 2;

/// Seeds that once failed, run first.
pub fn kept_seeds() -> Vec<u64> {
    seeds_in(include_str!("../seeds.txt"))
}

/// Seeds of a list, one a line, before what is said about them.
pub fn seeds_in(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok()).collect()
}

/// Runs one seed. A panic of the logic is a violation like any other.
pub fn run_seed(seed: u64, planted: Option<Fault>, trace: Trace) -> (Outcome, Trace) {
    let run = catch_unwind(AssertUnwindSafe(|| World::new(Plan::new(seed), planted, trace).run()));
    run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()));
        let violation =
            Violation { at_us: 0, check: "assertion", text: text.unwrap_or_else(|| "panic".into()) };
        (Outcome { seed, events: 0, hash: 0, violation: Some(violation) }, Trace::default())
    })
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub seeds: u64,
    pub events: u64,
    pub failed: Vec<Outcome>,
}

/// Runs seeds on all threads.
pub fn run_seeds(seeds: &[u64]) -> Tally {
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (outcome, _) = run_seed(*seed, None, Trace::default());
                    let mut tally = tally.lock().expect("no thread panics while it counts");
                    tally.seeds += 1;
                    tally.events += outcome.events;
                    if outcome.violation.is_some() {
                        tally.failed.push(outcome);
                    }
                }
            });
        }
    });
    let mut tally = tally.into_inner().expect("no thread panics while it counts");
    tally.failed.sort_by_key(|outcome| outcome.seed);
    tally
}

/// A planted fault and the outcome that gave it away.
pub struct Found {
    pub fault: Fault,
    pub by: Option<Outcome>,
}

/// Looks for each planted fault. A seed that also fails without the fault does not count.
pub fn search_planted(faults: &[Fault]) -> (Vec<Found>, u64) {
    let next = AtomicUsize::new(0);
    let events = AtomicU64::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let by = search_one(*fault, &events);
                    found.lock().expect("no thread panics while it notes").push(Found { fault: *fault, by });
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread panics while it notes");
    found.sort_by_key(|f| f.fault);
    (found, events.into_inner())
}

fn search_one(fault: Fault, events: &AtomicU64) -> Option<Outcome> {
    (0..PLANTED_SEEDS).find_map(|seed| {
        let (outcome, _) = run_seed(seed, Some(fault), Trace::default());
        events.fetch_add(outcome.events, Ordering::Relaxed);
        outcome.violation.as_ref()?;
        let (honest, _) = run_seed(seed, None, Trace::default());
        honest.violation.is_none().then_some(outcome)
    })
}
