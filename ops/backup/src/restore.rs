//! Bringing a backup back: nothing of the target is touched before every byte was found authentic and the database
//! sound, and the file appears under its name only once nobody could mistake it for the old life of the store.

use std::path::{Path, PathBuf};

use schema_store::rows::backup::{Contents, Erased, Restored};
use schema_store::{SqliteStore, sqlite};

use crate::catalogue::{self, Which};
use crate::check;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::manifest::Manifest;
use crate::name::BackupName;
use crate::pipe::{Sink, open_object};
use crate::place::Place;
use crate::run::{self, DRILL_LOCK, FolderLock, Made, Passing, on_thread, read_ledger};

/// What is being restored, beside the database.
const PARTIAL: &str = "restore.partial";
/// What may lie in a folder that counts as empty: the locks, and what embedded backups keep there.
const IGNORED: [&str; 5] = ["lock", "backup.lock", DRILL_LOCK, "backup.key", "backups"];

/// Where to, and whether over something.
#[derive(Clone, Debug)]
pub struct Target {
    /// The database file; its folder is the data folder.
    pub database: PathBuf,
    pub replace: bool,
}

/// What came back.
#[derive(Debug)]
pub struct Back {
    pub name: BackupName,
    pub manifest: Manifest,
    /// After migrations and the first steps.
    pub contents: Contents,
    pub restored: Restored,
    /// The backup of what was there, if it was alive.
    pub safety: Option<Made>,
    /// Where what was there went, if it was damaged.
    pub aside: Option<PathBuf>,
}

/// Restores. The server must not run on the folder; whoever calls holds its lock.
pub async fn restore(
    place: &Place,
    which: Which,
    keys: &Keyring,
    target: &Target,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Back, BackupError> {
    let folder = target.database.parent().unwrap_or(Path::new(".")).to_owned();
    if !target.replace {
        must_be_empty(&folder)?;
    }
    let _lock = FolderLock::take(&folder)?;
    let (name, manifest) = catalogue::find(place, which, keys).await?;
    let known = sqlite::schema_version();
    if manifest.holds.schema > known {
        return Err(BackupError::Newer { name: name.to_string(), schema: manifest.holds.schema, known });
    }
    check::complete(place, name, &manifest).await?;
    let partial = Passing::at(folder.join(PARTIAL))?;
    fetch(place, keys, name, &manifest, &partial.0, told).await?;
    sound(&partial.0, name, &manifest).await?;
    let mut erased = known_erasures(place, keys, name, &manifest).await?;
    let safety = safety(place, keys, &target.database, &folder, &mut erased).await?;
    let reason = format!("restored {name}");
    let restored = prepare(&partial.0, reason, erased).await?;
    let path = partial.0.clone();
    let (contents, _) = on_thread(move || sqlite::contents(&path)).await??;
    // The file alone counts from here on; what it does not hold yet would be lost.
    if contents.generation != restored.generation {
        return Err(BackupError::Contents { name: name.to_string() });
    }
    let aside = move_in(&partial.0, &target.database, safety.is_some())?;
    Ok(Back { name, manifest, contents, restored, safety, aside })
}

fn must_be_empty(folder: &Path) -> Result<(), BackupError> {
    let entries = std::fs::read_dir(folder).map_err(|why| BackupError::file(folder, why))?;
    for entry in entries {
        let entry = entry.map_err(|why| BackupError::file(folder, why))?;
        if !IGNORED.iter().any(|ignored| entry.file_name() == *ignored) {
            return Err(BackupError::NotEmpty { folder: folder.display().to_string() });
        }
    }
    Ok(())
}

/// All objects in their order into one file, for its owner only.
async fn fetch(
    place: &Place,
    keys: &Keyring,
    name: BackupName,
    manifest: &Manifest,
    into: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<(), BackupError> {
    let fail = |why| BackupError::file(into, why);
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.write(true).create_new(true).open(into).map_err(fail)?;
    let file = tokio_uring::fs::File::from_std(file);
    let mut at = 0;
    for object in &manifest.objects {
        let sink = Sink::File { file: &file, path: into, at };
        open_object(place, &name.path(&object.name), object, keys, sink).await?;
        at += object.plain_bytes;
        told(at, manifest.plain_bytes());
    }
    file.sync_all().await.map_err(fail)?;
    file.close().await.map_err(fail)
}

/// The database inside is whole and the one of the manifest.
async fn sound(partial: &Path, name: BackupName, manifest: &Manifest) -> Result<(), BackupError> {
    let path = partial.to_owned();
    let checked = on_thread(move || {
        sqlite::check_copy(&path)?;
        sqlite::contents(&path)
    });
    let unsound = |why| BackupError::Unsound { name: name.to_string(), why };
    let (contents, _) = checked.await?.map_err(unsound)?;
    if run::is_held(manifest, &contents) {
        Ok(())
    } else {
        Err(BackupError::Contents { name: name.to_string() })
    }
}

/// The ledger of the newest backup that opens, since erasures after the restored one are only there.
pub(crate) async fn known_erasures(
    place: &Place,
    keys: &Keyring,
    name: BackupName,
    manifest: &Manifest,
) -> Result<Vec<Erased>, BackupError> {
    let newest = catalogue::entries(place).await?.into_iter().rev().filter(|entry| entry.is_whole);
    for entry in newest.take_while(|entry| entry.name > name) {
        match ledger_of(place, keys, entry.name, None).await {
            Ok(erased) => return Ok(erased),
            Err(why) => {
                tracing::warn!(backup = %entry.name, %why, "its erasure ledger cannot be read; trying an older one")
            }
        }
    }
    ledger_of(place, keys, name, Some(manifest)).await
}

async fn ledger_of(
    place: &Place,
    keys: &Keyring,
    name: BackupName,
    manifest: Option<&Manifest>,
) -> Result<Vec<Erased>, BackupError> {
    let found = match manifest {
        Some(manifest) => manifest.clone(),
        None => catalogue::manifest(place, name, keys).await?,
    };
    let path = name.path(&found.erasures.name);
    let mut text = Vec::new();
    open_object(place, &path, &found.erasures, keys, Sink::Memory(&mut text)).await?;
    read_ledger(&text).ok_or(BackupError::Contents { name: name.to_string() })
}

/// Backs up what is there when it is alive, and learns whom it has erased.
async fn safety(
    place: &Place,
    keys: &Keyring,
    database: &Path,
    folder: &Path,
    erased: &mut Vec<Erased>,
) -> Result<Option<Made>, BackupError> {
    if !database.is_file() {
        return Ok(None);
    }
    let (from, copy) = (database.to_owned(), Passing::at(folder.join("restore.safety"))?);
    let into = copy.0.clone();
    let alive = on_thread(move || {
        sqlite::copy(&from, &into)?;
        sqlite::check_copy(&into)?;
        sqlite::contents(&into)
    });
    match alive.await? {
        Ok((_, present)) => erased.extend(present),
        Err(why @ sqlite::CopyError::Full { .. }) => return Err(why.into()),
        Err(why) => {
            tracing::warn!(%why, "what is there is damaged: it is moved aside, not backed up");
            return Ok(None);
        }
    }
    run::run_locked(place, keys, database, &copy.0, &mut |_, _| {}).await.map(Some)
}

/// Migrations, the new generation, and what must not come back.
async fn prepare(partial: &Path, reason: String, erased: Vec<Erased>) -> Result<Restored, BackupError> {
    let path = partial.to_owned();
    let store = on_thread(move || SqliteStore::open(&path)).await??;
    let restored = store.after_restore(reason, erased).await.map_err(BackupError::Prepare);
    // The last handle moves the log into the file and closes it.
    on_thread(move || drop(store)).await?;
    restored
}

/// Puts the file in its place in one step. A log of what is there moves aside first, or it would be taken for the new
/// file's; the file itself stays beside unless a backup holds it.
fn move_in(partial: &Path, database: &Path, is_safe: bool) -> Result<Option<PathBuf>, BackupError> {
    let fail = |why| BackupError::file(database, why);
    let aside = format!(".replaced-{}", jiff::Timestamp::now().as_second());
    let with = |ends: &[&str]| {
        let mut path = database.to_owned().into_os_string();
        ends.iter().for_each(|end| path.push(end));
        PathBuf::from(path)
    };
    let is_gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    for log in ["-wal", "-shm"] {
        match std::fs::rename(with(&[log]), with(&[&aside, log])) {
            Err(error) if !is_gone(&error) => return Err(fail(error)),
            _ => {}
        }
    }
    let aside = with(&[&aside]);
    let is_kept = !is_safe && database.exists();
    if is_kept {
        std::fs::hard_link(database, &aside).map_err(fail)?;
    }
    std::fs::rename(partial, database).map_err(fail)?;
    let folder = database.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
    Ok(is_kept.then_some(aside))
}
