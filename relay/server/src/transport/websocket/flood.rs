//! Decides when a peer's control frames are a flood. Runs on the session's shard for each ping and pong.

/// Control frames a peer may send at once.
pub const CONTROL_BURST_MAX: u32 = 64;

/// Time after which one more control frame is granted, in milliseconds.
pub const CONTROL_REFILL_MS: u64 = 250;

/// How many control frames one connection may still send.
#[derive(Clone, Copy, Debug)]
pub struct ControlBudget {
    left: u32,
    refilled_ms: u64,
}

impl ControlBudget {
    /// A full budget; `now_ms` is any monotonic clock in milliseconds.
    pub fn new(now_ms: u64) -> Self {
        Self { left: CONTROL_BURST_MAX, refilled_ms: now_ms }
    }

    /// Counts one control frame; `false` says that the peer floods and is to be cut.
    pub fn spend(&mut self, now_ms: u64) -> bool {
        let earned = now_ms.saturating_sub(self.refilled_ms) / CONTROL_REFILL_MS;
        if earned > 0 {
            let total = u64::from(self.left).saturating_add(earned);
            self.left = total.min(u64::from(CONTROL_BURST_MAX)) as u32;
            self.refilled_ms += earned * CONTROL_REFILL_MS;
        }
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_a_flood_does_not_and_time_heals() {
        let mut budget = ControlBudget::new(5);
        assert!((0..CONTROL_BURST_MAX).all(|_| budget.spend(5)));
        assert!(!budget.spend(5));
        assert!(budget.spend(5 + CONTROL_REFILL_MS));
        assert!(!budget.spend(5 + CONTROL_REFILL_MS));
        assert!((0..1_000).all(|i| budget.spend(10_000 + i * CONTROL_REFILL_MS)));
    }

    #[test]
    fn a_clock_that_steps_back_grants_nothing() {
        let mut budget = ControlBudget::new(1_000);
        assert_eq!((0..100).filter(|_| budget.spend(0)).count(), CONTROL_BURST_MAX as usize);
    }
}
