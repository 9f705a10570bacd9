//! Retention: which backups are kept, as a decision on times alone. Recent ones all, then the newest of each hour, day,
//! week and month for as long as the place keeps those.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::name::BackupName;

/// Hours for which every backup is kept.
const ALL_HOURS: i64 = 1;
/// Hours for which the newest of each hour is kept.
const HOURLY_HOURS: i64 = 24;

/// A pause between two backups that may as well be a clock that leapt.
const LEAP_HOURS: i64 = 7 * 24;
/// How long somebody has to see it before what lies beyond is believed.
const BELIEVED_HOURS: i64 = 24;

/// Up to when ages are counted: not beyond the newest backup, and for a day not beyond a leap. A clock that runs ahead
/// removes nothing.
pub fn reckoned(now: Timestamp, names: &[BackupName]) -> Timestamp {
    let mut newest_first: Vec<Timestamp> = names.iter().map(|name| name.time()).collect();
    newest_first.sort_unstable();
    newest_first.reverse();
    let Some(newest) = newest_first.first().copied() else { return now };
    let hours = |from: Timestamp, to: Timestamp| (to.as_second() - from.as_second()).div_euclid(3600);
    let leap = newest_first
        .windows(2)
        .take_while(|pair| hours(pair[0], newest) < BELIEVED_HOURS)
        .find(|pair| hours(pair[1], pair[0]) >= LEAP_HOURS);
    now.min(leap.map_or(newest, |pair| pair[1]))
}

/// How long a place keeps the newest of each day, week (from Monday) and month, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    pub days: i64,
    pub weeks: i64,
    pub months: i64,
}

impl Retention {
    /// Of a folder on the same machine.
    pub const LOCAL: Self = Self { days: 7, weeks: 0, months: 0 };
    /// Of a bucket.
    pub const BUCKET: Self = Self { days: 30, weeks: 12, months: 24 };

    /// Those to keep, among whole backups in any order. The newest is always one of them.
    pub fn keep(&self, now: Timestamp, names: &[BackupName]) -> Vec<BackupName> {
        let mut newest_first = names.to_vec();
        newest_first.sort_unstable();
        newest_first.reverse();
        let mut kept = Vec::new();
        let mut last: [Option<i64>; 4] = [None; 4];
        for name in newest_first {
            let periods = self.periods(now, name.time());
            let is_recent = now.as_second() - name.time().as_second() <= ALL_HOURS * 3600;
            let mut is_kept = is_recent || kept.is_empty();
            for (last, period) in last.iter_mut().zip(periods) {
                // The first one met of a period is its newest.
                if let Some(period) = period
                    && *last != Some(period)
                {
                    *last = Some(period);
                    is_kept = true;
                }
            }
            if is_kept {
                kept.push(name);
            }
        }
        kept
    }

    /// Number of its hour, day, week and month, of those that are still kept.
    fn periods(&self, now: Timestamp, time: Timestamp) -> [Option<i64>; 4] {
        let number = |time: Timestamp| {
            let date = time.to_zoned(TimeZone::UTC).date();
            let day = time.as_second().div_euclid(86_400);
            // Day 0 was a Thursday.
            [time.as_second().div_euclid(3600), day, (day + 3).div_euclid(7), month(date)]
        };
        let kept = [HOURLY_HOURS, self.days, self.weeks, self.months];
        let (now, time) = (number(now), number(time));
        std::array::from_fn(|at| (now[at] - time[at] < kept[at]).then_some(time[at]))
    }
}

fn month(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(second: i64) -> BackupName {
        BackupName::at(Timestamp::from_second(second).unwrap())
    }

    /// 2026-01-01 00:00 UTC.
    const START: i64 = 1_767_225_600;

    /// Three years of a backup every `step` seconds, pruned `every` so many: what is there each evening.
    fn live(
        retention: Retention,
        step: i64,
        every: usize,
        seen: &mut dyn FnMut(Timestamp, &BTreeSet<BackupName>),
    ) {
        let mut there = BTreeSet::new();
        let mut second = START;
        for n in 0.. {
            if second > START + 3 * 366 * 86_400 {
                break;
            }
            there.insert(at(second));
            let now = Timestamp::from_second(second).unwrap();
            if n % every == 0 {
                let all: Vec<BackupName> = there.iter().copied().collect();
                there = retention.keep(now, &all).into_iter().collect();
                seen(now, &there);
            }
            second += step;
        }
    }

    fn ages(now: Timestamp, there: &BTreeSet<BackupName>, within_days: i64) -> BTreeSet<i64> {
        let age = |name: &BackupName| {
            (now.as_second().div_euclid(86_400)) - name.time().as_second().div_euclid(86_400)
        };
        there.iter().map(age).filter(|age| *age < within_days).collect()
    }

    #[test]
    fn three_years_keep_every_promised_period_and_nothing_much_else() {
        let mut looked = 0;
        live(Retention::BUCKET, 3 * 3600 + 17, 3, &mut |now, there| {
            let lived_days = (now.as_second() - START) / 86_400;
            assert_eq!(ages(now, there, 30).len() as i64, (lived_days + 1).min(30), "one of each of 30 days");
            let weeks: BTreeSet<i64> =
                there.iter().map(|n| (n.time().as_second().div_euclid(86_400) + 3).div_euclid(7)).collect();
            assert!(weeks.len() as i64 >= (lived_days / 7).min(12), "one of each of 12 weeks");
            let months: BTreeSet<i64> =
                there.iter().map(|n| month(n.time().to_zoned(TimeZone::UTC).date())).collect();
            assert!(months.len() as i64 >= (lived_days / 31).min(24), "one of each of 24 months");
            assert!(there.len() <= 12 + 24 + 30 + 12 + 24 + 1, "{}", there.len());
            let oldest = there.first().unwrap().time();
            assert!(now.as_second() - oldest.as_second() < 25 * 31 * 86_400, "nothing beyond two years");
            looked += 1;
        });
        assert!(looked > 2_000);
    }

    #[test]
    fn a_folder_keeps_a_week() {
        live(Retention::LOCAL, 300, 1_000, &mut |now, there| {
            let lived_days = (now.as_second() - START) / 86_400;
            assert!(ages(now, there, 7).len() as i64 >= lived_days.min(7));
            assert!(there.len() <= 13 + 24 + 7, "{}", there.len());
            let oldest = there.first().unwrap().time();
            assert!(now.as_second() - oldest.as_second() < 8 * 86_400);
        });
    }

    #[test]
    fn pruning_often_or_seldom_ends_with_the_same() {
        let all: Vec<BackupName> = (0..5_000).map(|n| at(START + n * 7_300)).collect();
        let now = all.last().unwrap().time();
        let once: BTreeSet<BackupName> = Retention::BUCKET.keep(now, &all).into_iter().collect();
        let mut often = Vec::new();
        for name in &all {
            often.push(*name);
            often = Retention::BUCKET.keep(name.time(), &often);
        }
        assert_eq!(often.into_iter().collect::<BTreeSet<_>>(), once);
    }

    #[test]
    fn a_clock_that_runs_ahead_removes_nothing_for_a_day() {
        let all: Vec<BackupName> = (0..60).map(|day| at(START + day * 86_400)).collect();
        let newest = all.last().unwrap().time();
        let second = |second: i64| Timestamp::from_second(second).unwrap();
        let far = newest.as_second() + 400 * 86_400;
        assert_eq!(reckoned(second(far), &all), newest, "nothing was made under that clock");
        assert_eq!(reckoned(second(START), &all), second(START), "nor does one that runs behind");
        let mut leapt = all.clone();
        leapt.extend((0..20).map(|hour| at(far + hour * 3_600)));
        let kept = Retention::BUCKET.keep(reckoned(second(far + 20 * 3_600), &leapt), &leapt);
        assert!(all[30..].iter().all(|name| kept.contains(name)), "a day to see it");
        leapt.extend((20..30).map(|hour| at(far + hour * 3_600)));
        assert_eq!(
            reckoned(second(far + 30 * 3_600), &leapt),
            second(far + 29 * 3_600),
            "then it is believed"
        );
        assert_eq!(reckoned(second(START), &[]), second(START));
    }

    #[test]
    fn the_newest_stays_whatever_the_clock_says() {
        for now in [START - 86_400 * 400, START + 86_400 * 4_000] {
            let kept =
                Retention::LOCAL.keep(Timestamp::from_second(now).unwrap(), &[at(START), at(START - 60)]);
            assert!(kept.contains(&at(START)), "{now}");
        }
    }
}
