//! What lies in the archive of one server's log, and whether it hangs together.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::branch::Branch;
use super::erasures;
use super::piece::{self, Piece, ROOT, Stretch};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::pipe::Sink;
use crate::place::{Place, PlaceError};
use crate::postgres::{Base, LogFile, Lsn};

/// How often a listing that did not hold is made again, and when.
pub(super) const TRIES_MAX: u32 = 3;
pub(super) const AGAIN: Duration = Duration::from_millis(200);

/// Everything of one server's log in a place, by file.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    files: BTreeMap<String, Vec<Stretch>>,
}

/// A checked stretch of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archived {
    pub pieces: usize,
    pub bytes: u64,
    /// End of what is sealed without a gap.
    pub to: Option<Lsn>,
    pub timeline: u32,
    /// When its last piece was sealed.
    pub sealed_at: Option<jiff::Timestamp>,
}

impl Archive {
    /// Lists it.
    pub async fn list(place: &Place, system: &str) -> Result<Self, BackupError> {
        Self::list_below(place, system, &format!("{ROOT}/{system}")).await
    }

    /// Lists what there is of one file.
    pub async fn list_file(place: &Place, system: &str, file: &str) -> Result<Self, BackupError> {
        Self::list_below(place, system, &format!("{ROOT}/{system}/{file}")).await
    }

    async fn list_below(place: &Place, system: &str, below: &str) -> Result<Self, BackupError> {
        let mut files: BTreeMap<String, Vec<Stretch>> = BTreeMap::new();
        for listed in place.list(below).await? {
            if let Some(stretch) = Stretch::of_header(&listed.path, system) {
                files.entry(stretch.file.clone()).or_default().push(stretch);
            }
        }
        Ok(Self { files })
    }

    /// All of it.
    pub fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        self.files.values().flatten()
    }

    /// The stretches that make up a file from its beginning, the longest ones first; what a merge left is skipped.
    pub fn cover(&self, file: &str) -> Vec<Stretch> {
        let all = self.files.get(file).map(Vec::as_slice).unwrap_or_default();
        let (mut covered, mut at) = (Vec::new(), 0);
        let next = |at: u64| all.iter().filter(|s| s.from == at && s.to > at).max_by_key(|s| s.to);
        while let Some(stretch) = next(at) {
            at = stretch.to;
            covered.push(stretch.clone());
        }
        covered
    }

    /// Whether the segment is covered to its end.
    pub fn is_whole(&self, file: &str, bytes: u64) -> bool {
        self.cover(file).last().is_some_and(|last| last.to >= bytes)
    }

    /// Whether something of the file lies beyond what covers it.
    pub fn has_gap(&self, file: &str) -> bool {
        let end = self.cover(file).last().map_or(0, |last| last.to);
        self.files.get(file).is_some_and(|all| all.iter().any(|stretch| stretch.to > end))
    }

    /// The timelines of which there is a segment, newest first.
    pub fn timelines(&self, bytes: u64) -> Vec<u32> {
        let mut found: Vec<u32> = self.segments(bytes).into_iter().map(|(timeline, ..)| timeline).collect();
        found.dedup();
        found.reverse();
        found
    }

    /// The newest segment of a timeline; none when that has no segment yet.
    pub fn end_of(&self, timeline: u32, bytes: u64) -> Option<u64> {
        let segments = self.segments(bytes).into_iter().rev();
        segments.map(|(of, number, _)| (of, number)).find(|(of, _)| *of == timeline).map(|(_, number)| number)
    }

    /// The segment from which on none is missing in this history up to the newest one, which is `head`.
    pub fn unbroken_from(&self, branch: &Branch, head: u64, bytes: u64) -> u64 {
        let mut from = head;
        while from > 0 && self.is_whole(&branch.file_of(from - 1, bytes), bytes) {
            from -= 1;
        }
        from
    }

    /// When the beginning of a file was sealed, or what it was merged into; for people, so that none is no failure.
    pub async fn sealed_at(
        &self,
        place: &Place,
        keys: &Keyring,
        system: &str,
        file: &str,
    ) -> Option<jiff::Timestamp> {
        let first = self.cover(file).into_iter().next()?;
        piece::read(place, keys, system, &first).await.ok().map(|piece| piece.sealed_at)
    }

    /// The first of these segments that is missing in this history, or whose end is; the last one may be in work.
    pub fn missing(&self, branch: &Branch, mut numbers: RangeInclusive<u64>, bytes: u64) -> Option<u64> {
        let last = *numbers.end();
        numbers.find(|number| {
            let file = branch.file_of(*number, bytes);
            if *number < last { !self.is_whole(&file, bytes) } else { self.cover(&file).is_empty() }
        })
    }

    /// Segments by timeline, then number: timelines are numbered in the order in which they began.
    fn segments(&self, bytes: u64) -> Vec<(u32, u64, String)> {
        let segment = |name: &String| match LogFile::parse(name, bytes)? {
            LogFile::Segment { number, timeline, .. } => Some((timeline, number, name.clone())),
            LogFile::History { .. } => None,
        };
        let mut found: Vec<_> = self.files.keys().filter_map(segment).collect();
        found.sort();
        found
    }
}

/// The newest piece of the newest segment of the newest timeline; none when there is none.
pub async fn newest(
    place: &Place,
    keys: &Keyring,
    system: &str,
    segment_bytes: u64,
) -> Result<Option<Piece>, BackupError> {
    let archive = Archive::list(place, system).await?;
    for (_, _, file) in archive.segments(segment_bytes).into_iter().rev() {
        if let Some(last) = archive.cover(&file).last() {
            return Ok(Some(piece::read(place, keys, system, last).await?));
        }
    }
    Ok(None)
}

/// Reads every piece that a recovery from this backup to the newest moment needs: each is authentic, follows the one before
/// it, and none is missing.
pub async fn check(place: &Place, keys: &Keyring, base: &Base) -> Result<Archived, BackupError> {
    // Whoever follows the log merges pieces meanwhile: what was listed may be another piece by now.
    for _ in 1..TRIES_MAX {
        match check_once(place, keys, base).await {
            Err(BackupError::Log { .. } | BackupError::Place(PlaceError::Missing { .. })) => {}
            checked => return checked,
        }
        tokio::time::sleep(AGAIN).await;
    }
    check_once(place, keys, base).await
}

/// The newest timeline that goes on from the backup.
async fn onward(
    place: &Place,
    keys: &Keyring,
    archive: &Archive,
    base: &Base,
) -> Result<Branch, BackupError> {
    for timeline in archive.timelines(base.segment_bytes) {
        let branch = Branch::sealed(place, keys, &base.system, timeline).await?;
        if branch.holds(base.timeline, base.stop) {
            return Ok(branch);
        }
    }
    Ok(Branch::alone(base.timeline))
}

async fn check_once(place: &Place, keys: &Keyring, base: &Base) -> Result<Archived, BackupError> {
    let (system, bytes) = (base.system.as_str(), base.segment_bytes.max(1));
    erasures::read(place, keys, system).await?;
    let archive = Archive::list(place, system).await?;
    let branch = onward(place, keys, &archive, base).await?;
    let mut found = Archived { pieces: 0, bytes: 0, to: None, timeline: branch.timeline, sealed_at: None };
    let mut link: Option<(u32, String)> = None;
    let Some(head) = archive.end_of(branch.timeline, bytes) else { return Ok(found) };
    let first = branch.first_after(base);
    for number in base.start.0 / bytes..=head {
        let (timeline, file) = (branch.timeline_of(number, bytes), branch.file_of(number, bytes));
        let broken = |why: &str| BackupError::Log {
            place: place.to_string(),
            segment: file.clone(),
            why: why.to_owned(),
        };
        let cover = archive.cover(&file);
        let is_whole = archive.is_whole(&file, bytes);
        // What lies before is in the copy, whether or not it was followed meanwhile.
        if number >= first && archive.has_gap(&file) {
            return Err(broken("a piece in its middle is missing; make a base backup"));
        }
        if number >= first && !is_whole && number < head {
            return Err(broken("it or its end is missing, and there are later ones; make a base backup"));
        }
        let mut previous = link.take().filter(|(of, _)| *of == timeline).map(|(_, hash)| hash);
        for stretch in &cover {
            let piece = piece::read(place, keys, system, stretch).await?;
            let follows = previous.as_ref().is_none_or(|hash| piece.previous == *hash);
            if !follows {
                return Err(broken("it does not follow the piece before it; one was exchanged or removed"));
            }
            piece::open(place, keys, &piece, Sink::Nowhere).await?;
            found.pieces += 1;
            found.bytes += piece.object.bytes;
            found.to = Some(Lsn(number * bytes + piece.to));
            found.sealed_at = Some(piece.sealed_at);
            previous = Some(piece.object.hash().to_owned());
        }
        link = previous.filter(|_| is_whole).map(|hash| (timeline, hash));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pieces_cover_a_file() {
        let stretch = |from, to| Stretch { file: "x".to_owned(), from, to };
        let files = [("x".to_owned(), vec![stretch(0, 5), stretch(5, 9), stretch(0, 9), stretch(9, 12)])];
        let archive = Archive { files: files.into() };
        assert_eq!(archive.cover("x"), [stretch(0, 9), stretch(9, 12)]);
        assert_eq!(archive.cover("y"), []);
        let gap = Archive { files: [("x".to_owned(), vec![stretch(0, 5), stretch(6, 9)])].into() };
        assert_eq!(gap.cover("x"), [stretch(0, 5)]);
        assert!(gap.has_gap("x") && !archive.has_gap("x") && !archive.has_gap("y"));
    }

    const BYTES: u64 = 16 << 20;

    fn of(names: &[&str]) -> Archive {
        let whole =
            |file: &&str| (file.to_string(), vec![Stretch { file: file.to_string(), from: 0, to: BYTES }]);
        Archive { files: names.iter().map(whole).collect() }
    }

    #[test]
    fn each_timeline_ends_on_its_own_and_gaps_are_seen() {
        let (one, two) = ("000000010000000000000005", "000000010000000000000006");
        let all = of(&[one, two, "000000020000000000000005", "00000003.history"]);
        assert_eq!(all.timelines(BYTES), [2, 1], "a history alone is no log");
        assert_eq!([1, 2, 3].map(|timeline| all.end_of(timeline, BYTES)), [Some(6), Some(5), None]);
        let alone = Branch::alone(1);
        assert_eq!(of(&[one, two]).unbroken_from(&alone, 6, BYTES), 5);
        assert_eq!(of(&["000000010000000000000003", one, two]).unbroken_from(&alone, 6, BYTES), 5);
        assert_eq!(of(&[two]).missing(&alone, 5..=6, BYTES), Some(5));
    }

    #[test]
    fn a_segment_whose_end_is_missing_is_missing_unless_it_is_the_newest() {
        let [one, two, three] = [5, 6, 7].map(|number| Branch::alone(1).file_of(number, BYTES));
        let (mut all, alone) = (of(&[&one, &two, &three]), Branch::alone(1));
        let mut cut = |file: &str| all.files.get_mut(file).unwrap()[0].to = 9;
        cut(&three);
        cut(&two);
        assert_eq!(all.unbroken_from(&alone, 7, BYTES), 7, "what is after it does not go on from it");
        assert_eq!(all.missing(&alone, 5..=7, BYTES), Some(6));
        assert_eq!((all.missing(&alone, 5..=6, BYTES), all.missing(&alone, 7..=7, BYTES)), (None, None));
        assert!(all.is_whole(&one, BYTES) && !all.is_whole(&two, BYTES) && !all.is_whole("else", BYTES));
    }

    #[test]
    fn what_another_branch_wrote_fills_no_gap() {
        let first: Vec<String> = (3..9).map(|number| Branch::alone(1).file_of(number, BYTES)).collect();
        let branch = Branch::parse(2, "1\t0/5000300\tx\n");
        let with = |more: &[&str]| {
            let mut names: Vec<&str> = first.iter().map(String::as_str).collect();
            names.extend(more);
            of(&names)
        };
        let (five, six) = ("000000020000000000000005", "000000020000000000000006");
        assert_eq!(with(&[five, six]).unbroken_from(&branch, 6, BYTES), 3);
        assert_eq!(with(&[five, six]).missing(&branch, 3..=6, BYTES), None);
        assert_eq!(with(&[six]).unbroken_from(&branch, 6, BYTES), 6);
        assert_eq!(with(&[six]).missing(&branch, 3..=6, BYTES), Some(5));
    }
}
