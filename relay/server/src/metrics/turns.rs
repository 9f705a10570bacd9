//! How long a shard's turns take: what arrives just after a turn looked for news waits at most that long until the next
//! one looks. One HDR histogram per shard, recorded once per turn by the shard itself.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::steps::{DIGITS, STEP_US_MAX, cumulative};

/// Durations of turns, in microseconds. Allocated once.
#[derive(Clone, Debug)]
pub struct Turns {
    histogram: Histogram<u64>,
    sum_us: u64,
}

impl Default for Turns {
    fn default() -> Self {
        let new = Histogram::new_with_bounds(1, STEP_US_MAX, DIGITS);
        Self { histogram: new.expect("constant bounds are valid"), sum_us: 0 }
    }
}

impl Turns {
    /// Counts one turn.
    pub fn record(&mut self, took: Duration) {
        let took_us = (took.as_micros() as u64).min(STEP_US_MAX);
        self.histogram.saturating_record(took_us.max(1));
        self.sum_us += took_us;
    }

    /// The durations.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// The sum of all durations, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// How many turns took at most each of the rising bounds, in microseconds.
    pub(super) fn cumulative<const N: usize>(&self, bounds_us: [u64; N]) -> [u64; N] {
        cumulative(&self.histogram, bounds_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_up_to_the_longest_told_apart() {
        let mut turns = Turns::default();
        for us in [0, 40, 900, u64::MAX] {
            turns.record(Duration::from_micros(us));
        }
        assert_eq!(turns.cumulative([1, 50, 1_000, STEP_US_MAX]), [1, 2, 3, 4]);
        assert_eq!(turns.sum_us(), 940 + STEP_US_MAX);
        assert_eq!(turns.histogram().len(), 4);
    }
}
