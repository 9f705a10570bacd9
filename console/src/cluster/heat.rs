//! How many durations fell into which of a few wide buckets, moment by moment: what the heatmap of latencies is drawn
//! from. An hour of it is remembered.

use std::collections::VecDeque;

use schema_wire::Step;

use super::figures::Figures;
use super::times::Times;
use super::watch::Span;

/// Upper bounds of the buckets in microseconds; the last bucket has none.
pub const BOUNDS_US: [u64; 19] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000,
];
/// Buckets.
pub const ROWS: usize = BOUNDS_US.len() + 1;
/// How long columns are remembered, in milliseconds.
pub const REMEMBERED_MS: u64 = 3_600_000;

/// Durations by bucket, shortest first.
pub type Counts = [u64; ROWS];

/// A moment of one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// Unix ms.
    pub began_at: u64,
    pub length_ms: u64,
    pub counts: Counts,
}

impl Column {
    /// Where it ends, unix ms.
    pub fn ended_at(&self) -> u64 {
        self.began_at + self.length_ms
    }
}

/// A moment of all steps.
#[derive(Clone, Copy)]
struct Moment {
    began_at: u64,
    length_ms: u64,
    steps: [Counts; Step::ALL.len()],
}

/// The last hour.
#[derive(Default)]
pub struct Heat(VecDeque<Moment>);

impl Heat {
    /// Takes the newest stretch.
    pub fn learn(&mut self, span: &Span) {
        let steps = Step::ALL.map(|step| counts(&span.figures, step));
        self.0.push_back(Moment { began_at: span.began_at, length_ms: span.length_ms, steps });
        let until = span.ended_at().saturating_sub(REMEMBERED_MS);
        while self.0.front().is_some_and(|moment| moment.began_at < until) {
            self.0.pop_front();
        }
    }

    /// What of a step is remembered from `since` on, oldest first.
    pub fn columns(&self, step: Step, since: u64) -> Vec<Column> {
        let first = self.0.partition_point(|moment| moment.began_at < since);
        let column = |moment: &Moment| Column {
            began_at: moment.began_at,
            length_ms: moment.length_ms,
            counts: moment.steps[step as usize],
        };
        self.0.range(first..).map(column).collect()
    }
}

/// The durations of a step by bucket.
pub fn counts(figures: &Figures, step: Step) -> Counts {
    figures.steps.get(step.name()).map(spread).unwrap_or_default()
}

fn spread(times: &Times) -> Counts {
    let mut counts = [0; ROWS];
    for (top, count) in times.buckets() {
        // A bucket of the histogram that reaches over a bound belongs to what is longer.
        counts[BOUNDS_US.partition_point(|bound| *bound < top)] += count;
    }
    counts
}

/// The same columns in wider ones of `length_ms`, each beginning at a multiple of it.
pub fn widened(columns: &[Column], length_ms: u64) -> Vec<Column> {
    let mut wide: Vec<Column> = Vec::new();
    for column in columns {
        let began_at = column.began_at - column.began_at % length_ms;
        match wide.last_mut() {
            Some(last) if last.began_at == began_at => {
                last.counts.iter_mut().zip(column.counts).for_each(|(sum, more)| *sum += more);
            }
            _ => wide.push(Column { began_at, length_ms: length_ms.max(column.length_ms), ..*column }),
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::{hdr, histogram};
    use super::*;

    fn span(began_at: u64, append_us: &[u64]) -> Span {
        let line = format!(
            "{{\"shard\":0,\"step\":\"append\",\"hdr\":\"{}\"}}\n",
            hdr(&histogram(append_us.iter().copied()))
        );
        Span { began_at, length_ms: 5_000, figures: Figures::read("", &line, 1).unwrap() }
    }

    #[test]
    fn an_hour_is_remembered_by_bucket() {
        let mut heat = Heat::default();
        for n in 0..1_000u64 {
            heat.learn(&span(n * 5_000, &[3, 10, 11, 60_000_000]));
        }
        let columns = heat.columns(Step::Append, 0);
        assert_eq!(columns.len() as u64, REMEMBERED_MS / 5_000);
        let counts = columns[0].counts;
        assert_eq!((counts[0], counts[1], counts[ROWS - 1], counts.iter().sum::<u64>()), (2, 1, 1, 4));
        assert_eq!(heat.columns(Step::Ack, 0)[0].counts, [0; ROWS]);
        assert_eq!(heat.columns(Step::Append, 999 * 5_000).len(), 1);
        assert!(heat.columns(Step::Append, 1_000 * 5_000).is_empty());
    }

    #[test]
    fn wider_columns_hold_the_same() {
        let mut heat = Heat::default();
        (0..30).for_each(|n| heat.learn(&span(30_000 + n * 5_000, &[15])));
        let wide = widened(&heat.columns(Step::Append, 0), 60_000);
        let shape: Vec<_> = wide.iter().map(|one| (one.began_at, one.length_ms, one.counts[1])).collect();
        assert_eq!(shape, [(0, 60_000, 6), (60_000, 60_000, 12), (120_000, 60_000, 12)]);
    }
}
