//! Whether the bus is sound: the node hears its own signs of life and those of every other node it has heard of. A node
//! that falls silent may still append, so what it appends has to be looked for.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use schema_wire::bus::Life;

/// Signs of life go out this often.
pub(super) const BEAT: Duration = Duration::from_millis(250);
/// Without one for this long, the bus or the node is silent.
const SILENT: Duration = Duration::from_millis(900);
/// A node that was silent for this long is not waited for any more.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Nodes told apart; beyond, the one that was silent longest is forgotten.
const NODES_MAX: usize = 1_024;

/// Signs of life, by who gave them.
#[derive(Debug, Default)]
pub(super) struct Heard {
    own: Option<Instant>,
    others: HashMap<Life, Other>,
    /// Something was lost that nobody will say again.
    missed: bool,
    /// When somebody last spoke in a way that only other releases understand.
    strange: Option<Instant>,
}

#[derive(Debug)]
struct Other {
    at: Instant,
    /// How many of its frames never left; `None` until it says so.
    lost: Option<u64>,
}

impl Heard {
    /// This node's own sign of life came back.
    pub(super) fn own(&mut self, now: Instant) {
        self.own = Some(now);
    }

    /// Another node said something, and with a sign of life how many of its frames never left. True when it is new.
    pub(super) fn other(&mut self, life: Life, lost: Option<u64>, now: Instant) -> bool {
        if let Some(known) = self.others.get_mut(&life) {
            self.missed |= lost.is_some_and(|lost| known.lost.is_some_and(|before| before != lost));
            *known = Other { at: now, lost: lost.or(known.lost) };
            return false;
        }
        self.others.insert(life, Other { at: now, lost });
        if self.others.len() > NODES_MAX {
            let oldest = self.others.iter().min_by_key(|(_, other)| other.at).map(|(life, _)| *life);
            oldest.and_then(|life| self.others.remove(&life));
        }
        true
    }

    /// A node of another release spoke, and this one does not know what it said.
    pub(super) fn strange(&mut self, now: Instant) {
        self.strange = Some(now);
    }

    /// Another node left on purpose.
    pub(super) fn left(&mut self, life: Life) {
        self.others.remove(&life);
    }

    /// A hint reached this node and was dropped here.
    pub(super) fn dropped(&mut self) {
        self.missed = true;
    }

    /// Whether all that should be heard is heard.
    pub(super) fn is_sound(&mut self, now: Instant) -> bool {
        self.others.retain(|_, other| now.saturating_duration_since(other.at) < FORGOTTEN);
        let lately = |at: Instant| now.saturating_duration_since(at) < SILENT;
        let understood = !self.strange.is_some_and(lately);
        self.own.is_some_and(lately) && understood && self.others.values().all(|other| lately(other.at))
    }

    /// Other nodes heard lately.
    pub(super) fn nodes(&self, now: Instant) -> usize {
        self.others.values().filter(|other| now.saturating_duration_since(other.at) < SILENT).count()
    }

    /// Whether something was missed since the last time this was asked.
    pub(super) fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_of_anybody_is_unsound_until_they_speak_leave_or_are_forgotten() {
        let (mut heard, start) = (Heard::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!heard.is_sound(start), "nothing was ever heard");
        heard.own(start);
        assert!(heard.other(Life(2), None, start), "new");
        assert!(!heard.other(Life(2), Some(0), start));
        assert!(heard.is_sound(at(800)));
        heard.own(at(1_000));
        assert!(!heard.is_sound(at(1_100)), "the other node is silent");
        heard.other(Life(2), Some(0), at(1_100));
        assert!(heard.is_sound(at(1_200)) && !heard.take_missed());
        heard.other(Life(2), None, at(1_250));
        assert!(!heard.take_missed());
        heard.other(Life(2), Some(3), at(1_300));
        assert!(heard.take_missed() && !heard.take_missed(), "three of its frames never left");
        heard.strange(at(1_300));
        assert!(!heard.is_sound(at(1_350)), "somebody says what this node does not understand");
        heard.left(Life(2));
        heard.own(at(9_000));
        assert!(heard.is_sound(at(9_100)));
        heard.other(Life(3), Some(0), at(9_100));
        heard.own(at(9_100 + 600_000));
        assert!(heard.is_sound(at(9_100 + 600_000)), "nobody waits for ever");
    }
}
