//! Connections whose goodbye waits for a peer that takes no bytes: how many may wait, and until when.

use std::collections::VecDeque;

use super::connection::Leaving;
use crate::ring::StreamKey;

/// Connections of a shard that may wait at a time. Each holds what is sealed already: at most two flushes of 64 KiB,
/// each with one frame beyond, so 256 KiB. Beyond: who waits longest is closed without its goodbye.
pub const FAREWELLS_MAX: usize = 512;

/// Entries remembered, those included whose goodbye left. Beyond: as above.
const REMEMBERED_MAX: usize = 64 * FAREWELLS_MAX;

/// Who waits, by the time they are given up.
#[derive(Default)]
pub struct Farewells {
    /// Also those that are done; they are passed over when their time comes.
    queue: VecDeque<(u64, StreamKey)>,
    waiting: usize,
}

impl Farewells {
    /// One more waits, until `until_us` at most, which never decreases.
    pub fn begin(&mut self, until_us: u64, stream: StreamKey) {
        self.waiting += 1;
        self.queue.push_back((until_us, stream));
    }

    /// A connection went on from this state.
    pub fn done(&mut self, before: Leaving) {
        self.waiting -= usize::from(before == Leaving::Goodbye);
    }

    /// Whether somebody has to go: too many wait, or are remembered.
    pub fn are_too_many(&self) -> bool {
        self.waiting > FAREWELLS_MAX || self.queue.len() > REMEMBERED_MAX
    }

    /// The one that began first; it may be done.
    pub fn pop(&mut self) -> Option<(u64, StreamKey)> {
        self.queue.pop_front()
    }

    /// One whose time is up; it may be done.
    pub fn pop_due(&mut self, now_us: u64) -> Option<StreamKey> {
        self.queue.pop_front_if(|(at, _)| *at <= now_us).map(|(_, stream)| stream)
    }

    /// When the next is given up, in microseconds.
    pub fn next_us(&self) -> Option<u64> {
        self.queue.front().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::ring::{Ring, RingConfig};

    #[test]
    fn the_oldest_goes_when_too_many_wait_and_nobody_waits_for_ever() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let mut key = || ring.add_stream(UnixStream::pair().unwrap().0.into()).unwrap();
        let (first, other) = (key(), key());
        let mut farewells = Farewells::default();
        farewells.begin(10, first);
        (1..FAREWELLS_MAX).for_each(|_| farewells.begin(20, other));
        assert!(!farewells.are_too_many());
        farewells.begin(20, other);
        assert!(farewells.are_too_many());
        assert_eq!(farewells.pop(), Some((10, first)));
        farewells.done(Leaving::Goodbye);
        farewells.done(Leaving::No);
        farewells.done(Leaving::Said);
        assert!(!farewells.are_too_many());
        assert_eq!((farewells.pop_due(19), farewells.next_us()), (None, Some(20)));
        assert_eq!(farewells.pop_due(20), Some(other));
    }
}
