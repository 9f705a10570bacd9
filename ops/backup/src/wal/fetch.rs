//! Giving a file of the log back to a server that recovers.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::archive::{AGAIN, Archive, TRIES_MAX};
use super::piece;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::pipe::Sink;
use crate::place::{Place, PlaceError};

/// Zeros written at once.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Writes the file to `into`, whole or not at all; false when the archive does not have it, or less of it than lies beside
/// `into`. What a segment's end lacks is zeros, at which recovery ends.
pub async fn fetch(
    place: &Place,
    keys: &Keyring,
    system: &str,
    file: &str,
    into: &Path,
) -> Result<bool, BackupError> {
    let mut aside = into.as_os_str().to_owned();
    aside.push(".fetched");
    let aside = PathBuf::from(aside);
    let mut tried = 1;
    let collected = loop {
        let collected = collect(place, keys, system, file, &aside).await;
        // Whoever follows the log may have merged pieces between the listing and the reading.
        let is_stale = matches!(
            collected,
            Err(BackupError::Log { .. } | BackupError::Place(PlaceError::Missing { .. }))
        );
        if !is_stale || tried == TRIES_MAX {
            break collected;
        }
        tried += 1;
        tokio::time::sleep(AGAIN).await;
    };
    if collected.is_err() {
        // The server would not look at it.
        let _ = std::fs::remove_file(&aside);
    }
    if collected? {
        std::fs::rename(&aside, into).map_err(|why| BackupError::file(into, why))?;
        return Ok(true);
    }
    Ok(false)
}

/// Its pieces in their order, filled up with zeros; false when there are none, or when the server has more of it by itself.
async fn collect(
    place: &Place,
    keys: &Keyring,
    system: &str,
    file: &str,
    into: &Path,
) -> Result<bool, BackupError> {
    let archive = Archive::list_file(place, system, file).await?;
    let broken = |why: &str| {
        let (place, segment) = (place.to_string(), file.to_owned());
        BackupError::Log { place, segment, why: why.to_owned() }
    };
    let (mut pieces, mut previous) = (Vec::new(), None);
    for stretch in &archive.cover(file) {
        let piece = piece::read(place, keys, system, stretch).await?;
        if previous.is_some_and(|hash| piece.previous != hash) {
            return Err(broken("a piece of it does not follow the one before it"));
        }
        previous = Some(piece.object.hash().to_owned());
        pieces.push(piece);
    }
    let (end, bytes) = pieces.last().map_or((0, 0), |last| (last.to, last.file_bytes));
    if end < bytes && has_more(into, file, end)? {
        return Ok(false);
    }
    if archive.has_gap(file) {
        return Err(broken("a piece in its middle is missing"));
    }
    if pieces.is_empty() {
        return Ok(false);
    }
    let fail = |why| BackupError::file(into, why);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(into).map_err(fail)?;
    let written = tokio_uring::fs::File::from_std(opened.try_clone().map_err(fail)?);
    for piece in &pieces {
        piece::open(place, keys, piece, Sink::File { file: &written, path: into, at: piece.from }).await?;
    }
    fill(&opened, end, bytes).and_then(|()| opened.sync_all()).map_err(fail)?;
    Ok(true)
}

/// Whether the server's own file reaches further than what is sealed. It is of a base backup, which was made while nobody
/// followed the log; were it hidden, recovery would end before the copy is consistent.
fn has_more(into: &Path, file: &str, from: u64) -> Result<bool, BackupError> {
    let own = into.with_file_name(file);
    let fail = |why| BackupError::file(&own, why);
    let opened = match File::open(&own) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(fail)?,
    };
    let (mut block, mut at) = ([0; BLOCK_BYTES as usize], from);
    loop {
        let count = opened.read_at(&mut block, at).map_err(fail)?;
        if count == 0 {
            return Ok(false);
        }
        if block[..count].iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        at += count as u64;
    }
}

/// Zeros that take their room on the disk: the server may write there later.
fn fill(file: &File, from: u64, to: u64) -> std::io::Result<()> {
    let zeros = [0; BLOCK_BYTES as usize];
    let mut at = from;
    while at < to {
        let count = (to - at).min(BLOCK_BYTES);
        file.write_all_at(&zeros[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::MasterKey;
    use crate::place::{BucketAccess, Location};
    use crate::wal::piece::{Plain, Stretch, write};

    #[test]
    fn what_a_server_has_more_of_than_is_sealed_is_not_hidden_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::of(MasterKey::generate());
        let file = "000000010000000000000005";
        let (own, into) = (folder.path().join(file), folder.path().join("RECOVERYXLOG"));
        let fetched = crate::block_on(async {
            let location = Location::Folder(folder.path().join("place"));
            let place = Place::open(&location, &BucketAccess::default())?;
            let stretch = Stretch { file: file.to_owned(), from: 0, to: 3 };
            write(&place, keys.current(), ("7", 9), stretch, "", Plain::Bytes(b"abc")).await?;
            let mut fetched = Vec::new();
            for content in [None, Some(b"abc\0\0\0\0\0\0"), Some(b"abcdef\0\0\0")] {
                if let Some(content) = content {
                    std::fs::write(&own, content).unwrap();
                }
                fetched.push(fetch(&place, &keys, "7", file, &into).await?);
            }
            Ok(fetched)
        });
        assert_eq!(fetched.unwrap(), [true, true, false]);
        assert_eq!(std::fs::read(&into).unwrap(), b"abc\0\0\0\0\0\0");
    }
}
