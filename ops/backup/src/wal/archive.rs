//! What lies in the archive of one server's log, and whether it hangs together.

use std::collections::BTreeMap;
use std::time::Duration;

use super::erasures;
use super::piece::{self, Piece, ROOT, Stretch};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::pipe::Sink;
use crate::place::{Place, PlaceError};
use crate::postgres::{LogFile, Lsn};

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

    /// Whether something of the file lies beyond what covers it.
    pub fn has_gap(&self, file: &str) -> bool {
        let end = self.cover(file).last().map_or(0, |last| last.to);
        self.files.get(file).is_some_and(|all| all.iter().any(|stretch| stretch.to > end))
    }

    /// The newest segment of the newest timeline; none when that has no segment yet.
    pub fn end(&self, bytes: u64) -> Option<u64> {
        let timeline = |name: &String| match LogFile::parse(name, bytes)? {
            LogFile::Segment { timeline, .. } | LogFile::History { timeline } => Some(timeline),
        };
        let newest = self.files.keys().filter_map(timeline).max()?;
        let segments = self.segments(bytes).into_iter().rev();
        segments
            .map(|(number, timeline, _)| (number, timeline))
            .find(|(_, of)| *of == newest)
            .map(|(number, _)| number)
    }

    /// The segment from which on none is missing up to the newest one.
    pub fn unbroken_from(&self, bytes: u64) -> Option<u64> {
        let mut numbers = self.segments(bytes).into_iter().rev().map(|(number, ..)| number);
        let mut from = numbers.next()?;
        for number in numbers {
            if number + 1 < from {
                break;
            }
            from = from.min(number);
        }
        Some(from)
    }

    /// Segments in the order in which they were written: by number, then timeline.
    pub fn segments(&self, bytes: u64) -> Vec<(u64, u32, String)> {
        let segment = |name: &String| match LogFile::parse(name, bytes)? {
            LogFile::Segment { number, timeline, .. } => Some((number, timeline, name.clone())),
            LogFile::History { .. } => None,
        };
        let mut found: Vec<_> = self.files.keys().filter_map(segment).collect();
        found.sort();
        found
    }
}

/// The newest piece of the newest segment; none when there is none.
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

/// Reads every piece from a position on: each is authentic, follows the one before it, and none is missing.
pub async fn check(
    place: &Place,
    keys: &Keyring,
    server: (&str, u64),
    from: Lsn,
) -> Result<Archived, BackupError> {
    // Whoever follows the log merges pieces meanwhile: what was listed may be another piece by now.
    for _ in 1..TRIES_MAX {
        match check_once(place, keys, server, from).await {
            Err(BackupError::Log { .. } | BackupError::Place(PlaceError::Missing { .. })) => {}
            checked => return checked,
        }
        tokio::time::sleep(AGAIN).await;
    }
    check_once(place, keys, server, from).await
}

async fn check_once(
    place: &Place,
    keys: &Keyring,
    (system, segment_bytes): (&str, u64),
    from: Lsn,
) -> Result<Archived, BackupError> {
    erasures::read(place, keys, system).await?;
    let archive = Archive::list(place, system).await?;
    let mut found = Archived { pieces: 0, bytes: 0, to: None, timeline: 0, sealed_at: None };
    let mut link: Option<(u64, u32, String)> = None;
    let first = from.0 / segment_bytes.max(1);
    let segments = archive.segments(segment_bytes);
    let head = segments.last().map(|(number, ..)| *number);
    for (number, timeline, file) in segments.into_iter().filter(|(number, ..)| *number >= first) {
        let broken = |why: &str| BackupError::Log {
            place: place.to_string(),
            segment: file.clone(),
            why: why.to_owned(),
        };
        let is_next = link
            .as_ref()
            .is_none_or(|(last, of, _)| number == last + 1 || (number == *last && timeline > *of));
        if !is_next {
            return Err(broken("the segment before it is missing; make a base backup"));
        }
        let cover = archive.cover(&file);
        if archive.has_gap(&file) {
            return Err(broken("a piece in its middle is missing; make a base backup"));
        }
        let mut previous = link.take().filter(|(_, of, _)| *of == timeline).map(|(_, _, hash)| hash);
        for stretch in &cover {
            let piece = piece::read(place, keys, system, stretch).await?;
            let follows = previous.as_ref().is_none_or(|hash| piece.previous == *hash);
            if !follows {
                return Err(broken("it does not follow the piece before it; one was exchanged or removed"));
            }
            piece::open(place, keys, &piece, Sink::Nowhere).await?;
            found.pieces += 1;
            found.bytes += piece.object.bytes;
            found.to = Some(Lsn(number * segment_bytes + piece.to));
            found.timeline = timeline;
            found.sealed_at = Some(piece.sealed_at);
            previous = Some(piece.object.hash().to_owned());
        }
        let last = cover.last().map_or(0, |stretch| stretch.to);
        if last < segment_bytes && head != Some(number) {
            return Err(broken("its end is missing, and there are later ones; make a base backup"));
        }
        link = previous.map(|hash| (number, timeline, hash));
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

    #[test]
    fn the_end_is_that_of_the_newest_timeline_and_gaps_are_seen() {
        let bytes = 16 << 20;
        let of = |names: &[&str]| {
            let whole = |file: &&str| {
                (file.to_string(), vec![Stretch { file: file.to_string(), from: 0, to: bytes }])
            };
            Archive { files: names.iter().map(whole).collect() }
        };
        let (one, two) = ("000000010000000000000005", "000000010000000000000006");
        assert_eq!(of(&[one, two]).end(bytes), Some(6));
        assert_eq!(of(&[one, two, "000000020000000000000005"]).end(bytes), Some(5));
        assert_eq!(of(&[one, two, "00000002.history"]).end(bytes), None);
        assert_eq!((of(&[]).end(bytes), of(&[]).unbroken_from(bytes)), (None, None));
        assert_eq!(of(&[one, two, "000000020000000000000006"]).unbroken_from(bytes), Some(5));
        assert_eq!(of(&["000000010000000000000003", one, two]).unbroken_from(bytes), Some(5));
    }
}
