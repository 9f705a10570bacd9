//! The only place that asks what time it is: once per turn of a shard.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use relay_proto::Now;

/// Monotonic and wall time from a common start, so that all shards of a node count alike.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time for the next event.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_us: self.start.elapsed().as_micros() as u64, unix_ms: unix.as_millis() as u64 }
    }

    /// The moment `mono_us` as an `Instant`, for timers.
    pub fn instant(&self, mono_us: u64) -> Instant {
        self.start + std::time::Duration::from_micros(mono_us)
    }
}
