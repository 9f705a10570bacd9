//! How long each step of a message's life takes: one HDR histogram per step, merged without loss.

use hdrhistogram::Histogram;
use schema_wire::Step;

/// Longest duration told apart, in microseconds; longer ones count as this.
pub const STEP_US_MAX: u64 = 60_000_000;

/// Significant decimal digits of a recorded duration.
pub(super) const DIGITS: u8 = 3;

/// Durations of all steps, in microseconds. About 1.1 MiB, allocated once.
#[derive(Clone, Debug)]
pub struct StepTimes {
    histograms: [Histogram<u64>; Step::ALL.len()],
    sums_us: [u64; Step::ALL.len()],
}

impl Default for StepTimes {
    fn default() -> Self {
        let new = || Histogram::new_with_bounds(1, STEP_US_MAX, DIGITS).expect("constant bounds are valid");
        Self { histograms: std::array::from_fn(|_| new()), sums_us: [0; Step::ALL.len()] }
    }
}

impl StepTimes {
    /// Counts one duration.
    pub fn record(&mut self, step: Step, elapsed_us: u64) {
        let elapsed_us = elapsed_us.min(STEP_US_MAX);
        self.histograms[step as usize].saturating_record(elapsed_us.max(1));
        self.sums_us[step as usize] += elapsed_us;
    }

    /// The durations of one step.
    pub fn histogram(&self, step: Step) -> &Histogram<u64> {
        &self.histograms[step as usize]
    }

    /// The sum of all durations of a step, in microseconds.
    pub fn sum_us(&self, step: Step) -> u64 {
        self.sums_us[step as usize]
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (total, more) in self.histograms.iter_mut().zip(&other.histograms) {
            total.add(more).expect("all histograms have the same bounds");
        }
        for (total, more) in self.sums_us.iter_mut().zip(other.sums_us) {
            *total += more;
        }
    }

    /// How many durations of a step were at most each of the rising bounds, in microseconds.
    pub(super) fn cumulative<const N: usize>(&self, step: Step, bounds_us: [u64; N]) -> [u64; N] {
        cumulative(self.histogram(step), bounds_us)
    }
}

/// How many values were at most each of the rising bounds.
pub(super) fn cumulative<const N: usize>(histogram: &Histogram<u64>, bounds_us: [u64; N]) -> [u64; N] {
    let mut counts = [0; N];
    for recorded in histogram.iter_recorded() {
        let lowest = histogram.lowest_equivalent(recorded.value_iterated_to());
        let first = bounds_us.partition_point(|bound| *bound < lowest);
        for count in &mut counts[first..] {
            *count += recorded.count_at_value();
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_up_to_and_with_their_bound() {
        let mut times = StepTimes::default();
        for elapsed in [0, 1, 10, 11, 2_500, 2_503, 59_000_000, u64::MAX] {
            times.record(Step::Append, elapsed);
        }
        let counts = times.cumulative(Step::Append, [1, 10, 2_500, 10_000, STEP_US_MAX]);
        assert_eq!(counts, [2, 3, 5, 6, 8]);
        assert_eq!(times.sum_us(Step::Append), 22 + 2_500 + 2_503 + 59_000_000 + STEP_US_MAX);
        assert_eq!(times.histogram(Step::Ack).len(), 0);
    }

    #[test]
    fn merging_loses_nothing() {
        let (mut left, mut right) = (StepTimes::default(), StepTimes::default());
        let mut both = StepTimes::default();
        for elapsed in 1..2_000 {
            let half = if elapsed % 3 == 0 { &mut left } else { &mut right };
            half.record(Step::Deliver, elapsed * 7);
            both.record(Step::Deliver, elapsed * 7);
        }
        left.merge(&right);
        assert_eq!(left.histogram(Step::Deliver), both.histogram(Step::Deliver));
        assert_eq!(left.sum_us(Step::Deliver), both.sum_us(Step::Deliver));
    }
}
