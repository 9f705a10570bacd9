//! Group commit: appends of all shards that wait while one commit is under way travel together in the next.

use std::collections::VecDeque;

use relay_proto::event::Ticket;
use schema_wire::ShardId;
use schema_wire::record::Append;

/// Appends in one transaction.
const BATCH_MAX: usize = 512;
/// Appends that may wait; beyond, the shard gets `StoreFault::Unavailable` and the client a retriable refusal.
const WAITING_MAX: usize = 32_768;

/// Who gets an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnAddress {
    pub shard: ShardId,
    pub ticket: Ticket,
}

/// Appends that wait for the next commit, in arrival order.
#[derive(Default)]
pub struct Waiting {
    queue: VecDeque<(ReturnAddress, Append)>,
}

impl Waiting {
    /// Queues one; false when the bound is reached.
    #[must_use]
    pub fn push(&mut self, to: ReturnAddress, append: Append) -> bool {
        if self.queue.len() >= WAITING_MAX {
            return false;
        }
        self.queue.push_back((to, append));
        true
    }

    /// The next transaction's worth, oldest first.
    pub fn take(&mut self) -> (Vec<ReturnAddress>, Vec<Append>) {
        let n = self.queue.len().min(BATCH_MAX);
        self.queue.drain(..n).unzip()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
