//! What the relay counts. Each shard owns its numbers and adds to them without a lock; the internal
//! listener's thread asks for snapshots, merges them and renders text. No label names a person or an address.

mod hdr;
mod process;
mod prometheus;
mod scalars;
mod sizes;
mod steps;
mod turns;

pub use hdr::{DecodeError, decode, hdr_lines};
pub use process::ProcessStats;
pub use prometheus::{certificate, prometheus};
pub use scalars::{Counters, Gauges};
pub use sizes::{BATCH_BOUNDS, Sizes};
pub use steps::{STEP_US_MAX, StepTimes};
pub use turns::Turns;

use schema_wire::{Disconnect, Refused, ShardId, Step};
use std::collections::BTreeMap;

use crate::access::AccessError;

/// Most reasons that one table by reason holds; they come from constants in the code.
const REASONS_MAX: usize = 64;

/// Everything one shard counts since it started. Counters only grow, gauges say how it is now.
#[derive(Clone, Debug)]
pub struct ShardMetrics {
    /// Numbers that only grow.
    pub counters: Counters,
    /// Numbers that go up and down.
    pub gauges: Gauges,
    /// How long each step of a message's life took.
    pub steps: StepTimes,
    /// Appends per store transaction.
    pub batch: Sizes,
    /// How long the shard's turns took.
    pub turns: Turns,
    refusals: [u64; Refused::ALL.len()],
    disconnects: [u64; Disconnect::ALL.len()],
    access_refusals: BTreeMap<&'static str, u64>,
    handshake_failures: BTreeMap<&'static str, u64>,
}

impl Default for ShardMetrics {
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            gauges: Gauges::default(),
            steps: StepTimes::default(),
            batch: Sizes::default(),
            turns: Turns::default(),
            refusals: [0; Refused::ALL.len()],
            disconnects: [0; Disconnect::ALL.len()],
            access_refusals: BTreeMap::new(),
            handshake_failures: BTreeMap::new(),
        }
    }
}

impl ShardMetrics {
    /// Counts a refusal told to a client.
    pub fn refused(&mut self, refusal: Refused) {
        let at = Refused::ALL.iter().position(|known| *known == refusal);
        self.refusals[at.expect("ALL holds every refusal")] += 1;
    }

    /// Counts a session that this side closed.
    pub fn disconnected(&mut self, disconnect: Disconnect) {
        let at = Disconnect::ALL.iter().position(|known| *known == disconnect);
        self.disconnects[at.expect("ALL holds every disconnect")] += 1;
    }

    /// Counts a refused access token.
    pub fn access_refused(&mut self, error: AccessError) {
        add(&mut self.access_refusals, error.name(), 1);
    }

    /// Counts a connection that ended before it was one; `reason` is a constant such as `tls`, `upgrade`,
    /// `proxy` or `deadline`.
    pub fn handshake_failed(&mut self, reason: &'static str) {
        add(&mut self.handshake_failures, reason, 1);
    }

    /// Counts how long one message took in one step.
    pub fn step(&mut self, step: Step, elapsed_us: u64) {
        self.steps.record(step, elapsed_us);
    }

    /// A copy to send to the internal listener's thread.
    pub fn snapshot(&self, shard: ShardId) -> Snapshot {
        Snapshot { shard, metrics: Box::new(self.clone()) }
    }

    /// Adds another shard's numbers to these. Turns stay each shard's own: one that lags is not seen in a sum.
    pub fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.gauges.merge(&other.gauges);
        self.steps.merge(&other.steps);
        self.batch.merge(&other.batch);
        for (total, more) in self.refusals.iter_mut().zip(other.refusals) {
            *total += more;
        }
        for (total, more) in self.disconnects.iter_mut().zip(other.disconnects) {
            *total += more;
        }
        for (reason, more) in &other.access_refusals {
            add(&mut self.access_refusals, reason, *more);
        }
        for (reason, more) in &other.handshake_failures {
            add(&mut self.handshake_failures, reason, *more);
        }
    }

    fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refused::ALL.iter().map(|refusal| refusal.name()).zip(self.refusals)
    }

    fn disconnects(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Disconnect::ALL.iter().map(|disconnect| disconnect.name()).zip(self.disconnects)
    }
}

fn add(table: &mut BTreeMap<&'static str, u64>, reason: &'static str, more: u64) {
    *table.entry(reason).or_default() += more;
    assert!(table.len() <= REASONS_MAX, "reasons are constants, not input");
}

/// One shard's numbers at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Whose they are.
    pub shard: ShardId,
    /// The numbers.
    pub metrics: Box<ShardMetrics>,
}
