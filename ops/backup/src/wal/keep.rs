//! Which of the log goes: what no kept backup of the daily window needs to be rolled forward from.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::archive::Archive;
use super::branch::Branch;
use crate::catalogue::{self, entries};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::name::BackupName;
use crate::place::Place;
use crate::postgres::{Base, LogFile, Lsn};
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
    let mut bases = Vec::new();
    for name in rolled(retention, reckoned(now, &whole), &whole) {
        bases.extend(catalogue::manifest(place, name, keys).await?.base);
    }
    let kept = BTreeSet::from_iter(retention.keep(reckoned(now, &whole), &whole));
    for base in one_of_each(&bases) {
        bases.extend(below_newest(place, keys, &base, &bases, &kept).await?);
    }
    let mut dropped = Dropped::default();
    for ((system, segment_bytes), oldest) in oldest_of_each(&bases) {
        let of = drop_older(place, (system, segment_bytes), oldest, only_say).await?;
        dropped.pieces += of.pieces;
        dropped.bytes += of.bytes;
    }
    Ok(dropped)
}

/// The kept backups of the daily window; the newest when none is of it.
fn rolled(retention: &Retention, now: Timestamp, whole: &[BackupName]) -> Vec<BackupName> {
    let in_window = |name: &BackupName| now.as_second() - name.time().as_second() <= retention.days * 86_400;
    let kept = retention.keep(now, whole);
    let newest = kept.iter().copied().max();
    let rolled: Vec<BackupName> = kept.into_iter().filter(in_window).collect();
    if rolled.is_empty() { newest.into_iter().collect() } else { rolled }
}

/// A backup of each server.
fn one_of_each(bases: &[Base]) -> Vec<Base> {
    let by_server: BTreeMap<_, _> = bases.iter().map(|base| (&base.system, base)).collect();
    by_server.into_values().cloned().collect()
}

/// The backup that the newest timeline of the server's log goes on from, if none of these is of its history: one that is
/// older than the daily window was restored. Until there is a new one, a restore to the newest moment begins with it.
async fn below_newest(
    place: &Place,
    keys: &Keyring,
    of: &Base,
    bases: &[Base],
    kept: &BTreeSet<BackupName>,
) -> Result<Option<Base>, BackupError> {
    let archive = Archive::list(place, &of.system).await?;
    let Some(newest) = archive.timelines(of.segment_bytes).first().copied() else { return Ok(None) };
    let branch = Branch::sealed(place, keys, &of.system, newest).await?;
    let is_below = |base: &Base| base.system == of.system && branch.holds(base.timeline, base.stop);
    if bases.iter().any(is_below) {
        return Ok(None);
    }
    for name in kept.iter().rev() {
        let base = catalogue::manifest(place, *name, keys).await?.base;
        if let Some(base) = base.filter(is_below) {
            return Ok(Some(base));
        }
    }
    Ok(None)
}

/// Where the log of each server is needed from. A restore to an earlier moment begins there again, so that the oldest
/// backup need not be the one that begins first.
fn oldest_of_each(bases: &[Base]) -> BTreeMap<(&str, u64), Lsn> {
    let mut oldest = BTreeMap::new();
    for base in bases {
        let of = oldest.entry((base.system.as_str(), base.segment_bytes)).or_insert(base.start);
        *of = base.start.min(*of);
    }
    oldest
}

/// Removes whole segments before the one of `oldest`, from which on a backup may be rolled forward.
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
    use crate::key::MasterKey;
    use crate::manifest::{Engine, Holds, MANIFEST, Manifest, Object};
    use crate::pipe::seal_bytes;
    use crate::place::{BucketAccess, Location};
    use crate::wal::piece::{Plain, Stretch, write};

    /// The segment in which the backup of a day begins: 40 a day, and every 50 days a restore that goes back 20 days.
    fn segment_of(day: i64) -> u64 {
        (day * 40 - (day / 50) * 800 + 100_000).try_into().unwrap()
    }

    fn base(segment: u64) -> Base {
        let (bytes, start) = (16 << 20, Lsn(segment * (16 << 20) + 40));
        Base {
            system: "7".to_owned(),
            version: 150_004,
            segment_bytes: bytes,
            timeline: 1,
            start,
            stop: start,
            user: "u".to_owned(),
            database: "d".to_owned(),
        }
    }

    /// Three years of a backup a day, pruned each day.
    #[test]
    fn every_kept_backup_of_the_window_can_be_rolled_forward_for_three_years_of_restores() {
        let start = 1_767_225_600;
        let at = |day: i64| BackupName::at(Timestamp::from_second(start + day * 86_400).unwrap());
        let of = |name: BackupName| segment_of((name.time().as_second() - start) / 86_400);
        let mut there = Vec::new();
        for day in 0..3 * 366 {
            let now = Timestamp::from_second(start + day * 86_400 + 3_600).unwrap();
            there.push(at(day));
            there = Retention::BUCKET.keep(now, &there);
            let bases: Vec<Base> =
                rolled(&Retention::BUCKET, now, &there).into_iter().map(|name| base(of(name))).collect();
            let oldest = oldest_of_each(&bases)[&("7", 16 << 20)];
            let is_gone = |segment: u64| {
                let file = LogFile::Segment { number: segment, timeline: 1, bytes: 16 << 20 };
                is_older(&file.to_string(), 16 << 20, oldest)
            };
            for name in &there {
                let age_days = (now.as_second() - name.time().as_second()) / 86_400;
                if age_days < Retention::BUCKET.days {
                    assert!(!is_gone(of(*name)), "day {day}: {name} lost its log");
                }
            }
            assert!(is_gone(segment_of(day) - 51 * 40), "day {day}: and not much else stays");
        }
    }

    /// Restored to a backup from before the daily window, a server writes in front of all that the window's backups need.
    #[test]
    fn what_follows_a_restore_of_an_old_backup_stays_until_there_is_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::of(MasterKey::generate());
        let start = Timestamp::from_second(1_767_225_600).unwrap();
        let after = |days: i64| Timestamp::from_second(start.as_second() + days * 86_400).unwrap();
        let bytes = 16 << 20;
        let file = |timeline, number| LogFile::Segment { number, timeline, bytes }.to_string();
        let history = format!("1\t{}\trestored\n", Lsn(101 * bytes));
        let left = crate::block_on(async {
            let location = Location::Folder(folder.path().join("place"));
            let place = Place::open(&location, &BucketAccess::default())?;
            let seal = async |file: String, plain: &[u8]| {
                let stretch = Stretch { file, from: 0, to: plain.len() as u64 };
                write(&place, keys.current(), ("7", bytes), stretch, "", Plain::Bytes(plain)).await
            };
            let holds = || Holds {
                schema: 1,
                generation: 1,
                audit_id: 0,
                audit_hash: String::new(),
                users: 0,
                conversations: 0,
                messages: 0,
            };
            let back_up = async |days: i64, base: Base| {
                let name = BackupName::at(after(days));
                let (sealed, _) = seal_bytes(&place, &name.path("base.0000"), keys.current(), b"x").await?;
                let object = Object::new("base.0000".to_owned(), &sealed);
                let erasures = Object::new("erasures".to_owned(), &sealed);
                let manifest = Manifest::new(name, Engine::Postgres, holds(), vec![object], erasures);
                let document = manifest.with_base(base).sign(keys.current());
                place.create(&name.path(MANIFEST), &document).await?;
                Ok::<_, BackupError>(())
            };
            back_up(0, base(100)).await?;
            for days in 170..=200 {
                back_up(days, base(9_000)).await?;
            }
            for (timeline, number) in [(1, 99), (1, 9_000), (2, 101), (2, 102)] {
                seal(file(timeline, number), b"log").await?;
            }
            seal("00000002.history".to_owned(), history.as_bytes()).await?;
            let retention = Retention::BUCKET;
            let mut left = Vec::new();
            for _ in 0..2 {
                prune(&place, &keys, &retention, after(203), false).await?;
                let archive = Archive::list(&place, "7").await?;
                left.push(archive.stretches().map(|stretch| stretch.file.clone()).collect::<Vec<_>>());
                back_up(202, Base { timeline: 2, ..base(102) }).await?;
            }
            Ok(left)
        });
        let all = [file(1, 9_000), file(2, 101), file(2, 102), "00000002.history".to_owned()];
        let left: Vec<BTreeSet<String>> = left.unwrap().into_iter().map(BTreeSet::from_iter).collect();
        assert_eq!(left[0], BTreeSet::from(all.clone()), "it is all there is of the new timeline");
        assert_eq!(left[1], &BTreeSet::from(all) - &BTreeSet::from([file(2, 101)]), "a new one begins later");
    }

    #[test]
    fn each_server_keeps_from_where_its_own_backups_begin() {
        let other = Base { system: "8".to_owned(), ..base(3) };
        let bases = [base(500), base(300), other, base(400)];
        let oldest: Vec<_> = oldest_of_each(&bases).into_iter().collect();
        assert_eq!(oldest, [(("7", 16 << 20), base(300).start), (("8", 16 << 20), base(3).start)]);
        let day = |day: i64| BackupName::at(Timestamp::from_second(1_767_225_600 + day * 86_400).unwrap());
        let later = day(400).time();
        assert_eq!(rolled(&Retention::LOCAL, later, &[day(1), day(2)]), [day(2)], "the newest at least");
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
