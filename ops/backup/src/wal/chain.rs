//! The chain of sealed pieces of one server's log: up to where it reaches, from where on nothing is missing.

use jiff::Timestamp;

use super::archive::{Archive, newest};
use super::branch::Branch;
use super::piece::{self, Stretch};
use crate::catalogue::LogEnd;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::{LogFile, Lsn};

/// Up to where the chain of pieces reaches.
pub(super) struct Chain {
    pub system: String,
    /// The newest segment there is something of.
    pub at: Option<(u64, u32)>,
    /// The timeline of that, and what it came from.
    pub branch: Branch,
    /// The segment from which on none is missing.
    pub from: u64,
    /// When the first of it was sealed.
    pub since: Option<Timestamp>,
    /// How far it is sealed.
    pub to: u64,
    pub pieces: Vec<Stretch>,
    /// Those that another one has taken the place of, which are still there.
    pub old: Vec<Stretch>,
    /// Hash of the piece before this segment.
    pub before: String,
    /// Hash of the newest piece.
    pub last: String,
}

impl Chain {
    /// Where an earlier process ended.
    pub async fn find(place: &Place, keys: &Keyring, system: &str, bytes: u64) -> Result<Self, BackupError> {
        let mut chain = Self {
            system: system.to_owned(),
            at: None,
            branch: Branch::alone(0),
            from: 0,
            since: None,
            to: 0,
            pieces: Vec::new(),
            old: Vec::new(),
            before: String::new(),
            last: String::new(),
        };
        let Some(newest) = newest(place, keys, system, bytes).await? else { return Ok(chain) };
        let Some(LogFile::Segment { number, timeline, .. }) = LogFile::parse(&newest.file, bytes) else {
            return Ok(chain);
        };
        let cover = Archive::list_file(place, system, &newest.file).await?.cover(&newest.file);
        if let Some(first) = cover.first() {
            chain.before = piece::read(place, keys, system, first).await?.previous;
        }
        chain.branch = Branch::sealed(place, keys, system, timeline).await?;
        let archive = Archive::list(place, system).await?;
        chain.from = archive.unbroken_from(&chain.branch, number, bytes);
        let first = chain.branch.file_of(chain.from, bytes);
        chain.since = archive.sealed_at(place, keys, system, &first).await;
        (chain.at, chain.to, chain.pieces) = (Some((number, timeline)), newest.to, cover);
        chain.last = newest.object.hash().to_owned();
        Ok(chain)
    }

    pub fn end(&self, segment_bytes: u64, at: jiff::Timestamp, lag_bytes: u64) -> Option<LogEnd> {
        let (number, timeline) = self.at?;
        let to = Lsn(number * segment_bytes + self.to);
        let from = Some(Lsn(self.from * segment_bytes));
        let before = self.branch.before.clone();
        let since = self.since;
        Some(LogEnd { system: self.system.clone(), timeline, before, from, since, to, at, lag_bytes })
    }

    /// Whether the segment of a position of that timeline is sealed up to where it came.
    pub fn has_come_to(&self, timeline: u32, position: Lsn, bytes: u64) -> bool {
        self.at.is_some_and(|(number, of)| {
            of == timeline && number >= position.0.saturating_sub(1) / bytes.max(1)
        })
    }

    /// Whether a timeline begins with the next segment that is of it.
    pub fn begins(&self, timeline: u32) -> bool {
        self.at.is_none_or(|(_, of)| timeline > of)
    }

    /// Whether the log has gone on from a timeline to a later one.
    pub fn is_past(&self, timeline: u32) -> bool {
        self.at.is_some_and(|(_, of)| timeline < of)
    }

    /// A timeline has begun: of what was sealed before, what it came from counts.
    pub fn turn(&mut self, branch: Branch, from: u64, since: Option<Timestamp>) {
        (self.branch, self.from, self.since) = (branch, from, since);
    }

    /// Makes this segment the newest one; false when it lies before it. A later timeline goes on wherever it left the
    /// one before, also at an earlier segment.
    pub fn reach(&mut self, number: u64, timeline: u32, bytes: u64) -> bool {
        let Some((last, of)) = self.at else {
            (self.at, self.from, self.since) = (Some((number, timeline)), number, None);
            return true;
        };
        if (timeline, number) <= (of, last) {
            return (timeline, number) == (of, last);
        }
        let follows = number == last + 1 && timeline == of && self.to == bytes;
        if !follows {
            (self.from, self.since) = (number, None);
        }
        if !follows && timeline == of {
            tracing::error!("the log has a gap before segment {number}; make a base backup now");
        }
        self.before = if follows { self.last.clone() } else { String::new() };
        (self.at, self.to, self.last) = (Some((number, timeline)), 0, self.before.clone());
        self.pieces.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 16 << 20;

    fn chain(number: u64, timeline: u32) -> Chain {
        Chain {
            system: "7".to_owned(),
            at: Some((number, timeline)),
            branch: Branch::alone(timeline),
            from: 3,
            since: Some(Timestamp::UNIX_EPOCH),
            to: BYTES,
            pieces: Vec::new(),
            old: Vec::new(),
            before: String::new(),
            last: "hash".to_owned(),
        }
    }

    #[test]
    fn a_later_timeline_is_newer_wherever_it_begins() {
        let mut chain = chain(50, 1);
        assert!(!chain.reach(49, 1, BYTES) && chain.reach(50, 1, BYTES), "the first goes on");
        assert!(chain.begins(2) && !chain.begins(1));
        assert!(chain.reach(5, 2, BYTES));
        assert_eq!((chain.at, chain.to, chain.before.as_str()), (Some((5, 2)), 0, ""));
        assert!(!chain.reach(51, 1, BYTES) && chain.reach(6, 2, BYTES), "and is left");
    }

    #[test]
    fn a_segment_that_follows_keeps_the_chain_and_one_that_does_not_breaks_it() {
        let mut chain = chain(50, 1);
        assert!(chain.reach(51, 1, BYTES));
        assert_eq!((chain.from, chain.before.as_str()), (3, "hash"));
        assert!(chain.since.is_some(), "unbroken since then");
        assert!(chain.reach(53, 1, BYTES));
        assert_eq!((chain.from, chain.since, chain.before.as_str()), (53, None, ""));
        assert!(
            chain.has_come_to(1, Lsn(54 * BYTES), BYTES) && !chain.has_come_to(1, Lsn(54 * BYTES + 1), BYTES)
        );
        assert!(!chain.has_come_to(2, Lsn(1), BYTES));
    }
}
