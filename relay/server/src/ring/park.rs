//! Decides how a shard sleeps and who wakes it: one blocking eventfd, signalled by the ring, by the ring's timer
//! and by other threads. The wait itself belongs to the owner's executor.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::Timespec;
use io_uring::{IoUring, opcode};

use super::token::{self, Operation};
use super::{Ring, RingError};

struct Shared {
    /// Counts signals; blocking, because the executor's ring waits on it and would be told EAGAIN otherwise.
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
    /// The call is noted before `parked` is read, and [`Ring::prepare_park`] sets `parked` before it reads the note:
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
    /// When the timer in flight fires.
    fires_at: Option<Instant>,
    /// What the kernel reads when a timer is submitted.
    timespec: Box<Timespec>,
}

impl Park {
    pub(super) fn register(uring: &IoUring) -> Result<Self, RingError> {
        // SAFETY: plain creation of a descriptor.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(RingError::kernel("make an eventfd")(io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just made it for us.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        let register = uring.submitter().register_eventfd(event.as_raw_fd());
        register.map_err(RingError::kernel("register an eventfd"))?;
        let shared = Shared { event, parked: AtomicBool::new(false), called: AtomicBool::new(false) };
        Ok(Self { waker: Waker(Arc::new(shared)), fires_at: None, timespec: Box::new(Timespec::new()) })
    }

    /// What is queued from here on makes the shard turn again.
    pub(super) fn begin_turn(&self) {
        self.waker.0.called.store(false, Ordering::SeqCst);
    }

    pub(super) fn on_timer(&mut self) {
        self.fires_at = None;
    }
}

impl Ring {
    /// A descriptor of the eventfd for the owner's executor. While parked, await an 8-byte read of it.
    /// Never have more than one such read in flight, and never abandon one: it would swallow a later signal.
    pub fn park_fd(&self) -> io::Result<OwnedFd> {
        self.park.waker.0.event.try_clone()
    }

    pub fn waker(&self) -> Waker {
        self.park.waker.clone()
    }

    /// Submits what is queued and makes completions, wakers and the timer signal the eventfd. True: nothing is left
    /// to do, await the eventfd and then call [`Ring::unpark`]. False: turn again.
    ///
    /// `wake_after` bounds the sleep by a timer on the ring itself; the shard may wake earlier than asked.
    pub fn prepare_park(&mut self, wake_after: Option<Duration>) -> Result<bool, RingError> {
        let now = Instant::now();
        let retry_after = self.retry_at.map(|at| at.saturating_duration_since(now));
        let wake_after = wake_after.into_iter().chain(retry_after).min();
        if wake_after.is_some_and(|after| after.is_zero()) {
            return Ok(false);
        }
        if let Some(after) = wake_after {
            self.arm_timer(now, after);
        }
        let shared = &self.park.waker.0;
        shared.parked.store(true, Ordering::SeqCst);
        self.uring.completion().enable_eventfd();
        self.submit_and_reap_always()?;
        let called = self.park.waker.0.called.load(Ordering::SeqCst);
        let submitted = self.backlog.is_empty() && self.uring.submission().is_empty();
        let idle = !called && submitted && self.uring.completion().is_empty();
        if !idle {
            self.unpark();
        }
        Ok(idle)
    }

    /// The shard runs again; completions and wakers cost nothing from here on.
    pub fn unpark(&mut self) {
        self.uring.completion().disable_eventfd();
        self.park.waker.0.parked.store(false, Ordering::SeqCst);
    }

    fn arm_timer(&mut self, now: Instant, after: Duration) {
        let fires_at = now + after;
        if self.park.fires_at.is_some_and(|earlier| earlier <= fires_at) {
            return;
        }
        *self.park.timespec = Timespec::from(after);
        let timespec: *const Timespec = &*self.park.timespec;
        let timer = token::encode_own(Operation::Timer);
        let entry = match self.park.fires_at {
            None => opcode::Timeout::new(timespec).build().user_data(timer),
            Some(_) => opcode::TimeoutUpdate::new(timer, timespec)
                .build()
                .user_data(token::encode_own(Operation::UpdateTimer)),
        };
        self.park.fires_at = Some(fires_at);
        self.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::RingConfig;
    use super::*;

    fn sleep(ring: &mut Ring, event: &mut std::fs::File, wake_after: Option<Duration>) {
        while !ring.prepare_park(wake_after).unwrap() {
            ring.turn(&mut |_| {}).unwrap();
        }
        event.read_exact(&mut [0; 8]).unwrap();
        ring.unpark();
        ring.turn(&mut |_| {}).unwrap();
    }

    #[test]
    fn the_timer_wakes_and_can_be_brought_forward() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let mut event = std::fs::File::from(ring.park_fd().unwrap());
        let far = Duration::from_secs(3600);
        assert!(ring.prepare_park(Some(far)).unwrap());
        ring.unpark();
        assert_eq!(ring.counters().operations_in_flight, 1);
        let near = Duration::from_millis(5);
        for _ in 0..3 {
            sleep(&mut ring, &mut event, Some(near));
        }
        assert!(ring.counters().operations_in_flight <= 1, "one timer serves all sleeps");
    }

    #[test]
    fn a_call_while_running_keeps_the_shard_awake_once() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let waker = ring.waker();
        ring.turn(&mut |_| {}).unwrap();
        waker.wake();
        waker.wake();
        assert!(!ring.prepare_park(None).unwrap());
        ring.turn(&mut |_| {}).unwrap();
        assert!(ring.prepare_park(None).unwrap());
        std::thread::spawn(move || waker.wake()).join().unwrap();
        let mut event = std::fs::File::from(ring.park_fd().unwrap());
        let mut signals = [0; 8];
        event.read_exact(&mut signals).unwrap();
        assert_eq!(u64::from_ne_bytes(signals), 1);
    }
}
