//! Making a backup of the embedded database: copied while in use, sealed in order, the manifest last.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schema_store::rows::backup::{Contents, Erased};
use schema_store::sqlite;
use sha2::{Digest, Sha256};

use crate::catalogue::{self, Latest};
use crate::check;
use crate::error::BackupError;
use crate::hex;
use crate::key::{Keyring, MasterKey};
use crate::manifest::{Engine, Holds, MANIFEST, Manifest, Object};
use crate::name::BackupName;
use crate::pipe::{Stretch, seal_bytes, seal_file};
use crate::place::Place;

/// Claims the name before anything else is written under it.
pub const BEGUN: &str = "begun";
/// The ledger's object.
const ERASURES: &str = "erasures";
/// Bytes of the database in one object.
pub(crate) const OBJECT_BYTES: u64 = 256 * 1024 * 1024;
/// How often a name is tried, and when again.
const CLAIMS_MAX: u32 = 20;
const CLAIM_AGAIN: Duration = Duration::from_millis(200);
/// Less than all tries take.
const CLOCKS_DIFFER_SECONDS: i64 = 2;
/// Kept while a backup or restore runs on a data folder.
const LOCK: &str = "backup.lock";
/// Kept while a drill runs in a data folder; outside of its scratch, which every drill begins by removing.
pub(crate) const DRILL_LOCK: &str = "backup.drill.lock";
/// The copy that is being sealed, plain, beside the database and for its owner only.
const COPY: &str = "backup.copy";

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    pub name: BackupName,
    pub manifest: Manifest,
    pub manifest_sha256: [u8; 32],
    pub contents: Contents,
}

/// One backup or restore at a time on a data folder; given up when the process ends, however it does.
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes it, or says that it is taken.
    pub fn take(folder: &Path) -> Result<Self, BackupError> {
        Self::at(folder, LOCK)
    }

    /// The same for drills, which backups and restores of the folder need not wait for.
    pub(crate) fn of_drills(folder: &Path) -> Result<Self, BackupError> {
        Self::at(folder, DRILL_LOCK)
    }

    fn at(folder: &Path, name: &str) -> Result<Self, BackupError> {
        let path = folder.join(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|why| BackupError::file(&path, why))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) if name == DRILL_LOCK => {
                Err(BackupError::Drilling { folder: folder.display().to_string() })
            }
            Err(TryLockError::WouldBlock) => Err(BackupError::Busy { folder: folder.display().to_string() }),
            Err(TryLockError::Error(why)) => Err(BackupError::file(&path, why)),
        }
    }
}

/// A file that goes when this does, and is not there when this begins.
pub(crate) struct Passing(pub PathBuf);

impl Passing {
    pub(crate) fn at(path: PathBuf) -> Result<Self, BackupError> {
        let passing = Self(path);
        passing.remove().map_err(|why| BackupError::file(&passing.0, why))?;
        Ok(passing)
    }

    fn remove(&self) -> std::io::Result<()> {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.0.clone().into_os_string();
            path.push(end);
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // What stays is removed when the next backup begins.
        let _ = self.remove();
    }
}

/// Backs up the database file. `told` hears of the bytes done, of how many.
pub async fn run(
    place: &Place,
    keys: &Keyring,
    database: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Made, BackupError> {
    let folder = database.parent().filter(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    if !database.is_file() {
        return Err(sqlite::CopyError::Missing { path: database.to_owned() }.into());
    }
    let _lock = FolderLock::take(folder)?;
    run_locked(place, keys, database, &folder.join(COPY), told).await
}

/// The same for whoever holds the folder's lock.
pub(crate) async fn run_locked(
    place: &Place,
    keys: &Keyring,
    database: &Path,
    copy: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Made, BackupError> {
    let copy = Passing::at(copy.to_owned())?;
    // Before the copy: all that was durable at the time in the name is in it.
    let name = claim(place).await?;
    let made = copy_and_write(place, keys, name, database, &copy.0, told).await;
    if made.is_err() {
        discard(place, name).await;
    }
    made
}

/// A name that nobody has, which have seconds, after that of every whole backup: a restore begins with the newest name.
pub(crate) async fn claim(place: &Place) -> Result<BackupName, BackupError> {
    let whole = catalogue::entries(place).await?.into_iter().rfind(|entry| entry.is_whole);
    let newest = whole.map(|entry| entry.name);
    // Nobody else's, so that whoever finds it knows whose the name is.
    let mark = getrandom::u64().expect("the operating system has randomness").to_string();
    for _ in 0..CLAIMS_MAX {
        let now = jiff::Timestamp::now();
        let name = BackupName::at(now);
        match newest {
            // Two machines' clocks may differ a little.
            Some(newest) if newest.time().as_second() - now.as_second() > CLOCKS_DIFFER_SECONDS => {
                return Err(BackupError::Clock { place: place.to_string(), name: newest.to_string() });
            }
            Some(newest) if newest >= name => {}
            _ if place.create(&name.path(BEGUN), mark.as_bytes()).await? => return Ok(name),
            _ => {}
        }
        tokio::time::sleep(CLAIM_AGAIN).await;
    }
    Err(BackupError::SameSecond)
}

async fn copy_and_write(
    place: &Place,
    keys: &Keyring,
    name: BackupName,
    database: &Path,
    copy: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Made, BackupError> {
    let (from, into) = (database.to_owned(), copy.to_owned());
    let copied = on_thread(move || {
        sqlite::copy(&from, &into)?;
        sqlite::contents(&into)
    });
    let (contents, erased) = copied.await??;
    write(place, keys, name, copy, (contents, &erased), told).await
}

/// Work that would hold up everything else here.
pub(crate) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BackupError::Thread)
}

async fn write(
    place: &Place,
    keys: &Keyring,
    name: BackupName,
    copy: &Path,
    (contents, erased): (Contents, &[Erased]),
    told: &mut dyn FnMut(u64, u64),
) -> Result<Made, BackupError> {
    let key = keys.current();
    let objects = write_database(place, key, name, copy, told).await?;
    let erasures = write_ledger(place, key, name, erased).await?;
    let manifest = Manifest::new(name, Engine::Sqlite, holds(&contents), objects, erasures);
    publish(place, key, name, manifest, contents).await
}

/// Seals whom the database has erased so far.
pub(crate) async fn write_ledger(
    place: &Place,
    key: &MasterKey,
    name: BackupName,
    erased: &[Erased],
) -> Result<Object, BackupError> {
    let (sealed, hash) = seal_bytes(place, &name.path(ERASURES), key, &ledger(erased)).await?;
    Ok(Object::new(ERASURES.to_owned(), &sealed).with_hash(&hash))
}

/// Writes the manifest, which makes a backup of the objects, and says that it is the newest.
pub(crate) async fn publish(
    place: &Place,
    key: &MasterKey,
    name: BackupName,
    manifest: Manifest,
    contents: Contents,
) -> Result<Made, BackupError> {
    // Somebody may have pruned what was begun, as a clock that runs ahead makes them.
    check::complete(place, name, &manifest).await.map_err(|error| match error {
        BackupError::Size { object, .. } => BackupError::Pruned { object },
        other => other,
    })?;
    let document = manifest.sign(key);
    if !place.create(&name.path(MANIFEST), &document).await? {
        return Err(BackupError::SameSecond);
    }
    Latest::of(name, &manifest, &document).publish(place).await?;
    Ok(Made { name, manifest, manifest_sha256: Sha256::digest(&document).into(), contents })
}

async fn write_database(
    place: &Place,
    key: &MasterKey,
    name: BackupName,
    copy: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Object>, BackupError> {
    let opened = std::fs::File::open(copy).and_then(|file| file.metadata().map(|is| (file, is.len())));
    let (file, length) = opened.map_err(|why| BackupError::file(copy, why))?;
    let file = tokio_uring::fs::File::from_std(file);
    let mut objects = Vec::new();
    let mut from = 0;
    while from < length {
        let to = length.min(from + OBJECT_BYTES);
        let object = format!("store.{:04}", objects.len());
        let stretch = Stretch { file: &file, path: copy, from, to };
        let sealed = seal_file(place, &name.path(&object), key, stretch).await?;
        objects.push(Object::new(object, &sealed));
        from = to;
        told(from, length);
    }
    Ok(objects)
}

/// Best effort: what stays has no manifest, and goes with the next pruning.
pub(crate) async fn discard(place: &Place, name: BackupName) {
    let Ok(listed) = place.list(&name.path("")).await else { return };
    if listed.iter().any(|object| object.path == name.path(MANIFEST)) {
        return;
    }
    for object in listed {
        let _ = place.delete(&object.path).await;
    }
}

pub(crate) fn holds(contents: &Contents) -> Holds {
    Holds {
        schema: contents.schema,
        generation: contents.generation.0,
        audit_id: contents.audit.id,
        audit_hash: hex::encode(&contents.audit.hash),
        users: contents.users,
        conversations: contents.conversations,
        messages: contents.messages,
    }
}

/// Whether a database holds what a manifest says.
pub(crate) fn is_held(manifest: &Manifest, contents: &Contents) -> bool {
    manifest.holds == holds(contents)
}

/// One line per account: id, time, reason.
pub(crate) fn ledger(erased: &[Erased]) -> Vec<u8> {
    let line = |erasure: &Erased| {
        let reason: String = erasure.reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{} {} {reason}\n", hex::encode(&erasure.user.0), erasure.erased_at)
    };
    erased.iter().map(line).collect::<String>().into_bytes()
}

/// Reads [`ledger`] again; `None` when it is none.
pub(crate) fn read_ledger(text: &[u8]) -> Option<Vec<Erased>> {
    let line = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let user = hex::decode::<16>(parts.next()?)?.into();
        Some(Erased { user, erased_at: parts.next()?.parse().ok()?, reason: parts.next()?.to_owned() })
    };
    std::str::from_utf8(text).ok()?.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_read_as_it_was_written() {
        let erased = |n: u8, reason: &str| Erased {
            user: [n; 16].into(),
            reason: reason.to_owned(),
            erased_at: n.into(),
        };
        let all = vec![erased(1, "asked for it"), erased(2, ""), erased(3, "two  spaces")];
        assert_eq!(read_ledger(&ledger(&all)), Some(all));
        let lines = read_ledger(&ledger(&[erased(4, "a\nb")])).unwrap();
        assert_eq!(lines, [erased(4, "a b")]);
        assert_eq!(read_ledger(b"x"), None);
    }
}
