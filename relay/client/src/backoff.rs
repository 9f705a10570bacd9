//! Decides how long to wait before the next connection attempt: exponential, with full jitter.

use std::time::Duration;

/// Grows with each failure, forgets at success.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new((first, max): (Duration, Duration)) -> Self {
        Self { first, max, attempt: 0 }
    }

    /// The attempt made last, counted from 0.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The next delay: anywhere between nothing and the current ceiling, so that many clients spread out.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let ceiling = self.ceiling();
        self.attempt = self.attempt.saturating_add(1);
        spread(ceiling, random)
    }

    /// A connection stood: start small again.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }

    fn ceiling(&self) -> Duration {
        let factor = 1u32 << self.attempt.min(16);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// A moment within `ceiling`, chosen by `random`.
pub(crate) fn spread(ceiling: Duration, random: u64) -> Duration {
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX - 1);
    Duration::from_micros(random % (micros + 1))
}

/// A random number from the operating system.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the operating system gives random numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_longest() {
        let mut backoff = Backoff::new((Duration::from_millis(100), Duration::from_secs(1)));
        let ceilings: Vec<_> = (0..6)
            .map(|_| {
                let ceiling = backoff.ceiling();
                backoff.next(0);
                ceiling.as_millis()
            })
            .collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1_000, 1_000]);
        backoff.reset();
        assert_eq!(backoff.ceiling().as_millis(), 100);
    }

    #[test]
    fn the_delay_is_anywhere_below_the_ceiling() {
        let ceiling = Duration::from_micros(10);
        assert_eq!(spread(ceiling, 10), ceiling);
        assert_eq!(spread(ceiling, 11), Duration::ZERO);
        assert_eq!(spread(ceiling, 25), Duration::from_micros(3));
    }
}
