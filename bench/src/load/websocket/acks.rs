//! Which durable publications of a connection wait for their acks, and when each was meant to go out.

use std::collections::VecDeque;

use anyhow::{Context, Result};

use crate::load::dialect::REQUEST_PUBLISH;

/// Publications of one connection that wait for their acks, by request number.
#[derive(Default)]
pub struct Acks {
    /// Requests answered before those of the queue.
    gone: u64,
    /// Intended times; `None` once acked.
    waiting: VecDeque<Option<u64>>,
}

impl Acks {
    /// A publication goes out; its request number.
    pub fn wait(&mut self, intended_ns: u64) -> u64 {
        self.waiting.push_back(Some(intended_ns));
        REQUEST_PUBLISH + self.gone + self.waiting.len() as u64 - 1
    }

    /// The intended time of the publication with this request number.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&mut self, request: u64) -> Result<u64> {
        let at = request.checked_sub(REQUEST_PUBLISH + self.gone);
        let slot = at.and_then(|at| self.waiting.get_mut(at as usize)).and_then(Option::take);
        while let Some(None) = self.waiting.front() {
            self.waiting.pop_front();
            self.gone += 1;
        }
        slot.with_context(|| format!("an ack for request {request}, which waits for none"))
    }
}
