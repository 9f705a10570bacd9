//! A histogram of small sizes with bounds that double.

/// Upper bounds of the buckets; larger sizes count in the last, open one.
pub const BATCH_BOUNDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// How often sizes up to each bound occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    counts: [u64; BATCH_BOUNDS.len() + 1],
    sum: u64,
}

impl Sizes {
    /// Counts one occurrence of a size.
    pub fn record(&mut self, size: u64) {
        self.counts[BATCH_BOUNDS.partition_point(|bound| *bound < size)] += 1;
        self.sum += size;
    }

    /// The sum of all sizes.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many sizes were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bound with the number of sizes up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts;
        BATCH_BOUNDS.into_iter().enumerate().map(move |(at, bound)| (bound, counts[..=at].iter().sum()))
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (total, more) in self.counts.iter_mut().zip(other.counts) {
            *total += more;
        }
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_the_bucket_of_their_bound() {
        let mut sizes = Sizes::default();
        for size in [0, 1, 2, 3, 1_024, 1_025] {
            sizes.record(size);
        }
        let buckets: Vec<_> = sizes.cumulative().collect();
        assert_eq!(buckets[..3], [(1, 2), (2, 3), (4, 4)]);
        assert_eq!(buckets.last(), Some(&(1_024, 5)));
        assert_eq!((sizes.count(), sizes.sum()), (6, 2_055));
    }
}
