//! When each connection next wants to be woken, earliest first.

use std::collections::BTreeSet;
use std::time::Instant;

/// One instant per connection slot.
///
/// An instant that moves later stays where it is: waking a connection too early is harmless and it
/// is armed anew then. That spares a tree update for every packet that merely postpones a timer.
#[derive(Default)]
pub(super) struct Deadlines {
    due: BTreeSet<(Instant, u32)>,
}

impl Deadlines {
    /// Arms `slot` for `want`; `armed` is where the connection remembers what is in the tree.
    pub(super) fn arm(&mut self, slot: u32, armed: &mut Option<Instant>, want: Option<Instant>) {
        match (*armed, want) {
            (Some(now_armed), Some(wanted)) if now_armed <= wanted => return,
            (None, None) => return,
            _ => {}
        }
        self.disarm(slot, armed);
        if let Some(wanted) = want {
            self.due.insert((wanted, slot));
        }
        *armed = want;
    }

    /// Forgets `slot`.
    pub(super) fn disarm(&mut self, slot: u32, armed: &mut Option<Instant>) {
        if let Some(at) = armed.take() {
            let was_there = self.due.remove(&(at, slot));
            assert!(was_there, "an armed slot is in the tree");
        }
    }

    /// The earliest instant.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The slot whose instant came first, if it has come. It stays armed.
    pub(super) fn due(&self, now: Instant) -> Option<u32> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, slot)| *slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn earlier_moves_later_stays_and_disarmed_is_gone() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let mut deadlines = Deadlines::default();
        let (mut a, mut b) = (None, None);
        deadlines.arm(1, &mut a, at(50));
        deadlines.arm(2, &mut b, at(40));
        deadlines.arm(2, &mut b, at(90));
        assert_eq!(deadlines.next(), at(40));
        deadlines.arm(1, &mut a, at(10));
        assert_eq!(deadlines.due(start + Duration::from_millis(10)), Some(1));
        deadlines.disarm(1, &mut a);
        assert_eq!(deadlines.due(start + Duration::from_millis(39)), None);
        assert_eq!(deadlines.due(start + Duration::from_millis(40)), Some(2));
        deadlines.arm(2, &mut b, None);
        assert_eq!(deadlines.next(), None);
    }
}
