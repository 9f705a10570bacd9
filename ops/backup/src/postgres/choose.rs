//! Which backup a restore begins with, and along which timeline it goes on from there.

use super::restore::{Recovery, Until};
use super::{Base, Lsn};
use crate::catalogue::{self, LogEnd, Which};
use crate::error::BackupError;
use crate::manifest::{Engine, Manifest};
use crate::name::BackupName;
use crate::wal::{Archive, Branch};

/// Where a restore begins, and where it goes.
pub(super) struct Chosen {
    pub name: BackupName,
    pub manifest: Manifest,
    pub base: Base,
    /// The history that it follows.
    pub branch: Branch,
    /// The newest segment that is sealed of its timeline.
    pub sealed: Option<u64>,
    /// What was said to be sealed before that was looked for.
    pub said: Option<LogEnd>,
}

/// The newest backup from which the moment can be reached.
pub(super) async fn choose(recovery: &Recovery<'_>) -> Result<Chosen, BackupError> {
    if let Until::Backup(name) = recovery.until {
        let (name, manifest, base) = find(recovery, name).await?;
        // What came after it does not matter, whoever left its timeline.
        let branch = Branch::alone(base.timeline);
        return Ok(Chosen { name, manifest, base, branch, sealed: None, said: None });
    }
    let mut bases = Vec::new();
    let whole = catalogue::entries(recovery.place).await?.into_iter().rev().filter(|entry| entry.is_whole);
    for entry in whole {
        match find(recovery, entry.name).await {
            Ok(found) if is_before(recovery.until, &found.1, &found.2) => bases.push(found),
            Ok(_) => {}
            // Older ones count only if the log left the timeline of this one.
            Err(why) if !bases.is_empty() => tracing::debug!(%why, "an older backup cannot be read"),
            Err(why) => return Err(why),
        }
    }
    let Some((_, _, newest)) = bases.first().cloned() else { return Err(none(recovery)) };
    // First, as the log grows meanwhile.
    let said = catalogue::latest(recovery.place).await?.and_then(|latest| latest.log);
    let said = said.filter(|log| log.system == newest.system);
    let archive = Archive::list(recovery.place, &newest.system).await?;
    let mut timelines = archive.timelines(newest.segment_bytes);
    timelines.push(newest.timeline);
    timelines.sort_unstable_by(|a, b| b.cmp(a));
    timelines.dedup();
    bases.retain(|(_, _, base)| base.system == newest.system);
    let mut why_not = None;
    for timeline in timelines {
        let branch = Branch::sealed(recovery.place, recovery.keys, &newest.system, timeline).await?;
        match along(recovery, &archive, &bases, branch) {
            Ok(chosen) => return Ok(Chosen { said, ..chosen }),
            // The newest moment is that of the newest timeline, or none.
            Err(why) if recovery.until == Until::Latest => return Err(why),
            Err(why) => {
                tracing::warn!(%why, "looking at an earlier timeline");
                why_not.get_or_insert(why);
            }
        }
    }
    Err(why_not.unwrap_or_else(|| none(recovery)))
}

async fn find(
    recovery: &Recovery<'_>,
    name: BackupName,
) -> Result<(BackupName, Manifest, Base), BackupError> {
    let (name, manifest) = catalogue::find(recovery.place, Which::Named(name), recovery.keys).await?;
    match (manifest.engine, manifest.base.clone()) {
        (Engine::Postgres, Some(base)) => Ok((name, manifest, base)),
        _ => Err(BackupError::Target(format!(
            "{name}: not of PostgreSQL; restore it with --data and without DATABASE_URL"
        ))),
    }
}

fn is_before(until: Until, manifest: &Manifest, base: &Base) -> bool {
    match until {
        Until::Time(time) => manifest.finished_at <= time,
        Until::Lsn(lsn) => base.stop <= lsn,
        Until::Latest | Until::Backup(_) => true,
    }
}

fn none(recovery: &Recovery<'_>) -> BackupError {
    if recovery.until == Until::Latest {
        return BackupError::None { place: recovery.place.to_string() };
    }
    let why = "no backup is old enough for that moment; `messenger backup list` shows them";
    BackupError::Target(why.to_owned())
}

/// The newest of the backups, which are in order, that lies in this history, if the log goes on from it without a gap.
fn along(
    recovery: &Recovery<'_>,
    archive: &Archive,
    bases: &[(BackupName, Manifest, Base)],
    branch: Branch,
) -> Result<Chosen, BackupError> {
    let found = bases.iter().find(|(_, _, base)| branch.holds(base.timeline, base.stop));
    let Some((name, manifest, base)) = found else {
        let timeline = branch.timeline;
        let why = format!(
            "timeline {timeline} of the log goes on from no backup that is old enough; make one of the server, or name one of `messenger backup list` to have it alone"
        );
        return Err(BackupError::Target(why));
    };
    let bytes = base.segment_bytes.max(1);
    let sealed = archive.end_of(branch.timeline, bytes);
    // On one timeline recovery ends at a gap, which is seen afterwards. Across two PostgreSQL would go on along the one that
    // was left.
    if let Some(end) = sealed.filter(|_| base.timeline != branch.timeline) {
        let (first, end) = needed(base, &branch, recovery.until, end);
        if let Some(number) = archive.missing(&branch, first..=end, bytes) {
            let (place, segment) = (recovery.place.to_string(), branch.file_of(number, bytes));
            let before = Lsn(number * bytes);
            let why = format!("missing, and there are later ones; say --to-lsn {before} to do without them");
            return Err(BackupError::Log { place, segment, why });
        }
    }
    let (name, manifest, base) = (*name, manifest.clone(), base.clone());
    Ok(Chosen { name, manifest, base, branch, sealed, said: None })
}

/// The segments that are not in the copy, up to the moment.
fn needed(base: &Base, branch: &Branch, until: Until, sealed: u64) -> (u64, u64) {
    let (bytes, first) = (base.segment_bytes.max(1), branch.first_after(base));
    let end = match until {
        Until::Lsn(lsn) => sealed.min(lsn.0 / bytes),
        Until::Latest | Until::Time(_) | Until::Backup(_) => sealed,
    };
    (first, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_in_which_a_timeline_was_left_is_needed_as_the_next_one_has_it() {
        let bytes = 16 << 20;
        let base = |stop| Base {
            system: "7".to_owned(),
            version: 150_004,
            segment_bytes: bytes,
            timeline: 1,
            start: Lsn(3 * bytes),
            stop: Lsn(stop),
            user: "u".to_owned(),
            database: "d".to_owned(),
        };
        let branch = Branch::parse(2, "1\t0/5000300\tx\n");
        assert_eq!(needed(&base(3 * bytes + 9), &branch, Until::Latest, 9), (4, 9));
        assert_eq!(needed(&base(5 * bytes + 9), &branch, Until::Latest, 9), (5, 9));
        assert_eq!(needed(&base(3 * bytes), &branch, Until::Lsn(Lsn(4 * bytes + 1)), 9), (3, 4));
    }
}
