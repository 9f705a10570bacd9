//! How many durable publishes of a user this shard accepted lately, and how many it may, of this node's limit and of that of
//! all nodes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use schema_wire::SessionId;
use schema_wire::record::Append;

use crate::event::Taken;

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
    /// What this shard has of the limit of all nodes.
    pub(crate) taken: Purse,
    /// Publishes that wait for the deal, or for what is taken.
    pub(crate) parked: Vec<(SessionId, u64, Append)>,
    /// When another deal was last asked for.
    pub(crate) asked_us: Option<u64>,
}

/// After nobody could say what is left on all nodes, the node's own limit is all there is for this long, in microseconds.
const ALONE_US: u64 = 1_000_000;

/// Publishes taken from the count of all nodes a little ahead of need: one for who writes now and then, more at once for
/// who writes fast, so that neither waits for each nor takes what others need.
#[derive(Default)]
pub(crate) struct Purse {
    left: u32,
    /// What was taken may be used before this.
    until_us: u64,
    asked_us: Option<u64>,
    count: u32,
    dry_until_us: u64,
    alone_until_us: u64,
}

/// Whether one more may be accepted as far as all nodes are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    Free,
    /// So many have to be asked for; the publish waits.
    Ask(u32),
    /// They were asked for.
    Wait,
    /// None is left for so many microseconds.
    Dry(u64),
}

impl Purse {
    /// Looks before one is accepted. `most`: how many may be asked for at once.
    pub(crate) fn look(&mut self, now_us: u64, most: u32) -> Look {
        if now_us < self.alone_until_us {
            return Look::Free;
        }
        let in_time = now_us < self.until_us;
        if self.left > 0 && in_time {
            return Look::Free;
        }
        if now_us < self.dry_until_us {
            return Look::Dry(self.dry_until_us - now_us);
        }
        if self.asked_us.is_some() {
            return Look::Wait;
        }
        self.count = if in_time { self.count.saturating_mul(2).clamp(1, most.max(1)) } else { 1 };
        self.left = 0;
        self.asked_us = Some(now_us);
        Look::Ask(self.count)
    }

    /// One was accepted.
    pub(crate) fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// The count of all nodes answered. What it granted may be used for `taken_us` from when it was asked for.
    pub(crate) fn fill(&mut self, now_us: u64, taken_us: u64, taken: Option<Taken>) {
        let Some(asked_us) = self.asked_us.take() else { return };
        let until_us = asked_us.saturating_add(taken_us);
        match taken {
            Some(Taken::Granted(count)) if now_us < until_us => {
                (self.left, self.until_us) = (count.min(self.count), until_us);
            }
            Some(Taken::Dry(wait_us)) => self.dry_until_us = now_us.saturating_add(wait_us.max(1)),
            // Too late to be used is as good as no answer.
            Some(Taken::Granted(_)) | None => self.alone_until_us = now_us.saturating_add(ALONE_US),
        }
    }
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
    fn who_writes_fast_takes_more_at_once_and_what_lapsed_is_not_used() {
        let mut purse = Purse::default();
        let (mut asked, mut now) = (Vec::new(), 0);
        for _ in 0..8 {
            if let Look::Ask(count) = purse.look(now, 4) {
                assert_eq!(purse.look(now, 4), Look::Wait);
                asked.push(count);
                purse.fill(now, 100, Some(Taken::Granted(count)));
            }
            assert_eq!(purse.look(now, 4), Look::Free);
            purse.spend();
            now += 1;
        }
        assert_eq!(asked, [1, 2, 4, 4]);
        now += 200;
        assert_eq!(purse.look(now, 4), Look::Ask(1), "what was left has lapsed");
        purse.fill(now, 100, Some(Taken::Dry(50)));
        assert_eq!(purse.look(now + 20, 4), Look::Dry(30));
        assert_eq!(purse.look(now + 50, 4), Look::Ask(1));
        purse.fill(now + 60, 100, None);
        assert_eq!(purse.look(now + 60, 4), Look::Free, "nobody can say: the node counts alone");
        assert_eq!(purse.look(now + 60 + ALONE_US, 4), Look::Ask(1));
        purse.fill(now + 60 + ALONE_US + 100, 100, Some(Taken::Granted(1)));
        assert_eq!(purse.left, 0, "granted too late");
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
