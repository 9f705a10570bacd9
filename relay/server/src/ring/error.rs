//! Decides what a shard is told when its ring can't run, in words that name the remedy.

use std::io;
use std::time::{Duration, Instant};

use io_uring::IoUring;

/// glommio and the ring register memory with the kernel; below this neither starts.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// How long the kernel may take to give back what a killed process had locked.
const GIVEN_BACK_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a ring could not start or continue.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    #[error(
        "io_uring is switched off on this host (kernel.io_uring_disabled={level}); \
         switch it on: sysctl -w kernel.io_uring_disabled=0"
    )]
    SwitchedOff { level: u32 },
    #[error(
        "io_uring is forbidden for this process, most likely by the container's seccomp profile; \
         run it with a profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Forbidden,
    #[error(
        "this kernel ({release}) has no io_uring with the needed features; Linux 6.1 or newer is required"
    )]
    KernelTooOld { release: String },
    #[error(
        "the limit on locked memory is {have_bytes} bytes, at least {MEMLOCK_BYTES_MIN} are needed; \
         raise it: ulimit -l 8192, or LimitMEMLOCK=8M for a systemd unit"
    )]
    MemlockTooLow { have_bytes: u64 },
    #[error(
        "other processes of this user hold the memory it may lock, {have_bytes} bytes for all of them together; \
         run the server as a user of its own, or raise the limit: ulimit -l, or LimitMEMLOCK= for a systemd unit"
    )]
    MemlockTaken { have_bytes: u64 },
    #[error("the kernel refuses to {doing}: {source}")]
    Kernel { doing: &'static str, source: io::Error },
}

impl RingError {
    pub(super) fn kernel(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { doing, source }
    }

    /// What a failed io_uring_setup means on this host.
    pub(super) fn from_setup(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM) => match switched_off_level() {
                0 => Self::Forbidden,
                level => Self::SwitchedOff { level },
            },
            Some(libc::ENOSYS | libc::EINVAL) => Self::KernelTooOld { release: kernel_release() },
            Some(libc::ENOMEM) => match memlock_bytes() {
                have_bytes @ MEMLOCK_BYTES_MIN.. => Self::MemlockTaken { have_bytes },
                have_bytes => Self::MemlockTooLow { have_bytes },
            },
            _ => Self::Kernel { doing: "set up io_uring", source },
        }
    }
}

/// Says before any shard starts whether this host lets one run.
pub fn check_host() -> Result<(), RingError> {
    let have_bytes = memlock_bytes();
    if have_bytes < MEMLOCK_BYTES_MIN {
        return Err(RingError::MemlockTooLow { have_bytes });
    }
    set_up(&super::builder(), 8).map(drop)
}

/// Makes a ring. Locked memory is counted for all processes of a user, and what a killed one held comes back only some
/// time after it is gone, so a process that starts again waits a little for it.
pub(super) fn set_up(builder: &io_uring::Builder, entries: u32) -> Result<IoUring, RingError> {
    let began = Instant::now();
    loop {
        match builder.build(entries).map_err(RingError::from_setup) {
            Err(RingError::MemlockTaken { .. }) if began.elapsed() < GIVEN_BACK_MAX => {
                std::thread::sleep(LOOK_EVERY);
            }
            made => return made,
        }
    }
}

fn memlock_bytes() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local that outlives the call.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    if answer == 0 { limit.rlim_cur } else { 0 }
}

fn switched_off_level() -> u32 {
    let level = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    level.ok().and_then(|level| level.trim().parse().ok()).unwrap_or(0)
}

fn kernel_release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or_else(|_| "release unknown".to_owned(), |release| release.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_kernel_names_its_remedy() {
        let message = |errno| RingError::from_setup(io::Error::from_raw_os_error(errno)).to_string();
        assert!(message(libc::EPERM).contains("seccomp") || message(libc::EPERM).contains("sysctl"));
        assert!(message(libc::ENOSYS).contains("Linux 6.1"));
        assert!(message(libc::ENOMEM).contains("ulimit -l"));
        assert!(message(libc::EMFILE).contains("set up io_uring"));
    }
}
