//! Which of the log goes: what no kept backup of the daily window needs to be rolled forward from.

use jiff::Timestamp;

use super::archive::Archive;
use crate::catalogue::{self, entries};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::name::BackupName;
use crate::place::Place;
use crate::postgres::{LogFile, Lsn};
use crate::retain::{Retention, reckoned};

/// What went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    pub pieces: usize,
    pub bytes: u64,
}

/// Removes what no kept backup of the last days, as many as the retention keeps daily ones of, can be rolled forward
/// from. Without such a backup everything stays.
pub async fn prune(
    place: &Place,
    keys: &Keyring,
    retention: &Retention,
    now: Timestamp,
    only_say: bool,
) -> Result<Dropped, BackupError> {
    let whole: Vec<BackupName> =
        entries(place).await?.into_iter().filter(|entry| entry.is_whole).map(|entry| entry.name).collect();
    let Some(oldest) = oldest_rolled(retention, reckoned(now, &whole), &whole) else {
        return Ok(Dropped::default());
    };
    let Some(base) = catalogue::manifest(place, oldest, keys).await?.base else {
        return Ok(Dropped::default());
    };
    drop_older(place, (&base.system, base.segment_bytes), base.start, only_say).await
}

/// The oldest kept backup of the daily window.
fn oldest_rolled(retention: &Retention, now: Timestamp, whole: &[BackupName]) -> Option<BackupName> {
    let in_window = |name: &BackupName| now.as_second() - name.time().as_second() <= retention.days * 86_400;
    let kept = retention.keep(now, whole);
    kept.iter().copied().filter(in_window).min().or_else(|| kept.into_iter().max())
}

/// Removes whole segments before the one of `oldest`, which is where the oldest backup that may be rolled forward begins.
/// Histories stay: they are small, and tell later timelines apart.
async fn drop_older(
    place: &Place,
    (system, segment_bytes): (&str, u64),
    oldest: Lsn,
    only_say: bool,
) -> Result<Dropped, BackupError> {
    let archive = Archive::list(place, system).await?;
    let mut dropped = Dropped::default();
    for stretch in archive.stretches() {
        if !is_older(&stretch.file, segment_bytes, oldest) {
            continue;
        }
        dropped.pieces += 1;
        dropped.bytes += stretch.to - stretch.from;
        if !only_say {
            // The header first: a piece without one is none.
            place.delete(&stretch.header(system)).await?;
            place.delete(&stretch.path(system)).await?;
        }
    }
    Ok(dropped)
}

fn is_older(file: &str, segment_bytes: u64, oldest: Lsn) -> bool {
    match LogFile::parse(file, segment_bytes) {
        Some(LogFile::Segment { number, .. }) => number < oldest.0 / segment_bytes.max(1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three years of a backup a day, pruned each day, with a log of 40 segments a day.
    #[test]
    fn every_kept_backup_of_the_window_can_be_rolled_forward_for_three_years() {
        let start = 1_767_225_600;
        let at = |day: i64| BackupName::at(Timestamp::from_second(start + day * 86_400).unwrap());
        let (mut there, mut log_from) = (Vec::new(), 0);
        for day in 0..3 * 366 {
            let now = Timestamp::from_second(start + day * 86_400 + 3_600).unwrap();
            there.push(at(day));
            there = Retention::BUCKET.keep(now, &there);
            let oldest = oldest_rolled(&Retention::BUCKET, now, &there).unwrap();
            let segment_of = |name: BackupName| (name.time().as_second() - start) / 86_400 * 40;
            log_from = log_from.max(segment_of(oldest));
            for name in &there {
                let age_days = (now.as_second() - name.time().as_second()) / 86_400;
                if age_days < Retention::BUCKET.days {
                    assert!(segment_of(*name) >= log_from, "day {day}: {name} lost its log");
                }
            }
            assert!(day * 40 - log_from <= 31 * 40, "and not much else stays");
        }
    }

    #[test]
    fn the_segment_in_which_a_backup_begins_stays() {
        let bytes = 16 << 20;
        let oldest = Lsn(5 * bytes + 40);
        for (file, is_gone) in [
            ("000000010000000000000004", true),
            ("000000010000000000000005", false),
            ("000000020000000000000006", false),
            ("00000002.history", false),
            ("else", false),
        ] {
            assert_eq!(is_older(file, bytes, oldest), is_gone, "{file}");
        }
    }
}
