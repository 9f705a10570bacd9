//! Time, CPU time and memory, from the operating system.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Nanoseconds of the monotonic clock, the same for all processes of the machine.
pub fn now_ns() -> u64 {
    time_of(libc::CLOCK_MONOTONIC).expect("every Linux has a monotonic clock").as_nanos() as u64
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    time_of(libc::CLOCK_REALTIME).expect("every Linux has a wall clock").as_millis() as u64
}

/// User and system time of this process.
pub fn own_cpu() -> Duration {
    time_of(libc::CLOCK_PROCESS_CPUTIME_ID).expect("every process has a CPU clock")
}

/// User and system time of another process.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let mut clock = 0;
    // SAFETY: the kernel fills the one number it is given.
    let status = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
    ensure!(status == 0, "process {pid} is gone");
    time_of(clock).with_context(|| format!("process {pid} is gone"))
}

fn time_of(clock: libc::clockid_t) -> Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct it is given.
    let status = unsafe { libc::clock_gettime(clock, &mut time) };
    ensure!(status == 0, "clock {clock}: {}", std::io::Error::last_os_error());
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a VmRSS line")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
