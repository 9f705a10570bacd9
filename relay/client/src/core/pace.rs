//! How many publishes may be under way: within the user's limit as Welcome tells it, fewer after refusals, more again
//! with each ack. A client that runs into refusals without end would be disconnected for good.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// Keeps publishes within what the relay takes.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Publishes per window; 0: not known, or too many to count.
    limit: usize,
    window: Duration,
    /// When those of the last window were acked, oldest first. The relay counted each no later than that.
    recent: VecDeque<Instant>,
    /// How many may be under way.
    width: usize,
    /// Retriable refusals since the last ack.
    refusals: u32,
}

impl Default for Pace {
    fn default() -> Self {
        let (width, window) = (limits::IN_FLIGHT, Duration::ZERO);
        Self { limit: 0, window, recent: VecDeque::new(), width, refusals: 0 }
    }
}

impl Pace {
    /// What Welcome says: `limit` publishes in `window_s` seconds.
    pub(crate) fn adopt(&mut self, limit: u32, window_s: u32) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.limit = if limit <= limits::PACED { limit } else { 0 };
        self.window = Duration::from_secs(window_s.into());
    }

    /// How many more may go out while `in_flight` are under way.
    pub(crate) fn room(&mut self, now: Instant, in_flight: usize) -> usize {
        while self.recent.front().is_some_and(|at| *at + self.window <= now) {
            self.recent.pop_front();
        }
        let free = match self.limit {
            0 => usize::MAX,
            limit => limit.saturating_sub(self.recent.len()),
        };
        free.min(self.width).saturating_sub(in_flight)
    }

    /// When the limit lets the next one go, if it is the limit that holds it.
    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let full = self.limit > 0 && self.recent.len() >= self.limit;
        self.recent.front().filter(|_| full).map(|at| *at + self.window).filter(|at| *at > now)
    }

    pub(crate) fn acked(&mut self, now: Instant) {
        self.count(now);
        self.refusals = 0;
        self.width = (self.width + 1).min(limits::IN_FLIGHT);
    }

    /// A retriable refusal: one at a time from here. Returns the shortest wait, longer with each.
    pub(crate) fn refused(&mut self) -> Duration {
        self.width = 1;
        self.refusals = self.refusals.saturating_add(1);
        limits::RETRY_MIN * (1 << (self.refusals - 1).min(6))
    }

    /// The link is gone with `in_flight` unanswered: the relay may have counted them.
    pub(crate) fn lost(&mut self, now: Instant, in_flight: usize) {
        (0..in_flight).for_each(|_| self.count(now));
    }

    fn count(&mut self, now: Instant) {
        if self.limit > 0 {
            self.recent.push_back(now);
            if self.recent.len() > self.limit {
                self.recent.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_limit_is_never_passed_in_any_window() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.adopt(3, 60);
        assert_eq!(pace.room(start, 0), 3);
        assert_eq!(pace.room(start, 2), 1);
        (0..3).for_each(|i| pace.acked(start + i * SECOND));
        assert_eq!(pace.room(start + 59 * SECOND, 0), 0);
        assert_eq!(pace.next_timeout(start + 59 * SECOND), Some(start + 60 * SECOND));
        assert_eq!(pace.room(start + 60 * SECOND, 0), 1);
        assert_eq!(pace.room(start + 60 * SECOND, 1), 0);
    }

    #[test]
    fn refusals_narrow_it_to_one_and_acks_widen_it() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.room(now, 0), limits::IN_FLIGHT);
        let waits: Vec<_> = (0..8).map(|_| pace.refused().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1_600, 3_200, 3_200]);
        assert_eq!((pace.room(now, 0), pace.room(now, 1)), (1, 0));
        pace.acked(now);
        assert_eq!(pace.room(now, 0), 2);
        assert_eq!(pace.refused().as_millis(), 50);
    }
}
