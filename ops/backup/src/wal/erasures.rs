//! The erasure ledger beside the log, sealed whenever it grew: a restore to an earlier moment erases again also whom no base
//! backup knows of. It lies there as a file of the log does, so that rekeying and checking find it.

use std::collections::HashSet;

use schema_store::rows::backup::Erased;

use super::archive::Archive;
use super::piece::{self, Plain, Stretch};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::pipe::Sink;
use crate::place::Place;
use crate::run::{ledger, read_ledger};

/// Its name among the files of the log.
const FILE: &str = "erasures";

/// Whom the server is known to have erased; nobody when nothing is sealed.
pub async fn read(place: &Place, keys: &Keyring, system: &str) -> Result<Vec<Erased>, BackupError> {
    let archive = Archive::list_file(place, system, FILE).await?;
    let Some(newest) = archive.cover(FILE).into_iter().next() else { return Ok(Vec::new()) };
    let piece = piece::read(place, keys, system, &newest).await?;
    let mut text = Vec::new();
    piece::open(place, keys, &piece, Sink::Memory(&mut text)).await?;
    read_ledger(&text).ok_or_else(|| BackupError::Contents { name: newest.header(system) })
}

/// Seals who is not known yet together with who is; false when everybody is. A ledger only grows, so the longest is the
/// newest.
pub(super) async fn seal(
    place: &Place,
    keys: &Keyring,
    system: &str,
    present: Vec<Erased>,
) -> Result<bool, BackupError> {
    let mut all = read(place, keys, system).await?;
    let (known, before): (HashSet<_>, _) = (all.iter().map(|erased| erased.user.0).collect(), all.len());
    all.extend(present.into_iter().filter(|erased| !known.contains(&erased.user.0)));
    if all.len() == before {
        return Ok(false);
    }
    let text = ledger(&all);
    let stretch = Stretch { file: FILE.to_owned(), from: 0, to: text.len() as u64 };
    piece::write(place, keys.current(), (system, 0), stretch.clone(), "", Plain::Bytes(&text)).await?;
    for old in Archive::list_file(place, system, FILE).await?.stretches().filter(|old| **old != stretch) {
        place.delete(&old.header(system)).await?;
        place.delete(&old.path(system)).await?;
    }
    Ok(true)
}
