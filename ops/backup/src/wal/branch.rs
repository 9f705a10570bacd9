//! A timeline and those that it came from: which stretch of each belongs to one history of a server. A restore or a failover
//! begins a timeline where it left the one before, also in the middle of what that one wrote.

use super::archive::Archive;
use super::piece;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::pipe::Sink;
use crate::place::Place;
use crate::postgres::{Base, LogFile, Lsn};

/// A timeline with its history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Branch {
    pub timeline: u32,
    /// Those before it, oldest first, and up to where each counts.
    pub before: Vec<(u32, Lsn)>,
}

impl Branch {
    /// A timeline of which nothing else is known, which is all there is to know of the first.
    pub fn alone(timeline: u32) -> Self {
        Self { timeline, before: Vec::new() }
    }

    /// Of the text of a history file; lines of people's remarks are skipped, as PostgreSQL does.
    pub fn parse(timeline: u32, text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let timeline = words.next()?.parse().ok()?;
            Some((timeline, words.next()?.parse().ok()?))
        };
        Self { timeline, before: text.lines().filter_map(line).collect() }
    }

    /// Of the history that is sealed; alone when none is.
    pub async fn sealed(
        place: &Place,
        keys: &Keyring,
        system: &str,
        timeline: u32,
    ) -> Result<Self, BackupError> {
        let file = LogFile::History { timeline }.to_string();
        let archive = Archive::list_file(place, system, &file).await?;
        let Some(stretch) = archive.cover(&file).into_iter().next() else {
            return Ok(Self::alone(timeline));
        };
        let piece = piece::read(place, keys, system, &stretch).await?;
        let mut text = Vec::new();
        piece::open(place, keys, &piece, Sink::Memory(&mut text)).await?;
        Ok(Self::parse(timeline, &String::from_utf8_lossy(&text)))
    }

    /// Up to where a timeline counts: for ever the own one, not at all one of another branch.
    pub fn end_of(&self, timeline: u32) -> Option<Lsn> {
        if timeline == self.timeline {
            return Some(Lsn(u64::MAX));
        }
        self.before.iter().find(|(of, _)| *of == timeline).map(|(_, end)| *end)
    }

    /// Whether the position of that timeline lies in this history.
    pub fn holds(&self, timeline: u32, at: Lsn) -> bool {
        self.end_of(timeline).is_some_and(|end| at <= end)
    }

    /// Of which timeline a recovery needs a segment: a new timeline begins with a copy of the segment that it left.
    pub fn timeline_of(&self, number: u64, bytes: u64) -> u32 {
        let goes_on = |(_, end): &&(u32, Lsn)| number < end.0 / bytes.max(1);
        self.before.iter().find(goes_on).map_or(self.timeline, |(of, _)| *of)
    }

    /// The first segment that a recovery from the backup needs of the log along this history: the copy has those before it,
    /// and its last one as its own timeline wrote it.
    pub fn first_after(&self, base: &Base) -> u64 {
        let bytes = base.segment_bytes.max(1);
        let last = base.stop.0 / bytes;
        let is_left = self.timeline_of(last, bytes) != base.timeline;
        if is_left { last } else { base.log_after().0 / bytes }
    }

    /// The name of that segment.
    pub fn file_of(&self, number: u64, bytes: u64) -> String {
        LogFile::Segment { number, timeline: self.timeline_of(number, bytes), bytes }.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 16 << 20;

    #[test]
    fn a_history_says_which_timeline_has_a_segment() {
        let text = "1\t0/5000300\tno recovery target specified\n\n# a remark\n2\t0/9000000\tbefore 2026\n";
        let branch = Branch::parse(3, text);
        assert_eq!(branch.before, [(1, Lsn(0x500_0300)), (2, Lsn(0x900_0000))]);
        let timelines: Vec<u32> = (4..11).map(|number| branch.timeline_of(number, BYTES)).collect();
        assert_eq!(timelines, [1, 2, 2, 2, 2, 3, 3]);
        assert_eq!(branch.file_of(5, BYTES), "000000020000000000000005");
        assert_eq!(Branch::alone(1).timeline_of(5, BYTES), 1);
    }

    #[test]
    fn what_a_timeline_wrote_after_it_was_left_is_of_another_branch() {
        let branch = Branch::parse(2, "1\t0/5000300\tx\n");
        for (timeline, at, is_held) in
            [(1, 0x500_0300, true), (1, 0x500_0301, false), (2, 0x900_0000, true), (3, 0x100_0000, false)]
        {
            assert_eq!(branch.holds(timeline, Lsn(at)), is_held, "{timeline} {at:x}");
        }
    }
}
