//! How many durable publishes of a user this shard accepted lately, and how many it may.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use schema_wire::SessionId;
use schema_wire::record::Append;

/// Stretches a window is divided into when the limit is too large to remember each publish.
const STRETCHES: u64 = 256;
/// Limits up to this are counted one by one.
const EXACT: u32 = 1_024;

/// A sliding window over one user's accepted publishes.
#[derive(Default)]
pub(crate) struct Allowance {
    /// Time and number of publishes, oldest first.
    accepted: VecDeque<(u64, u32)>,
    spent: u32,
    /// How many of the user's limit this shard may accept per window; `None` while the presence home deals.
    pub(crate) share: Option<u32>,
    /// Publishes that wait for the deal.
    pub(crate) parked: Vec<(SessionId, u64, Append)>,
    /// When another deal was last asked for.
    pub(crate) asked_us: Option<u64>,
}

impl Allowance {
    /// Publishes within the last window.
    pub(crate) fn spent(&mut self, now_us: u64, window_us: u64) -> u32 {
        while let Some((at, count)) = self.accepted.front().copied() {
            if now_us < at.saturating_add(window_us) {
                break;
            }
            self.spent -= count;
            self.accepted.pop_front();
        }
        self.spent
    }

    /// Accepts one more of at most `limit` per window, or says after how many microseconds one may be.
    pub(crate) fn accept(&mut self, now_us: u64, window_us: u64, limit: u32) -> Result<(), u64> {
        if self.spent(now_us, window_us) >= limit {
            let oldest = self.accepted.front().map_or(now_us, |(at, _)| *at);
            return Err(oldest.saturating_add(window_us).saturating_sub(now_us).max(1));
        }
        let grain = if limit <= EXACT { 0 } else { window_us / STRETCHES };
        self.spent += 1;
        match self.accepted.back_mut() {
            // A stretch counts as if all of it came at its end: never too many, at most a stretch too long.
            Some((at, count)) if grain > 0 && now_us < *at => {
                *count += 1;
            }
            _ => self.accepted.push_back((now_us + grain, 1)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_limit_in_any_window() {
        let mut a = Allowance::default();
        for t in 0..3 {
            assert_eq!(a.accept(t * 10, 100, 3), Ok(()));
        }
        assert_eq!(a.accept(50, 100, 3), Err(50));
        assert_eq!(a.accept(99, 100, 3), Err(1));
        assert_eq!(a.accept(100, 100, 3), Ok(()));
        assert_eq!(a.accept(100, 100, 3), Err(10));
    }

    #[test]
    fn large_limits_are_counted_in_stretches() {
        let mut a = Allowance::default();
        for t in 0..2_000u64 {
            assert_eq!(a.accept(t, 256_000, 2_000), Ok(()));
        }
        assert!(a.accept(2_000, 256_000, 2_000).is_err());
        assert!(a.accepted.len() < 10, "{}", a.accepted.len());
        assert_eq!(a.spent(300_000, 256_000), 0);
    }
}
