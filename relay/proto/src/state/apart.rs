//! Whom a session is kept apart from: people with a block between them and its user. Known only of those it may meet in
//! what it follows or watches, and looked up for each ephemeral frame without asking anybody.

use alloc::collections::BTreeMap;

use schema_wire::UserId;

/// People, and what was last heard of each.
#[derive(Default)]
pub(crate) struct Apart {
    known: BTreeMap<UserId, Known>,
    /// There are more than may be kept.
    everybody: bool,
}

#[derive(Clone, Copy)]
struct Known {
    apart: bool,
    /// Of the question or the change that told it: what was asked earlier knows less.
    serial: u64,
}

impl Apart {
    /// Whether nothing ephemeral of that user may reach the session.
    pub(crate) fn from(&self, user: UserId) -> bool {
        self.everybody || self.known.get(&user).is_some_and(|known| known.apart)
    }

    /// The change log said it.
    pub(crate) fn heard(&mut self, user: UserId, apart: bool, serial: u64, bound: usize) {
        self.known.insert(user, Known { apart, serial });
        if self.known.len() > bound {
            self.known.retain(|_, known| known.apart);
        }
        if self.known.len() > bound {
            *self = Self { known: BTreeMap::new(), everybody: true };
        }
    }

    /// The store said it, asked under that serial.
    pub(crate) fn found(&mut self, users: &[UserId], serial: u64, bound: usize) {
        for user in users {
            if self.known.get(user).is_none_or(|known| known.serial < serial) {
                self.heard(*user, true, serial, bound);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: UserId = UserId([2; 16]);

    #[test]
    fn an_older_answer_does_not_undo_what_was_heard() {
        let mut apart = Apart::default();
        apart.found(&[BOB], 5, 8);
        assert!(apart.from(BOB));
        apart.heard(BOB, false, 9, 8);
        apart.found(&[BOB], 7, 8);
        assert!(!apart.from(BOB), "asked before the block ended");
        apart.found(&[BOB], 10, 8);
        assert!(apart.from(BOB));
    }

    #[test]
    fn beyond_the_bound_nobody_is_shown() {
        let mut apart = Apart::default();
        for n in 0..8 {
            apart.heard(UserId([n; 16]), false, 1, 4);
        }
        assert!(!apart.from(BOB), "those who are not apart are forgotten first");
        for n in 10..15 {
            apart.heard(UserId([n; 16]), true, 2, 4);
        }
        assert!(apart.from(BOB));
    }
}
