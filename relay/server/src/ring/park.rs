//! Decides how a shard sleeps and who wakes it: it waits in its own ring, so that one system call submits what is
//! queued and sleeps until something is done; other threads wake it by an eventfd that the ring reads.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::types::{Fd, SubmitArgs, Timespec};

use super::token::{self, Operation};
use super::{Ring, RingError};

struct Shared {
    /// Counts signals; blocking, because the ring's read would be told EAGAIN otherwise.
    event: OwnedFd,
    parked: AtomicBool,
    called: AtomicBool,
}

/// Wakes a parked shard from any thread; for a running shard it costs one atomic operation.
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

impl Waker {
    /// Makes the shard turn at least once more. Queue what it shall find first.
    ///
    /// The call is noted before `parked` is read, and [`Ring::wait`] sets `parked` before it reads the note:
    /// one of the two sees the other.
    pub fn wake(&self) {
        if self.0.called.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.0.parked.load(Ordering::SeqCst) {
            self.signal();
        }
    }

    fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the bytes outlive the call. It can't block: the counter stays far below its maximum, because a
        // parked shard is signalled once.
        unsafe { libc::write(self.0.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

pub(super) struct Park {
    waker: Waker,
    /// The ring is reading the eventfd.
    pub(super) armed: bool,
    /// Where the kernel puts the number of signals.
    signals: Box<u64>,
}

impl Park {
    pub(super) fn new() -> Result<Self, RingError> {
        // SAFETY: plain creation of a descriptor.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(RingError::kernel("make an eventfd")(io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just made it for us.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        let shared = Shared { event, parked: AtomicBool::new(false), called: AtomicBool::new(false) };
        Ok(Self { waker: Waker(Arc::new(shared)), armed: false, signals: Box::new(0) })
    }

    /// What is queued from here on makes the shard turn again.
    pub(super) fn begin_turn(&self) {
        self.waker.0.called.store(false, Ordering::SeqCst);
    }

    pub(super) fn on_wake(&mut self) {
        self.armed = false;
    }

    /// Gives up the memory for good; for a ring whose operations could not be awaited.
    pub(super) fn leak(&mut self) {
        Box::leak(std::mem::take(&mut self.signals));
    }
}

impl Ring {
    pub fn waker(&self) -> Waker {
        self.park.waker.clone()
    }

    /// Submits what is queued and sleeps until something is done, a waker calls, or `at_most` has passed; then turn
    /// again. Returns at once when there is something to do already.
    pub fn wait(&mut self, at_most: Option<Duration>) -> Result<(), RingError> {
        let retry_after = self.retry_at.map(|at| at.saturating_duration_since(Instant::now()));
        let at_most = at_most.into_iter().chain(retry_after).min();
        if at_most.is_some_and(|after| after.is_zero()) {
            return Ok(());
        }
        self.arm_wake();
        self.park.waker.0.parked.store(true, Ordering::SeqCst);
        let called = self.park.waker.0.called.load(Ordering::SeqCst);
        let found = !self.early.is_empty() || !self.uring.completion().is_empty();
        let slept = if called || found || !self.backlog.is_empty() { Ok(()) } else { self.sleep(at_most) };
        self.park.waker.0.parked.store(false, Ordering::SeqCst);
        slept
    }

    fn sleep(&mut self, at_most: Option<Duration>) -> Result<(), RingError> {
        self.counters.enters += 1;
        let timespec = at_most.map(Timespec::from);
        let args = timespec.iter().fold(SubmitArgs::new(), |args, timespec| args.timespec(timespec));
        match self.uring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error) if is_over(&error) => Ok(()),
            Err(error) => Err(RingError::kernel("wait in io_uring")(error)),
        }
    }

    fn arm_wake(&mut self) {
        if std::mem::replace(&mut self.park.armed, true) {
            return;
        }
        let event = Fd(self.park.waker.0.event.as_raw_fd());
        let signals: *mut u64 = &mut *self.park.signals;
        let read = opcode::Read::new(event, signals.cast(), size_of::<u64>() as u32).build();
        self.push(read.user_data(token::encode_own(Operation::Wake)));
    }
}

/// The time has passed, a signal came, or the kernel wants completions reaped before it waits.
fn is_over(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN))
}

#[cfg(test)]
mod tests {
    use super::super::RingConfig;
    use super::*;

    #[test]
    fn time_and_wakers_end_a_sleep() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        for _ in 0..3 {
            let began = Instant::now();
            ring.wait(Some(Duration::from_millis(5))).unwrap();
            ring.turn(&mut |_| {}).unwrap();
            assert!(began.elapsed() >= Duration::from_millis(5));
        }
        for _ in 0..3 {
            let waker = ring.waker();
            let caller = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                waker.wake();
            });
            ring.wait(None).unwrap();
            ring.turn(&mut |_| {}).unwrap();
            caller.join().unwrap();
        }
        assert!(
            ring.counters().operations_in_flight == 0,
            "the ring's own read is not an operation of the owner"
        );
    }

    #[test]
    fn a_call_while_running_keeps_the_shard_awake_once() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let waker = ring.waker();
        ring.turn(&mut |_| {}).unwrap();
        waker.wake();
        waker.wake();
        ring.wait(None).unwrap();
        ring.turn(&mut |_| {}).unwrap();
        let began = Instant::now();
        ring.wait(Some(Duration::from_millis(20))).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(20), "both calls were answered by one turn");
    }
}
