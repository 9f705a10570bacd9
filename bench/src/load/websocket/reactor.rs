//! Which connections have something to do: one epoll descriptor, edge-triggered, and a wait with nanoseconds.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result, ensure};

/// Events taken from the kernel at once.
const BATCH: usize = 256;

/// All that is ever waited for; edges make changing it needless.
const INTEREST: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;

/// What happened to which connection.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The number that the connection was added with.
    pub number: usize,
    /// The other side will send no more: read until the end.
    pub ends: bool,
}

/// An epoll descriptor.
pub struct Reactor {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Reactor {
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn new() -> Result<Self> {
        // Otherwise the kernel may wake this thread 50 us late.
        // SAFETY: the call only changes a number of this thread.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        // SAFETY: the call takes no memory.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        ensure!(fd >= 0, "epoll: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH] })
    }

    /// Follows a socket under a number; whatever is ready already is an event as well.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add(&self, fd: RawFd, number: usize) -> Result<()> {
        let mut event = libc::epoll_event { events: INTEREST as u32, u64: number as u64 };
        self.control(libc::EPOLL_CTL_ADD, fd, &mut event)
    }

    /// Leaves a socket alone.
    ///
    /// # Errors
    /// It was not followed.
    pub fn remove(&self, fd: RawFd) -> Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut())
    }

    fn control(&self, operation: i32, fd: RawFd, event: *mut libc::epoll_event) -> Result<()> {
        // SAFETY: the event is null or lives for the call; the kernel copies it.
        let status = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, event) };
        ensure!(status == 0, "epoll_ctl: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Waits for events, at most so many nanoseconds; how many came. Read them with [`Reactor::event`].
    ///
    /// # Errors
    /// The kernel lacks `epoll_pwait2` (before Linux 5.11).
    pub fn wait(&mut self, timeout_ns: u64) -> Result<usize> {
        let timeout = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        let (events, length) = (self.events.as_mut_ptr(), self.events.len() as i32);
        // SAFETY: the kernel writes at most `length` events into a vector of that many; the timeout outlives the call.
        let count =
            unsafe { libc::epoll_pwait2(self.epoll.as_raw_fd(), events, length, &timeout, std::ptr::null()) };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = std::io::Error::last_os_error();
        match error.kind() {
            std::io::ErrorKind::Interrupted => Ok(0),
            _ => Err(error).context("epoll_pwait2, which needs Linux 5.11"),
        }
    }

    /// One of the events of the last wait.
    pub fn event(&self, at: usize) -> Event {
        let event = self.events[at];
        let ends = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
        Event { number: event.u64 as usize, ends: event.events & ends as u32 != 0 }
    }
}
