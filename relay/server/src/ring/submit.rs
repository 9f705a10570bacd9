//! Decides when entries reach the kernel: queued in order, submitted together, at most once per turn
//! unless the submission queue overflows.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue};

use super::token::{self, Operation};
use super::{Ring, RingError};

/// IORING_ENTER_GETEVENTS: run deferred work and post what completed.
const ENTER_GETEVENTS: u32 = 1;

/// Rounds of waiting for cancelled operations when a ring is dropped, and how long each may take.
const CANCEL_ROUNDS_MAX: usize = 20;
const CANCEL_ROUND_MS: u32 = 50;

impl Ring {
    /// Queues an entry. Whatever it points to must stay in place until its last completion: sockets, slabs and
    /// message headers are released only by the completion that names them.
    pub(super) fn push(&mut self, entry: squeue::Entry) {
        self.counters.operations_in_flight += 1;
        if !self.backlog.is_empty() || !self.try_push(&entry) {
            self.backlog.push_back(entry);
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: `push` states what keeps the entry's memory valid.
        if unsafe { self.uring.submission().push(entry) }.is_ok() {
            return true;
        }
        if self.enter(0, 0).is_err() {
            return false;
        }
        // SAFETY: as above.
        unsafe { self.uring.submission().push(entry) }.is_ok()
    }

    /// Submits everything queued and lets the kernel post what is done, if there is anything to do.
    pub(super) fn submit_and_reap(&mut self) -> Result<(), RingError> {
        let submissions = self.uring.submission();
        if submissions.is_empty() && !submissions.taskrun() && !submissions.cq_overflow() {
            return Ok(());
        }
        drop(submissions);
        loop {
            self.enter(0, ENTER_GETEVENTS)?;
            if self.backlog.is_empty() || !self.uring.submission().is_empty() {
                return Ok(());
            }
            self.refill_from_backlog();
        }
    }

    fn refill_from_backlog(&mut self) {
        while let Some(entry) = self.backlog.front() {
            // SAFETY: `push` states what keeps the entry's memory valid.
            if unsafe { self.uring.submission().push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    pub(super) fn enter(&mut self, wait_for: u32, flags: u32) -> Result<(), RingError> {
        let queued = u32::try_from(self.uring.submission().len()).expect("the queue's length is a u32");
        loop {
            self.counters.enters += 1;
            // SAFETY: the flags need no argument, and none is passed.
            let entered =
                unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, wait_for, flags, None) };
            match entered {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_pressure(&error) => return Ok(()),
                Err(error) => return Err(RingError::kernel("submit to io_uring")(error)),
            }
        }
    }

    /// Cancels all operations and waits for their completions; false when some did not end in time.
    pub(super) fn cancel_everything(&mut self) -> bool {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any().all());
        self.push(cancel.build().user_data(token::encode_own(Operation::CancelAll)));
        let round = Timespec::new().nsec(CANCEL_ROUND_MS * 1_000_000);
        for _ in 0..CANCEL_ROUNDS_MAX {
            self.refill_from_backlog();
            let wait = SubmitArgs::new().timespec(&round);
            let waited = self.uring.submitter().submit_with_args(1, &wait);
            let ended = self.uring.completion().filter(discard).count();
            self.counters.operations_in_flight = self.counters.operations_in_flight.saturating_sub(ended);
            if self.counters.operations_in_flight == 0 {
                return true;
            }
            let worth_waiting = |errno| matches!(errno, Some(libc::ETIME | libc::EINTR | libc::EBUSY));
            if waited.is_err_and(|error| !worth_waiting(error.raw_os_error())) {
                return false;
            }
        }
        false
    }
}

/// Drops what a completion brought, at least a connection's descriptor. True: its operation has ended.
fn discard(entry: &cqueue::Entry) -> bool {
    if token::decode(entry.user_data()).0 == Operation::Accept && entry.result() >= 0 {
        // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
        drop(unsafe { OwnedFd::from_raw_fd(entry.result()) });
    }
    !cqueue::more(entry.flags())
}

/// The kernel wants completions reaped, or memory, before it takes more; the entries stay queued.
fn is_pressure(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN))
}
