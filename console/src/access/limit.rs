//! Request limits: how often a user or an address may ask within a window, in a table that never outgrows its bound.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Mutex;

use schema_wire::UserId;

/// Subjects counted one by one per window; more share the overflow slots.
const SUBJECTS_MAX: usize = 65_536;
/// Slots that subjects share once the table is full: limited too early then, never too late.
const OVERFLOW_SLOTS: usize = 4_096;

/// Which budget a request draws from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Budget {
    /// Everything that guesses at secrets: register, log in, reset.
    Auth,
    /// Everything else.
    General,
}

/// Who a request counts against.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    Address(IpAddr),
    User(UserId),
    /// An account somebody tries to get into, as a hash of its mail address.
    Account([u8; 32]),
}

/// How many requests each budget allows within the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimits {
    /// Seconds.
    pub window_s: u64,
    pub general: u32,
    pub auth: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { window_s: 60, general: 100, auth: 10 }
    }
}

impl RateLimits {
    /// What a budget allows.
    pub const fn max(&self, budget: Budget) -> u32 {
        match budget {
            Budget::Auth => self.auth,
            Budget::General => self.general,
        }
    }
}

/// Counts requests. A sliding window made of two fixed ones: the older counts with the share that still overlaps.
pub struct Limiter {
    subjects_max: usize,
    windows: Mutex<Windows>,
    hasher: RandomState,
}

#[derive(Default)]
struct Windows {
    /// How long one is; of another length, all begin anew.
    length_ms: u64,
    number: u64,
    now: Counts,
    before: Counts,
}

struct Counts {
    each: HashMap<(Budget, Subject), u32>,
    shared: Vec<u32>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { each: HashMap::new(), shared: vec![0; OVERFLOW_SLOTS] }
    }
}

impl Limiter {
    /// With an empty table.
    pub fn new() -> Self {
        Self::with_room(SUBJECTS_MAX)
    }

    fn with_room(subjects_max: usize) -> Self {
        Self { subjects_max, windows: Mutex::default(), hasher: RandomState::new() }
    }

    /// Counts one request of each subject; the seconds to wait if one of them is over its limit (nothing counts then).
    pub fn admit(
        &self,
        limits: &RateLimits,
        budget: Budget,
        subjects: &[Subject],
        now_ms: u64,
    ) -> Result<(), u64> {
        let window_ms = limits.window_s.max(1) * 1000;
        let into_ms = now_ms % window_ms;
        let max = limits.max(budget);
        let mut windows = self.windows.lock().expect("nothing panics while counting");
        if windows.length_ms != window_ms {
            *windows = Windows { length_ms: window_ms, ..Windows::default() };
        }
        windows.turn_to(now_ms / window_ms);
        for subject in subjects {
            let key = (budget, *subject);
            let slot = self.slot(&key);
            let before = u64::from(windows.before.get(&key, slot)) * (window_ms - into_ms) / window_ms;
            if before + u64::from(windows.now.get(&key, slot)) >= u64::from(max) {
                return Err((window_ms - into_ms).div_ceil(1000).max(1));
            }
        }
        for subject in subjects {
            let key = (budget, *subject);
            let slot = self.slot(&key);
            windows.now.add(key, slot, self.subjects_max);
        }
        Ok(())
    }

    fn slot(&self, key: &(Budget, Subject)) -> usize {
        (self.hasher.hash_one(key) % OVERFLOW_SLOTS as u64) as usize
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Windows {
    fn turn_to(&mut self, number: u64) {
        // A clock that stepped back keeps counting in the window it is in: nobody gains by it.
        if number > self.number {
            let ended = std::mem::take(&mut self.now);
            self.before = if number == self.number + 1 { ended } else { Counts::default() };
            self.number = number;
        }
    }
}

impl Counts {
    fn get(&self, key: &(Budget, Subject), slot: usize) -> u32 {
        self.each.get(key).copied().unwrap_or(self.shared[slot])
    }

    fn add(&mut self, key: (Budget, Subject), slot: usize, subjects_max: usize) {
        if self.each.len() < subjects_max || self.each.contains_key(&key) {
            *self.each.entry(key).or_insert(0) += 1;
        } else {
            self.shared[slot] = self.shared[slot].saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u8) -> Subject {
        Subject::User(UserId([n; 16]))
    }

    const LIMITS: RateLimits = RateLimits { window_s: 60, general: 3, auth: 1 };

    fn limiter(subjects_max: usize) -> Limiter {
        Limiter::with_room(subjects_max)
    }

    #[test]
    fn allows_the_limit_then_names_the_wait() {
        let limiter = limiter(10);
        for _ in 0..3 {
            assert_eq!(limiter.admit(&LIMITS, Budget::General, &[user(1)], 600_000), Ok(()));
        }
        assert_eq!(limiter.admit(&LIMITS, Budget::General, &[user(1)], 601_000), Err(59));
        assert_eq!(
            limiter.admit(&LIMITS, Budget::General, &[user(2)], 601_000),
            Ok(()),
            "others are not touched"
        );
        assert_eq!(limiter.admit(&LIMITS, Budget::Auth, &[user(1)], 601_000), Ok(()), "budgets are apart");
    }

    #[test]
    fn the_window_slides() {
        let limiter = limiter(10);
        for _ in 0..3 {
            limiter.admit(&LIMITS, Budget::General, &[user(1)], 659_000).unwrap();
        }
        assert!(
            limiter.admit(&LIMITS, Budget::General, &[user(1)], 660_000).is_err(),
            "a new window is not a clean slate"
        );
        assert_eq!(
            limiter.admit(&LIMITS, Budget::General, &[user(1)], 690_000),
            Ok(()),
            "half of the old ones are forgotten"
        );
        assert_eq!(limiter.admit(&LIMITS, Budget::General, &[user(1)], 900_000), Ok(()));
    }

    #[test]
    fn another_limit_holds_with_the_next_request() {
        let limiter = limiter(10);
        let admit = |limits, at| limiter.admit(&limits, Budget::General, &[user(1)], at);
        for _ in 0..3 {
            admit(LIMITS, 600_000).unwrap();
        }
        let (wider, narrower) = (RateLimits { general: 5, ..LIMITS }, RateLimits { general: 2, ..LIMITS });
        assert_eq!(admit(wider, 601_000), Ok(()), "what was counted still counts");
        assert_eq!(admit(wider, 601_000), Ok(()));
        assert!(admit(wider, 601_000).is_err() && admit(narrower, 601_000).is_err());
        for window_s in [3_600, 1] {
            let other = RateLimits { window_s, ..narrower };
            assert_eq!(admit(other, 602_000), Ok(()), "of another length it begins anew");
            assert_eq!(admit(other, 602_000), Ok(()));
            assert!(admit(other, 602_000).is_err());
            assert_eq!(admit(other, 602_000 + 2_000 * window_s), Ok(()), "and goes on");
        }
    }

    #[test]
    fn one_subject_over_its_limit_counts_nothing_for_the_others() {
        let limiter = limiter(10);
        limiter.admit(&LIMITS, Budget::Auth, &[user(1)], 0).unwrap();
        assert!(limiter.admit(&LIMITS, Budget::Auth, &[user(2), user(1)], 0).is_err());
        assert_eq!(limiter.admit(&LIMITS, Budget::Auth, &[user(2)], 0), Ok(()));
    }

    #[test]
    fn a_full_table_limits_newcomers_together_and_does_not_grow() {
        let limiter = limiter(2);
        let admit = |subject| limiter.admit(&LIMITS, Budget::General, &[subject], 0);
        for known in [user(1), user(2)] {
            admit(known).unwrap();
        }
        let slot = |subject| limiter.slot(&(Budget::General, subject));
        // Every table hashes in its own way, so those who share a slot have to be looked for.
        let (last, newcomers) = (user(77), (0..u64::MAX).map(numbered));
        for newcomer in newcomers.filter(|newcomer| slot(*newcomer) == slot(last)).take(3) {
            assert_eq!(admit(newcomer), Ok(()));
        }
        assert!(admit(last).is_err(), "three others filled the slot");
        let elsewhere = (0..u64::MAX).map(numbered).find(|newcomer| slot(*newcomer) != slot(last));
        assert_eq!(admit(elsewhere.unwrap()), Ok(()), "other slots are not touched");
        assert_eq!(admit(user(1)), Ok(()), "nor is who was there before");
        assert_eq!(limiter.windows.lock().unwrap().now.each.len(), 2);
    }

    fn numbered(n: u64) -> Subject {
        let mut id = [0xff; 16];
        id[..8].copy_from_slice(&n.to_le_bytes());
        Subject::User(UserId(id))
    }
}
