//! What lies in the archive of one server's log, and whether it hangs together.

use std::collections::BTreeMap;

use super::piece::{self, Piece, ROOT, Stretch};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::{LogFile, Lsn};

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
    (system, segment_bytes): (&str, u64),
    from: Lsn,
) -> Result<Archived, BackupError> {
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
        let mut previous = link.take().filter(|(_, of, _)| *of == timeline).map(|(_, _, hash)| hash);
        for stretch in &cover {
            let piece = piece::read(place, keys, system, stretch).await?;
            let follows = previous.as_ref().is_none_or(|hash| piece.previous == *hash);
            if !follows {
                return Err(broken("it does not follow the piece before it; one was exchanged or removed"));
            }
            piece::open(place, keys, &piece).await?;
            found.pieces += 1;
            found.bytes += piece.object.bytes;
            found.to = Some(Lsn(number * segment_bytes + piece.to));
            found.timeline = timeline;
            found.sealed_at = Some(piece.sealed_at);
            previous = Some(piece.object.sha256.clone());
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
    }
}
