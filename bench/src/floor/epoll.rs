//! The kernel's side of the event loop: epoll, accepting, and the number of open files.

use std::io::{Error, ErrorKind, Result};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Reported once per change.
pub const READABLE: u32 = (libc::EPOLLIN | libc::EPOLLET) as u32;
pub const READABLE_OR_WRITABLE: u32 = READABLE | libc::EPOLLOUT as u32;
/// Reported as long as it is so.
pub const STILL_READABLE: u32 = libc::EPOLLIN as u32;
/// The peer has closed or something failed: there is more to read than bytes.
pub const ENDED: u32 = (libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLRDHUP) as u32;
pub const WRITABLE: u32 = libc::EPOLLOUT as u32;

pub type Event = libc::epoll_event;
pub const NO_EVENT: Event = Event { events: 0, u64: 0 };

pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> Result<Self> {
        // SAFETY: takes no pointer.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just given this descriptor to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn add(&self, fd: BorrowedFd<'_>, number: u64, events: u32) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, number, events)
    }

    pub fn modify(&self, fd: BorrowedFd<'_>, number: u64, events: u32) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, number, events)
    }

    fn control(&self, what: i32, fd: BorrowedFd<'_>, number: u64, events: u32) -> Result<()> {
        let mut event = Event { events: events | libc::EPOLLRDHUP as u32, u64: number };
        // SAFETY: the kernel reads the one event it is given.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_raw_fd(), &mut event) }).map(drop)
    }

    /// Waits for events, or only looks when `wait` is false.
    pub fn wait<'a>(&self, events: &'a mut [Event], wait: bool) -> Result<&'a [Event]> {
        let timeout_ms = if wait { -1 } else { 0 };
        let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel fills at most `room` events, which is not more than there are.
        let found = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, timeout_ms) };
        match checked(found) {
            Ok(found) => Ok(&events[..found as usize]),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}

/// The next connection that waits, as a socket that does not block; nothing when none waits.
pub fn accept(listener: &TcpListener) -> Result<Option<TcpStream>> {
    let (fd, flags) = (listener.as_raw_fd(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    loop {
        // SAFETY: null pointers tell the kernel that nobody asks for the peer's address.
        let accepted = unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        match checked(accepted) {
            // SAFETY: the kernel has just given this descriptor to nobody else.
            Ok(fd) => return Ok(Some(unsafe { TcpStream::from_raw_fd(fd) })),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(None),
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                _ => return Err(error),
            },
        }
    }
}

/// Allows as many open files as this process may have.
pub fn raise_open_files() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct it is given.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads the struct it is given.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }).map(drop)
}

fn checked(returned: i32) -> Result<i32> {
    if returned < 0 { Err(Error::last_os_error()) } else { Ok(returned) }
}
