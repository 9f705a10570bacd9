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

/// Writes the file to `into`, whole or not at all; false when the archive does not have it. What a segment's end lacks is
/// zeros, at which recovery ends.
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

/// Its pieces in their order, filled up with zeros; false when there are none.
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
    if archive.has_gap(file) {
        return Err(broken("a piece in its middle is missing"));
    }
    let cover = archive.cover(file);
    if cover.is_empty() {
        return Ok(false);
    }
    let fail = |why| BackupError::file(into, why);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(into).map_err(fail)?;
    let written = tokio_uring::fs::File::from_std(opened.try_clone().map_err(fail)?);
    let (mut end, mut bytes) = (0, 0);
    let mut previous: Option<String> = None;
    for stretch in &cover {
        let piece = piece::read(place, keys, system, stretch).await?;
        if previous.is_some_and(|hash| piece.previous != hash) {
            return Err(broken("a piece of it does not follow the one before it"));
        }
        piece::open(place, keys, &piece, Sink::File { file: &written, path: into, at: stretch.from }).await?;
        (end, bytes) = (stretch.to, piece.file_bytes);
        previous = Some(piece.object.hash().to_owned());
    }
    fill(&opened, end, bytes).and_then(|()| opened.sync_all()).map_err(fail)?;
    Ok(true)
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
