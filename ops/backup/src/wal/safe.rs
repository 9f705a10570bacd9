//! Since when all that the server made durable is known to be sealed.

use jiff::Timestamp;

use crate::postgres::Lsn;

/// How far the log was at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Look {
    pub at: Timestamp,
    pub timeline: u32,
    /// Up to where the server had made it durable.
    pub written: Lsn,
    /// Up to where it had been received, at least.
    pub received: Lsn,
    pub lag_bytes: u64,
}

/// The newest moment of which nothing is missing; while the receiver lags behind it stays where it is.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Safe {
    pub at: Option<Timestamp>,
    /// How far the server was at an earlier moment, until that is received.
    awaited: Option<(Lsn, Timestamp)>,
}

impl Safe {
    /// All that had been received at that look is sealed.
    pub fn sealed(&mut self, look: &Look) {
        if look.received >= look.written {
            (self.at, self.awaited) = (Some(look.at), None);
            return;
        }
        if let Some((position, at)) = self.awaited
            && look.received >= position
        {
            (self.at, self.awaited) = (Some(at), None);
        }
        self.awaited = self.awaited.or(Some((look.written, look.at)));
    }

    /// The log goes on from another place: what was awaited there never comes.
    pub fn turn(&mut self) {
        self.awaited = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_moment_follows_only_what_was_received() {
        let mut safe = Safe::default();
        let mut told = |at, written, received| {
            let (written, received) = (Lsn(written), Lsn(received));
            safe.sealed(&Look { at: second(at), timeline: 1, written, received, lag_bytes: 0 });
            safe.at.map(|at| at.as_second())
        };
        assert_eq!(told(1, 100, 100), Some(1), "an idle server stays fresh");
        assert_eq!(told(4, 100, 100), Some(4));
        assert_eq!(told(7, 900, 200), Some(4), "it is behind");
        assert_eq!(told(10, 2_000, 500), Some(4), "and stays behind");
        assert_eq!(told(13, 3_000, 900), Some(7), "as far as the server was then");
        assert_eq!(told(16, 3_500, 3_400), Some(13), "on a busy server it is a look behind");
        assert_eq!(told(19, 3_600, 3_600), Some(19));
    }

    #[test]
    fn who_never_received_all_knows_no_moment() {
        let mut safe = Safe::default();
        for at in 1..9 {
            let (written, received) = (Lsn(10_000), Lsn(1_000));
            safe.sealed(&Look { at: second(at), timeline: 1, written, received, lag_bytes: 9_000 });
        }
        assert_eq!(safe.at, None);
    }
}
