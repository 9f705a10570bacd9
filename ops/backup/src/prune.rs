//! Pruning: removes whole backups that no retention rule keeps, and what interrupted ones left.

use jiff::Timestamp;

use crate::catalogue::{Entry, entries};
use crate::error::BackupError;
use crate::manifest::MANIFEST;
use crate::name::BackupName;
use crate::place::Place;
use crate::retain::{Retention, reckoned};

/// An interrupted backup may still be going on in another process for so long.
const INTERRUPTED_HOURS: i64 = 24;

/// What went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pruned {
    pub removed: Vec<BackupName>,
    pub interrupted: Vec<BackupName>,
    pub bytes: u64,
    pub kept: usize,
}

/// Prunes, or only says what it would remove.
pub async fn prune(
    place: &Place,
    retention: &Retention,
    now: Timestamp,
    only_say: bool,
) -> Result<Pruned, BackupError> {
    let (whole, interrupted): (Vec<Entry>, Vec<Entry>) =
        entries(place).await?.into_iter().partition(|entry| entry.is_whole);
    let names: Vec<BackupName> = whole.iter().map(|entry| entry.name).collect();
    let kept = retention.keep(reckoned(now, &names), &names);
    let mut pruned = Pruned { kept: kept.len(), ..Pruned::default() };
    let is_old = |entry: &Entry| now.as_second() - entry.name.time().as_second() > INTERRUPTED_HOURS * 3600;
    for entry in whole.iter().filter(|entry| !kept.contains(&entry.name)) {
        pruned.removed.push(entry.name);
        pruned.bytes += remove(place, entry, only_say).await?;
    }
    for entry in interrupted.iter().filter(|entry| is_old(entry)) {
        pruned.interrupted.push(entry.name);
        pruned.bytes += remove(place, entry, only_say).await?;
    }
    Ok(pruned)
}

/// The manifest first: a backup that loses anything is none.
async fn remove(place: &Place, entry: &Entry, only_say: bool) -> Result<u64, BackupError> {
    if !only_say {
        place.delete(&entry.name.path(MANIFEST)).await?;
        for object in &entry.objects {
            place.delete(&object.path).await?;
        }
    }
    Ok(entry.bytes())
}
