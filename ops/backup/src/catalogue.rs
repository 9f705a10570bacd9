//! What lies in a place: which backups are whole, which were interrupted, which is the newest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::BackupError;
use crate::hex;
use crate::key::Keyring;
use crate::manifest::{MANIFEST, MANIFEST_BYTES_MAX, Manifest};
use crate::name::{BackupName, ROOT};
use crate::place::{Listed, Place, Version};
use crate::postgres::{Base, Lsn};
use crate::wal::Branch;

/// The document that names the newest backup, for people and for monitoring. Restoring does not rely on it.
pub const LATEST: &str = "latest.json";
/// Largest such document.
const LATEST_BYTES_MAX: usize = 64 * 1024;
/// How often two writers may cross before one gives up.
const TRIES_MAX: usize = 8;

/// A backup as the listing shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub name: BackupName,
    /// Whether its manifest, which is written last, is there.
    pub is_whole: bool,
    pub objects: Vec<Listed>,
}

impl Entry {
    /// Bytes of all its objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }
}

/// What may stand after a name, as instructions for dumps print it.
const ENDS: [&str; 7] = [".gpg", ".enc", ".gz", ".zst", ".sql", ".dump", ".tar"];

/// Which backup is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    Latest,
    Named(BackupName),
}

impl std::str::FromStr for Which {
    type Err = crate::name::NotAName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut name = text;
        while let Some(shorter) = ENDS.iter().find_map(|end| name.strip_suffix(end)) {
            name = shorter;
        }
        if text == "latest" { Ok(Self::Latest) } else { name.parse().map(Self::Named) }
    }
}

/// All backups, oldest first.
pub async fn entries(place: &Place) -> Result<Vec<Entry>, BackupError> {
    let mut found: BTreeMap<BackupName, Vec<Listed>> = BTreeMap::new();
    for object in place.list(ROOT).await? {
        if let Some(name) = BackupName::of_path(&object.path) {
            found.entry(name).or_default().push(object);
        }
    }
    let entry = |(name, objects): (BackupName, Vec<Listed>)| {
        let is_whole = objects.iter().any(|object| object.path == name.path(MANIFEST));
        Entry { name, is_whole, objects }
    };
    Ok(found.into_iter().map(entry).collect())
}

/// Reads and checks a manifest.
pub async fn manifest(place: &Place, name: BackupName, keys: &Keyring) -> Result<Manifest, BackupError> {
    let found = place.get(&name.path(MANIFEST), MANIFEST_BYTES_MAX).await?;
    let (document, _) = found.ok_or_else(|| BackupError::NoSuch { name: name.to_string() })?;
    let read = Manifest::read(&document, name, keys);
    read.map_err(|why| BackupError::Manifest { name: name.to_string(), why })
}

/// The backup meant, with its manifest.
pub async fn find(
    place: &Place,
    which: Which,
    keys: &Keyring,
) -> Result<(BackupName, Manifest), BackupError> {
    let name = match which {
        Which::Named(name) => name,
        Which::Latest => {
            let newest = entries(place).await?.into_iter().rev().find(|entry| entry.is_whole);
            newest.ok_or_else(|| BackupError::None { place: place.to_string() })?.name
        }
    };
    Ok((name, manifest(place, name, keys).await?))
}

/// `latest.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Latest {
    pub name: String,
    pub manifest: String,
    pub manifest_sha256: String,
    pub finished_at: jiff::Timestamp,
    pub bytes: u64,
    pub generation: u32,
    pub audit_id: u64,
    pub audit_hash: String,
    /// Of PostgreSQL: where in its log the backup ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Lsn>,
    /// Of PostgreSQL: the position from which on the copy is consistent, and of which timeline that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<(u32, Lsn)>,
    /// Of PostgreSQL: up to where its log is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogEnd>,
}

/// Up to where a server's log is sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogEnd {
    pub system: String,
    pub timeline: u32,
    /// The timelines that it came from, oldest first, and up to where each counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<(u32, Lsn)>,
    /// From where on nothing is missing.
    #[serde(default)]
    pub from: Option<Lsn>,
    /// When that was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
    pub to: Lsn,
    /// All that the server had made durable by then is sealed.
    pub at: jiff::Timestamp,
    /// Bytes that the server had written then and that had not arrived.
    pub lag_bytes: u64,
}

impl LogEnd {
    /// Says so in `latest.json`; false while there is no backup that the log continues.
    pub async fn publish(&self, place: &Place) -> Result<bool, BackupError> {
        for _ in 0..TRIES_MAX {
            let Some((present, version)) = place.get(LATEST, LATEST_BYTES_MAX).await? else {
                return Ok(false);
            };
            let Ok(present) = serde_json::from_slice::<Latest>(&present) else { return Ok(false) };
            let latest = Latest { log: Some(self.clone()), ..present };
            let document = serde_json::to_vec_pretty(&latest).expect("it is JSON");
            if place.replace(LATEST, &document, &version).await? {
                return Ok(latest.followed().is_some());
            }
        }
        Err(BackupError::Busy { folder: place.to_string() })
    }
}

impl Latest {
    /// The log, when it goes on where the backup ends: one that begins later, or whose timeline left that of the backup
    /// before its end, cannot be put on top of it.
    pub fn followed(&self) -> Option<&LogEnd> {
        self.log.as_ref().filter(|log| {
            let branch = Branch { timeline: log.timeline, before: log.before.clone() };
            self.ends.is_none_or(|ends| log.from.is_none_or(|from| from <= ends))
                && self.stop.is_none_or(|(timeline, stop)| branch.holds(timeline, stop))
        })
    }
}

/// Reads `latest.json`: not authentic, for people and monitoring.
pub async fn latest(place: &Place) -> Result<Option<Latest>, BackupError> {
    let found = place.get(LATEST, LATEST_BYTES_MAX).await?;
    Ok(found.and_then(|(document, _)| serde_json::from_slice(&document).ok()))
}

impl Latest {
    /// Says of a backup that it is the newest.
    pub fn of(name: BackupName, manifest: &Manifest, document: &[u8]) -> Self {
        Self {
            name: name.to_string(),
            manifest: name.path(MANIFEST),
            manifest_sha256: hex::encode(&Sha256::digest(document)),
            finished_at: manifest.finished_at,
            bytes: manifest.bytes(),
            generation: manifest.holds.generation,
            audit_id: manifest.holds.audit_id,
            audit_hash: manifest.holds.audit_hash.clone(),
            ends: manifest.base.as_ref().map(Base::log_after),
            stop: manifest.base.as_ref().map(|base| (base.timeline, base.stop)),
            log: None,
        }
    }

    /// Replaces `latest.json` unless it names a newer backup.
    pub async fn publish(&self, place: &Place) -> Result<(), BackupError> {
        for _ in 0..TRIES_MAX {
            let mut log = None;
            let expected = match place.get(LATEST, LATEST_BYTES_MAX).await? {
                None => Version::Absent,
                Some((present, version)) => {
                    // What is none of ours is replaced. When the answer was lost, a second request finds what the first
                    // one wrote.
                    if let Ok(present) = serde_json::from_slice::<Self>(&present) {
                        if present.name > self.name || present.manifest_sha256 == self.manifest_sha256 {
                            return Ok(());
                        }
                        log = present.log;
                    }
                    version
                }
            };
            let latest = Self { log, ..self.clone() };
            let document = serde_json::to_vec_pretty(&latest).expect("it is JSON");
            if place.replace(LATEST, &document, &expected).await? {
                return Ok(());
            }
        }
        Err(BackupError::Busy { folder: place.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latest(more: serde_json::Value, log: serde_json::Value) -> Latest {
        let mut document = serde_json::json!({
            "name": "x", "manifest": "x", "manifest_sha256": "", "finished_at": "2026-01-01T00:00:00Z", "bytes": 1,
            "generation": 1, "audit_id": 1, "audit_hash": "",
            "log": {"system": "7", "timeline": 1, "to": "0/5000000", "at": "2026-01-01T00:00:00Z", "lag_bytes": 0},
        });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document["log"].as_object_mut().unwrap().extend(log.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn a_name_may_be_followed_by_the_end_of_a_file() {
        let which = |text: &str| text.parse::<Which>();
        let named = which("secure-messenger_20241204_120000").unwrap();
        for end in [".sql.gz.gpg", ".sql.gz", ".dump", ".tar.zst.enc"] {
            assert_eq!(which(&format!("secure-messenger_20241204_120000{end}")), Ok(named), "{end}");
        }
        for bad in ["latest.sql", ".sql.gz.gpg", "secure-messenger_20241204_120000.sql.x", "../x.gpg"] {
            assert!(which(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_log_counts_when_it_goes_on_where_the_backup_ends() {
        for (ends, from, counts) in [
            (Some(0x300_0000), Some(0x300_0000), true),
            (Some(0x300_0000), Some(0x200_0000), true),
            (Some(0x300_0000), Some(0x400_0000), false),
            (None, Some(0x400_0000), true),
            (Some(0x300_0000), None, true),
        ] {
            let (more, log) =
                (serde_json::json!({"ends": ends.map(Lsn)}), serde_json::json!({"from": from.map(Lsn)}));
            assert_eq!(latest(more, log).followed().is_some(), counts, "{ends:?} {from:?}");
        }
    }

    #[test]
    fn a_log_that_left_the_timeline_before_the_backup_does_not_count() {
        for (stop, timeline, before, counts) in [
            (serde_json::json!([1, "0/2000100"]), 1, serde_json::json!([]), true),
            (serde_json::json!([1, "0/2000100"]), 2, serde_json::json!([[1, "0/2000100"]]), true),
            (serde_json::json!([1, "0/2000101"]), 2, serde_json::json!([[1, "0/2000100"]]), false),
            (serde_json::json!([2, "0/2000100"]), 1, serde_json::json!([]), false),
        ] {
            let log = serde_json::json!({"timeline": timeline, "before": before, "from": "0/1000000"});
            let latest = latest(serde_json::json!({"ends": "0/3000000", "stop": stop}), log);
            assert_eq!(latest.followed().is_some(), counts, "{stop} {timeline}");
            let again = serde_json::to_value(&latest).unwrap();
            assert_eq!(serde_json::from_value::<Latest>(again).unwrap(), latest);
        }
    }
}
