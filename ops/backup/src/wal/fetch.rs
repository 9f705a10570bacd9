//! Giving a file of the log back to a server that recovers.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::archive::Archive;
use super::piece;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;

/// Writes the file to `into`; false when the archive does not have it. What a segment's end lacks is zeros, at which
/// recovery ends.
pub async fn fetch(
    place: &Place,
    keys: &Keyring,
    system: &str,
    file: &str,
    into: &Path,
) -> Result<bool, BackupError> {
    let archive = Archive::list_file(place, system, file).await?;
    let cover = archive.cover(file);
    let mut content = Vec::new();
    let mut previous: Option<String> = None;
    for stretch in &cover {
        let piece = piece::read(place, keys, system, stretch).await?;
        if previous.is_some_and(|hash| piece.previous != hash) {
            let why = "a piece of it does not follow the one before it".to_owned();
            return Err(BackupError::Log { place: place.to_string(), segment: file.to_owned(), why });
        }
        content.extend(piece::open(place, keys, &piece).await?);
        content.reserve(usize::try_from(piece.file_bytes).unwrap_or(0).saturating_sub(content.len()));
        if content.len() as u64 == piece.to && stretch == cover.last().unwrap_or(stretch) {
            content.resize(content.len().max(usize::try_from(piece.file_bytes).unwrap_or(0)), 0);
        }
        previous = Some(piece.object.sha256);
    }
    if cover.is_empty() {
        return Ok(false);
    }
    write(into, &content).map_err(|why| BackupError::file(into, why))?;
    Ok(true)
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
