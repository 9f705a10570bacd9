//! Giving a file of the log back to a server that recovers.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::archive::{AGAIN, Archive, TRIES_MAX};
use super::piece;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::{Place, PlaceError};

/// Writes the file to `into`; false when the archive does not have it. What a segment's end lacks is zeros, at which
/// recovery ends.
pub async fn fetch(
    place: &Place,
    keys: &Keyring,
    system: &str,
    file: &str,
    into: &Path,
) -> Result<bool, BackupError> {
    let mut tried = 1;
    let content = loop {
        let read = read(place, keys, system, file).await;
        // Whoever follows the log may have merged pieces between the listing and the reading.
        let is_stale =
            matches!(read, Err(BackupError::Log { .. } | BackupError::Place(PlaceError::Missing { .. })));
        if !is_stale || tried == TRIES_MAX {
            break read?;
        }
        tried += 1;
        tokio::time::sleep(AGAIN).await;
    };
    let Some(content) = content else { return Ok(false) };
    write(into, &content).map_err(|why| BackupError::file(into, why))?;
    Ok(true)
}

/// Its pieces in their order, filled up with zeros.
async fn read(
    place: &Place,
    keys: &Keyring,
    system: &str,
    file: &str,
) -> Result<Option<Vec<u8>>, BackupError> {
    let archive = Archive::list_file(place, system, file).await?;
    let broken = |why: &str| {
        let (place, segment) = (place.to_string(), file.to_owned());
        BackupError::Log { place, segment, why: why.to_owned() }
    };
    if archive.has_gap(file) {
        return Err(broken("a piece in its middle is missing"));
    }
    let (mut content, mut bytes): (Vec<u8>, usize) = (Vec::new(), 0);
    let mut previous: Option<String> = None;
    let cover = archive.cover(file);
    for stretch in &cover {
        let piece = piece::read(place, keys, system, stretch).await?;
        if previous.is_some_and(|hash| piece.previous != hash) {
            return Err(broken("a piece of it does not follow the one before it"));
        }
        content.extend(piece::open(place, keys, &piece).await?);
        bytes = usize::try_from(piece.file_bytes).unwrap_or(0);
        content.reserve(bytes.saturating_sub(content.len()));
        previous = Some(piece.object.hash().to_owned());
    }
    content.resize(content.len().max(bytes), 0);
    Ok((!cover.is_empty()).then_some(content))
}

/// Whole or not at all.
fn write(into: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut aside = into.as_os_str().to_owned();
    aside.push(".fetched");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(aside, into)
}
