//! Bringing a server back: unpacked beside its folder, recovered where nobody else reaches it, made fit for use, and only
//! then put in its place.

use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schema_store::PostgresStore;
use schema_store::postgres::Options;
use schema_store::rows::backup::{Contents, Erased, Restored};

use super::choose::{Chosen, choose};
use super::run::{Source, run};
use super::server::{self, Server};
use super::unpack::unpack;
use super::{Lsn, Tools};
use crate::catalogue;
use crate::check;
use crate::error::BackupError;
use crate::hex;
use crate::key::Keyring;
use crate::manifest::Manifest;
use crate::name::BackupName;
use crate::pipe::{Sink, open_object};
use crate::place::Place;
use crate::restore::known_erasures;
use crate::run::{FolderLock, Made, on_thread};
use crate::wal;

/// Pieces on their way to the thread that unpacks.
const PIECES_MAX: usize = 8;
/// Statements over whole tables of a restored database may take this long.
const STATEMENT_SECONDS: u64 = 3600;

/// Up to which moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// All that is sealed.
    Latest,
    /// This backup and nothing after it.
    Backup(BackupName),
    Time(Timestamp),
    Lsn(Lsn),
}

/// How PostgreSQL gets sealed segments of its log.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The program, without arguments.
    pub program: PathBuf,
    /// What it needs to know of place and key.
    pub environment: Vec<(&'static str, OsString)>,
}

impl Fetch {
    /// The command as PostgreSQL's settings want it.
    fn command(&self, system: &str) -> String {
        let program = self.program.display().to_string().replace('%', "%%").replace('\'', "'\\''");
        format!("'{program}' wal-fetch --system {system} %f %p")
    }
}

/// What came back.
#[derive(Debug)]
pub struct Back {
    pub name: BackupName,
    pub manifest: Manifest,
    /// After migrations and the first steps.
    pub contents: Contents,
    pub restored: Restored,
    /// The backup of what was there, if a server ran on it.
    pub safety: Option<Made>,
    /// Where what was there went.
    pub aside: Option<PathBuf>,
}

/// Everything a recovery needs.
pub struct Recovery<'a> {
    pub place: &'a Place,
    pub keys: &'a Keyring,
    pub until: Until,
    pub fetch: &'a Fetch,
    /// Also compare every file with what pg_basebackup wrote down of it.
    pub verify: bool,
}

/// A recovered server that nobody else reaches.
pub(super) struct Recovered {
    pub name: BackupName,
    pub manifest: Manifest,
    pub server: Server,
    pub store: PostgresStore,
    pub tools: Tools,
}

/// Restores into a folder. `alive` leads to the server that runs on it, if one does.
pub async fn restore(
    recovery: &Recovery<'_>,
    folder: &Path,
    replace: bool,
    alive: Option<&Source>,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Back, BackupError> {
    let parent = folder.parent().filter(|parent| parent.is_dir());
    let parent = parent.ok_or_else(|| target("its parent is no folder; make it", folder))?;
    if !replace && std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BackupError::NotEmpty { folder: folder.display().to_string() });
    }
    let _lock = FolderLock::take(parent)?;
    let aside = beside(folder, "restoring");
    let recovered = recover(recovery, &aside, told).await?;
    let tools = recovered.tools.clone();
    let back = async {
        let back = make_fit(recovery, folder, recovered, alive).await?;
        if let Some(base) = &back.manifest.base {
            wal::claim(recovery.place, recovery.keys, base, &aside).await?;
        }
        Ok(Back { aside: move_in(&aside, folder, parent)?, ..back })
    };
    let back = back.await;
    if back.is_err() {
        clear(&tools, &aside).await?;
    }
    back
}

/// The first steps of the restored database, after a backup of what is there.
async fn make_fit(
    recovery: &Recovery<'_>,
    folder: &Path,
    recovered: Recovered,
    alive: Option<&Source>,
) -> Result<Back, BackupError> {
    let Recovered { name, manifest, server, store, tools } = recovered;
    let mut erased = known_erasures(recovery.place, recovery.keys, name, &manifest).await?;
    if let Some(base) = &manifest.base {
        erased.extend(wal::erasures::read(recovery.place, recovery.keys, &base.system).await?);
    }
    let safety = safety(recovery, folder, &tools, alive, &mut erased).await?;
    let reason = format!("restored {name}");
    let restored = store.after_restore(reason, erased).await.map_err(BackupError::Prepare)?;
    let (contents, _) = store.contents().await.map_err(BackupError::Prepare)?;
    drop(store);
    server.stop().await?;
    Ok(Back { name, manifest, contents, restored, safety, aside: None })
}

fn target(why: &str, folder: &Path) -> BackupError {
    BackupError::Target(format!("{}: {why}", folder.display()))
}

fn beside(folder: &Path, end: &str) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(format!(".{end}"));
    path.into()
}

/// Unpacks and recovers into a folder that goes first if it is there.
pub(super) async fn recover(
    recovery: &Recovery<'_>,
    into: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Recovered, BackupError> {
    let chosen = choose(recovery).await?;
    let (name, manifest) = (chosen.name, &chosen.manifest);
    let known = schema_store::postgres::schema_version();
    if manifest.holds.schema > known {
        return Err(BackupError::Newer { name: name.to_string(), schema: manifest.holds.schema, known });
    }
    let tools = Tools::of(chosen.base.version, Vec::new());
    check::complete(recovery.place, name, manifest).await?;
    clear(&tools, into).await?;
    let done = unpacked(recovery, &chosen, &tools, into, told).await;
    if done.is_err() {
        clear(&tools, into).await?;
    }
    let (server, store) = done?;
    Ok(Recovered { name, manifest: chosen.manifest, server, store, tools })
}

/// Removes what an interrupted restore left, also its server.
pub(super) async fn clear(tools: &Tools, folder: &Path) -> Result<(), BackupError> {
    let (tools, folder) = (tools.clone(), folder.to_owned());
    on_thread(move || {
        if server::runs(&tools, &folder) {
            // It may be ending by itself.
            let _ = server::stop(&tools, &folder, "immediate");
        }
        match std::fs::remove_dir_all(&folder) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(BackupError::file(&folder, why)),
            _ => Ok(()),
        }
    })
    .await?
}

async fn unpacked(
    recovery: &Recovery<'_>,
    chosen: &Chosen,
    tools: &Tools,
    into: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<(Server, PostgresStore), BackupError> {
    let file = |why| BackupError::file(into, why);
    let Chosen { manifest, base, .. } = chosen;
    std::fs::DirBuilder::new().mode(0o700).create(into).map_err(file)?;
    fetch(recovery, chosen.name, manifest, into, told).await?;
    let (with, data) = (tools.clone(), into.to_owned());
    let verify = recovery.verify;
    on_thread(move || {
        if verify {
            with.run("pg_verifybackup", |command| {
                command.arg("--quiet").arg(&data);
            })?;
        }
        with.run("initdb", |command| {
            command.arg("--sync-only").arg("-D").arg(&data);
        })
    })
    .await??;
    std::fs::write(into.join("recovery.signal"), "").map_err(file)?;
    let settings = settings(recovery, chosen);
    let server = Server::start(tools, into, base, &settings, &recovery.fetch.environment).await?;
    let store = open(server.url()).await?;
    anchored(&store, chosen.name, manifest).await?;
    if recovery.until == Until::Latest {
        reached(recovery, &store, chosen).await?;
    }
    Ok((server, store))
}

/// Where recovery gets the log from, along which timeline it goes, and where it ends.
fn settings(recovery: &Recovery<'_>, chosen: &Chosen) -> Vec<(&'static str, String)> {
    let timeline = match chosen.branch.timeline {
        of if of == chosen.base.timeline => "current".to_owned(),
        later => later.to_string(),
    };
    let mut settings = vec![
        ("restore_command", recovery.fetch.command(&chosen.base.system)),
        ("recovery_target_timeline", timeline),
    ];
    settings.extend(match recovery.until {
        Until::Latest => None,
        Until::Backup(_) => Some(("recovery_target", "immediate".to_owned())),
        Until::Time(time) => Some(("recovery_target_time", moment(time))),
        Until::Lsn(lsn) => Some(("recovery_target_lsn", lsn.to_string())),
    });
    settings
}

/// As PostgreSQL reads it before it knows the names of time zones.
fn moment(time: Timestamp) -> String {
    time.to_string().replace('T', " ").replace('Z', "+00")
}

/// All objects in their order into the folder.
async fn fetch(
    recovery: &Recovery<'_>,
    name: BackupName,
    manifest: &Manifest,
    into: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<(), BackupError> {
    let (pieces, coming) = tokio::sync::mpsc::channel(PIECES_MAX);
    let folder = into.to_owned();
    let unpacking = std::thread::spawn(move || unpack(coming, &folder));
    let mut done = 0;
    let mut opened = Ok(());
    for object in &manifest.objects {
        let sink = Sink::Thread(pieces.clone());
        opened = open_object(recovery.place, &name.path(&object.name), object, recovery.keys, sink).await;
        if opened.is_err() {
            break;
        }
        done += object.plain_bytes;
        told(done, manifest.plain_bytes());
    }
    drop(pieces);
    let unpacked = on_thread(move || unpacking.join()).await?.map_err(|_| BackupError::Thread)?;
    match opened {
        // The thread that unpacks knows why it took no more.
        Err(BackupError::Thread) => unpacked.map_err(|why| BackupError::file(into, why)),
        opened => opened.and(unpacked.map_err(|why| BackupError::file(into, why))),
    }
}

/// The restored database, its schema brought up to date.
async fn open(url: &str) -> Result<PostgresStore, BackupError> {
    let statement_timeout = std::time::Duration::from_secs(STATEMENT_SECONDS);
    let options = Options { statement_timeout, pool_size: 4, ..Options::default() };
    PostgresStore::migrate(url, &options).await.map_err(BackupError::Migrate)?;
    PostgresStore::open(url, options).await.map_err(BackupError::Server)
}

/// To PostgreSQL the log ends where a file is missing. It may not, if there are later ones, or if there were.
async fn reached(recovery: &Recovery<'_>, store: &PostgresStore, chosen: &Chosen) -> Result<(), BackupError> {
    let (base, bytes) = (&chosen.base, chosen.base.segment_bytes.max(1));
    let replayed = store.replayed().await.map_err(BackupError::Prepare)?;
    let replayed = replayed.and_then(|text| text.parse::<Lsn>().ok()).unwrap_or(base.stop);
    let last = replayed.0 / bytes;
    let missing = |number: u64, why: String| {
        let place = recovery.place.to_string();
        Err(BackupError::Log { place, segment: chosen.branch.file_of(number, bytes), why })
    };
    if is_cut(recovery.place, chosen, last).await? {
        let why = format!(
            "it or its end is missing, and there are later ones; say --to-lsn {replayed} to do without them"
        );
        return missing(if chosen.sealed == Some(last + 1) { last } else { last + 1 }, why);
    }
    let timeline = chosen.branch.timeline;
    let is_more = |log: &catalogue::LogEnd| {
        log.timeline > timeline
            || (log.timeline == timeline && chosen.sealed.is_none() && log.to > base.log_after())
    };
    match chosen.said.as_ref().filter(|log| is_more(log)) {
        Some(log) => {
            let why = format!(
                "timeline {} was sealed up to {}, and of it nothing is there; name {} to have that backup alone",
                log.timeline, log.to, chosen.name
            );
            missing(last + 1, why)
        }
        None => Ok(()),
    }
}

/// Whether there is more than what was replayed, whose last segment is `last`. The newest one may hold the beginning of a
/// record only, if the one before it is whole.
async fn is_cut(place: &Place, chosen: &Chosen, last: u64) -> Result<bool, BackupError> {
    let (base, bytes) = (&chosen.base, chosen.base.segment_bytes.max(1));
    match chosen.sealed {
        Some(sealed) if sealed == last + 1 && last >= chosen.branch.first_after(base) => {
            let file = chosen.branch.file_of(last, bytes);
            let archive = wal::Archive::list_file(place, &base.system, &file).await?;
            Ok(!archive.is_whole(&file, bytes))
        }
        sealed => Ok(sealed.is_some_and(|sealed| sealed > last + 1)),
    }
}

/// The audit entry and the counts of the manifest are in it.
async fn anchored(store: &PostgresStore, name: BackupName, manifest: &Manifest) -> Result<(), BackupError> {
    let holds = &manifest.holds;
    let hash = store.audit_hash(holds.audit_id).await.map_err(BackupError::Prepare)?;
    let is_same = holds.audit_id == 0 || hash.is_some_and(|hash| hex::encode(&hash) == holds.audit_hash);
    let (contents, _) = store.contents().await.map_err(BackupError::Prepare)?;
    let has_all = contents.users >= holds.users && contents.conversations >= holds.conversations;
    if is_same && has_all { Ok(()) } else { Err(BackupError::Contents { name: name.to_string() }) }
}

/// Backs up a server that runs on the folder, learns whom it has erased, and stops it.
async fn safety(
    recovery: &Recovery<'_>,
    folder: &Path,
    tools: &Tools,
    alive: Option<&Source>,
    erased: &mut Vec<Erased>,
) -> Result<Option<Made>, BackupError> {
    if !server::runs(tools, folder) {
        return Ok(None);
    }
    let source = alive.ok_or_else(|| {
        target("a server runs on it; stop it, or set DATABASE_URL so that it is backed up first", folder)
    })?;
    let made = run(recovery.place, recovery.keys, source, &mut |_, _| {}).await?;
    let (_, present) = source.store.contents().await.map_err(BackupError::Prepare)?;
    erased.extend(present);
    let (tools, data) = (tools.clone(), folder.to_owned());
    on_thread(move || server::stop(&tools, &data, "fast")).await??;
    Ok(Some(made))
}

/// Puts the folder in its place; what was there stays beside it.
fn move_in(from: &Path, folder: &Path, parent: &Path) -> Result<Option<PathBuf>, BackupError> {
    let fail = |why: std::io::Error| match why.kind() {
        std::io::ErrorKind::CrossesDevices | std::io::ErrorKind::ResourceBusy => {
            target("a mount of its own; name a folder inside of it", folder)
        }
        _ => BackupError::file(folder, why),
    };
    let aside = beside(folder, &format!("replaced-{}", Timestamp::now().as_second()));
    let is_kept = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_kept {
        std::fs::rename(folder, &aside).map_err(fail)?;
    }
    std::fs::rename(from, folder).map_err(fail)?;
    std::fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(fail)?;
    Ok(is_kept.then_some(aside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_names_no_time_zone() {
        let time: Timestamp = "2026-11-26T02:04:13.514915Z".parse().unwrap();
        assert_eq!(moment(time), "2026-11-26 02:04:13.514915+00");
    }

    #[test]
    fn the_command_survives_a_shell_and_postgresql() {
        let fetch = Fetch { program: "/opt/it's 100%/messenger".into(), environment: Vec::new() };
        assert_eq!(fetch.command("7"), "'/opt/it'\\''s 100%%/messenger' wal-fetch --system 7 %f %p");
    }
}
