//! Virtual time. The world has one clock in microseconds; each node sees it through its own, whose unix part jumps.

use relay_proto::Now;

/// Microseconds in a millisecond.
pub const MS: u64 = 1_000;
/// Microseconds in a second.
pub const S: u64 = 1_000_000;
/// Unix milliseconds at the start of every world.
pub const EPOCH_UNIX_MS: u64 = 1_750_000_000_000;

/// Unix milliseconds of the store, whose clock is right.
pub fn unix_ms(world_us: u64) -> u64 {
    EPOCH_UNIX_MS + world_us / MS
}

/// One node's view of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeClock {
    /// World time at which the process began; its monotonic clock counts from there.
    started_us: u64,
    /// How far the wall clock is off, in milliseconds.
    skew_ms: i64,
    /// How often the wall clock jumped since the process began.
    pub jumps: u32,
}

impl NodeClock {
    /// The clock of a process that begins now. The wall clock's error outlives a restart.
    pub fn restarted(self, world_us: u64) -> Self {
        Self { started_us: world_us, skew_ms: self.skew_ms, jumps: 0 }
    }

    /// Moves the wall clock.
    pub fn jump(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
        self.jumps += 1;
    }

    /// Sets the wall clock right.
    pub fn correct(&mut self) {
        if self.skew_ms != 0 {
            self.jump(-self.skew_ms);
        }
    }

    /// Whether the wall clock is exactly right and always was in this process.
    pub fn honest(self) -> bool {
        self.jumps == 0 && self.skew_ms == 0
    }

    /// What the node reads at a world time.
    pub fn read(self, world_us: u64) -> Now {
        // An arbitrary start: monotonic clocks do not begin at 0.
        let mono_us = world_us - self.started_us + 1_000_000;
        Now { mono_us, unix_ms: unix_ms(world_us).saturating_add_signed(self.skew_ms) }
    }

    /// The world time of a monotonic moment.
    pub fn world_us(self, mono_us: u64) -> u64 {
        mono_us.saturating_sub(1_000_000) + self.started_us
    }
}
