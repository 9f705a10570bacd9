//! When each connection next wants to be woken, earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nothing is armed.
pub const NEVER: u64 = u64::MAX;

/// Instants, in nanoseconds, of slots. An instant that moves later stays where it is: waking too early is harmless,
/// and spares a change of the heap for every packet that merely postpones a timer.
#[derive(Default)]
pub struct Timers {
    due: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Timers {
    /// Arms `slot` for `want`; `armed` is where the slot remembers what it waits for.
    pub fn arm(&mut self, slot: usize, armed: &mut u64, want: u64) {
        if want < *armed {
            self.due.push(Reverse((want, slot)));
            *armed = want;
        }
    }

    /// The earliest instant; perhaps one that no slot waits for any more.
    pub fn next(&self) -> u64 {
        self.due.peek().map_or(NEVER, |Reverse((at, _))| *at)
    }

    /// The earliest instant that has come, and its slot: due only if that is what the slot still waits for.
    pub fn pop(&mut self, now_ns: u64) -> Option<(u64, usize)> {
        if self.next() > now_ns {
            return None;
        }
        self.due.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_moves_and_later_stays() {
        let mut timers = Timers::default();
        let (mut a, mut b) = (NEVER, NEVER);
        timers.arm(1, &mut a, 50);
        timers.arm(2, &mut b, 40);
        timers.arm(2, &mut b, 90);
        timers.arm(1, &mut a, 10);
        assert_eq!((a, b, timers.next()), (10, 40, 10));
        assert_eq!(timers.pop(9), None);
        assert_eq!(timers.pop(60), Some((10, 1)));
        assert_eq!(timers.pop(60), Some((40, 2)));
        assert_eq!(timers.pop(60), Some((50, 1)));
        assert_eq!((timers.pop(60), timers.next()), (None, NEVER));
    }
}
