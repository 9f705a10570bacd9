//! When each connection next wants to be woken, earliest first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Instants are rounded up to this grid, so that connections which want to be woken at nearly the same time wake the
/// shard once. It is the granularity of QUIC's own timers (RFC 9002 section 6.1.2).
const GRID: Duration = Duration::from_millis(1);
/// The grid begins this long before the first instant: none comes earlier than a connection's own deadlines reach.
const BEFORE: Duration = Duration::from_secs(3_600);
const NEVER: u64 = u64::MAX;

/// One instant per connection slot.
///
/// An instant that moves later stays where it is in the tree until it has come, and is put right then, without a look
/// at the connection. That spares a tree update for every packet that merely postpones a timer.
#[derive(Default)]
pub(super) struct Deadlines {
    due: BTreeSet<(u64, u32)>,
    slots: Vec<Slot>,
    origin: Option<Instant>,
}

/// Points of the grid.
#[derive(Clone, Copy)]
struct Slot {
    /// What the tree holds.
    armed: u64,
    /// What the connection wants; never before `armed`.
    wanted: u64,
}

impl Deadlines {
    /// Arms `slot` for `want`.
    pub(super) fn arm(&mut self, slot: u32, want: Option<Instant>) {
        let wanted = want.map_or(NEVER, |at| self.round_up(at));
        let index = slot as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot { armed: NEVER, wanted: NEVER });
        }
        self.slots[index].wanted = wanted;
        if wanted < self.slots[index].armed {
            self.insert(slot, wanted);
        }
    }

    /// Forgets `slot`.
    pub(super) fn disarm(&mut self, slot: u32) {
        if let Some(known) = self.slots.get_mut(slot as usize) {
            self.due.remove(&(known.armed, slot));
            *known = Slot { armed: NEVER, wanted: NEVER };
        }
    }

    /// The earliest instant; nothing may have come by then but a correction.
    pub(super) fn next(&self) -> Option<Instant> {
        let (at, _) = self.due.first()?;
        Some(self.origin? + Duration::from_nanos(at * GRID.as_nanos() as u64))
    }

    /// The slot whose instant came first, if it has come; it is disarmed.
    pub(super) fn due(&mut self, now: Instant) -> Option<u32> {
        let now = now.saturating_duration_since(self.origin?).as_nanos() / GRID.as_nanos();
        let now = now as u64;
        while let Some((_, slot)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let wanted = self.slots[slot as usize].wanted;
            self.disarm(slot);
            if wanted <= now {
                return Some(slot);
            }
            self.slots[slot as usize].wanted = wanted;
            if wanted != NEVER {
                self.insert(slot, wanted);
            }
        }
        None
    }

    fn insert(&mut self, slot: u32, at: u64) {
        let known = &mut self.slots[slot as usize];
        if known.armed != NEVER {
            self.due.remove(&(known.armed, slot));
        }
        known.armed = at;
        self.due.insert((at, slot));
    }

    fn round_up(&mut self, at: Instant) -> u64 {
        let origin = *self.origin.get_or_insert_with(|| at.checked_sub(BEFORE).unwrap_or(at));
        let after = at.saturating_duration_since(origin);
        after.as_nanos().div_ceil(GRID.as_nanos()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_moves_later_stays_and_is_put_right_and_disarmed_is_gone() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let at = |ms| Some(after(ms));
        let mut deadlines = Deadlines::default();
        deadlines.arm(1, at(50));
        deadlines.arm(2, at(40));
        deadlines.arm(2, at(90));
        assert_eq!(deadlines.next(), at(40));
        deadlines.arm(1, at(10));
        assert_eq!(deadlines.due(after(9)), None);
        assert_eq!(deadlines.due(after(10)), Some(1));
        assert_eq!(deadlines.due(after(40)), None);
        assert_eq!(deadlines.next(), at(90));
        assert_eq!(deadlines.due(after(90)), Some(2));
        assert_eq!(deadlines.due(after(90)), None);
        deadlines.arm(2, at(100));
        deadlines.arm(2, None);
        assert_eq!(deadlines.due(after(100)), None);
        assert_eq!(deadlines.next(), None);
        deadlines.arm(7, at(100));
        deadlines.disarm(7);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn what_is_due_at_nearly_the_same_time_is_due_together_and_never_too_early() {
        let start = Instant::now();
        let after = |us| start + Duration::from_micros(us);
        let mut deadlines = Deadlines::default();
        for (slot, us) in [3_000, 3_001, 3_999, 4_000, 2_001].into_iter().enumerate() {
            deadlines.arm(slot as u32, Some(after(us)));
        }
        let mut due = |us| std::iter::from_fn(|| deadlines.due(after(us))).collect::<Vec<_>>();
        assert!(due(2_999).is_empty());
        assert_eq!(due(3_500), [0, 4]);
        assert_eq!(due(4_000), [1, 2, 3]);
    }
}
