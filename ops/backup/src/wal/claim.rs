//! A timeline that a restore began: its number is taken in the place before anybody writes on it, since a second restore would
//! take the same one, and nobody could tell their logs apart.

use std::path::Path;

use super::archive::Archive;
use super::piece::{self, Plain, Stretch};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::{Base, LogFile};

/// Seals the history of the newest timeline of a server's folder. Refused when another one has that number; a place that
/// takes nothing is no reason not to have the server back.
pub async fn claim(place: &Place, keys: &Keyring, base: &Base, data: &Path) -> Result<(), BackupError> {
    let log = data.join("pg_wal");
    let Some(timeline) = newest(&log, base.segment_bytes)? else { return Ok(()) };
    let file = LogFile::History { timeline }.to_string();
    let path = log.join(&file);
    let text = std::fs::read(&path).map_err(|why| BackupError::file(&path, why))?;
    let stretch = Stretch { file: file.clone(), from: 0, to: text.len() as u64 };
    let sealed = async {
        if !Archive::list_file(place, &base.system, &file).await?.cover(&file).is_empty() {
            return Ok(false);
        }
        let of = (base.system.as_str(), 0);
        match piece::write(place, keys.current(), of, stretch, "", Plain::Bytes(&text)).await {
            Err(BackupError::Log { .. }) => Ok(false),
            written => written.map(|_| true),
        }
    };
    match sealed.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(BackupError::Target(format!(
            "{place}: timeline {timeline} of the log was begun by another restore meanwhile; restore again, then this one begins the next"
        ))),
        Err(why) => {
            tracing::warn!(%why, timeline, "that it has begun could not be noted in the place; follow the log before anything else is restored");
            Ok(())
        }
    }
}

/// The newest timeline that a folder of the log has a history of.
fn newest(log: &Path, bytes: u64) -> Result<Option<u32>, BackupError> {
    let fail = |why| BackupError::file(log, why);
    let mut newest = None;
    for entry in std::fs::read_dir(log).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        if let Some(LogFile::History { timeline }) =
            name.to_str().and_then(|name| LogFile::parse(name, bytes))
        {
            newest = newest.max(Some(timeline));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::MasterKey;
    use crate::place::{BucketAccess, Location};
    use crate::postgres::Lsn;
    use crate::wal::Branch;

    #[test]
    fn a_number_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::of(MasterKey::generate());
        let base = Base {
            system: "7".to_owned(),
            version: 150_004,
            segment_bytes: 16 << 20,
            timeline: 1,
            start: Lsn(1),
            stop: Lsn(2),
            user: "u".to_owned(),
            database: "d".to_owned(),
        };
        let log = folder.path().join("pg_wal");
        std::fs::create_dir(&log).unwrap();
        let write = |name: &str, text: &str| std::fs::write(log.join(name), text).unwrap();
        let refused = crate::block_on(async {
            let location = Location::Folder(folder.path().join("place"));
            let place = Place::open(&location, &BucketAccess::default())?;
            claim(&place, &keys, &base, folder.path()).await?;
            write("00000002.history", "1\t0/5000300\tx\n");
            write("00000003.history", "1\t0/5000300\tx\n2\t0/6000000\ty\n");
            claim(&place, &keys, &base, folder.path()).await?;
            assert_eq!(Branch::sealed(&place, &keys, "7", 3).await?.before.len(), 2);
            write("00000003.history", "1\t0/4000300\tsomewhere else\n");
            let refused = claim(&place, &keys, &base, folder.path()).await;
            write("00000004.history", "1\t0/4000300\tsomewhere else\n");
            claim(&place, &keys, &base, folder.path()).await?;
            Ok(refused)
        });
        let why = refused.unwrap().unwrap_err().to_string();
        assert!(why.contains("timeline 3 of the log was begun by another restore"), "{why}");
    }
}
