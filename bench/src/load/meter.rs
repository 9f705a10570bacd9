//! What the server and the load generator spend while measuring: CPU time at both ends, memory in between.

use std::time::Duration;

use anyhow::Result;

use crate::load::clock;
use crate::plan::Outcome;

/// How often memory is read while measuring.
pub const SAMPLES: u32 = 10;

/// One measurement under way.
pub struct Meter {
    pid: u32,
    began_ns: u64,
    server: Duration,
    own: Duration,
    rss_peak_kib: u64,
}

impl Meter {
    /// Measuring begins.
    ///
    /// # Errors
    /// The server is gone.
    pub fn begin(server_pid: u32) -> Result<Self> {
        Ok(Self {
            pid: server_pid,
            rss_peak_kib: clock::resident_kib(server_pid)?,
            began_ns: clock::now_ns(),
            server: clock::cpu_of(server_pid)?,
            own: clock::own_cpu(),
        })
    }

    /// When one of [`SAMPLES`] parts of so many seconds ends.
    pub fn part_ends_ns(&self, part: u32, measure_s: f64) -> u64 {
        self.began_ns + (measure_s * 1e9 * f64::from(part + 1) / f64::from(SAMPLES)) as u64
    }

    /// Reads the server's memory.
    ///
    /// # Errors
    /// The server is gone.
    pub fn sample(&mut self) -> Result<u64> {
        let resident_kib = clock::resident_kib(self.pid)?;
        self.rss_peak_kib = self.rss_peak_kib.max(resident_kib);
        Ok(resident_kib)
    }

    /// Measuring ends; CPU time is read first, at the same instant as the clock.
    ///
    /// # Errors
    /// The server is gone.
    pub fn end(mut self, outcome: &mut Outcome) -> Result<()> {
        outcome.server_cpu_s = (clock::cpu_of(self.pid)? - self.server).as_secs_f64();
        outcome.client_cpu_s = (clock::own_cpu() - self.own).as_secs_f64();
        outcome.seconds = (clock::now_ns() - self.began_ns) as f64 / 1e9;
        outcome.rss_after_kib = self.sample()?;
        outcome.rss_peak_kib = self.rss_peak_kib;
        Ok(())
    }
}
