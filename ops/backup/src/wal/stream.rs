//! Following a server's log: pg_receivewal flushes it off the server within milliseconds, this seals what came every few
//! seconds and when a segment is whole.

use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::archive::Archive;
use super::chain::Chain;
use super::erasures;
use super::piece::{self, Piece, Plain, Stretch};
use super::spool::{Opened, Received, Spool};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::run::Source;
use crate::postgres::{LogFile, Running, Tools, ToolsError};
use crate::run::{FolderLock, on_thread};

/// What pg_receivewal calls itself at the server; may stand in `synchronous_standby_names`.
pub const RECEIVER: &str = "messenger_wal";
/// Between two looks into the spool.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a slot may stay taken by a receiver that has just ended.
const TAKEN_MAX: Duration = Duration::from_secs(10);
/// Pieces of one segment before they are sealed as one.
const PIECES_MAX: usize = 32;

/// How the log is followed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where pg_receivewal puts it down; best on a disk that outlives this process.
    pub spool: PathBuf,
    /// The replication slot, by which the server keeps what was not received.
    pub slot: String,
    /// Longest time between two seals.
    pub every: Duration,
}

/// What happens while a log is followed.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// The log is ours to follow: nobody else does by this slot or this spool.
    Following,
    Sealed(&'a Piece),
}

/// Follows the log until `stop` says so or pg_receivewal ends.
pub async fn stream(
    place: &Place,
    keys: &Keyring,
    source: &Source,
    settings: &Settings,
    stop: impl Future<Output = ()>,
    told: &mut dyn FnMut(News<'_>),
) -> Result<(), BackupError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.spool);
    made.map_err(|why| BackupError::file(&settings.spool, why))?;
    let _lock = FolderLock::take(&settings.spool)?;
    let cluster = source.store.cluster().await.map_err(BackupError::Prepare)?;
    let tools = source.tools(&cluster)?;
    let spool = Spool { folder: settings.spool.clone(), segment_bytes: cluster.segment_bytes };
    free(source, &settings.slot).await?;
    let mut chain = Chain::find(place, keys, &cluster.system, cluster.segment_bytes).await?;
    let mut receiving = receive(&tools, settings).await?;
    told(News::Following);
    let mut sealing = Sealing { place, keys, spool: &spool, chain: &mut chain, told };
    let (mut sealed, mut erased) = (Instant::now(), None);
    let mut stop = std::pin::pin!(stop);
    let ended = loop {
        let is_stopped = tokio::select! {
            () = &mut stop => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let has_ended = !matches!(receiving.child.try_wait(), Ok(None));
        let is_due = is_stopped || has_ended || sealed.elapsed() >= settings.every;
        sealing.round(is_due).await?;
        if is_stopped || has_ended {
            break is_stopped;
        }
        if is_due {
            sealed = Instant::now();
            publish(&sealing, source).await?;
            seal_erasures(&sealing, source, &mut erased).await?;
        }
    };
    if ended {
        // What it flushed is sealed; it has nothing else to say.
        return on_thread(move || drop(receiving)).await;
    }
    let why = "it ended by itself".to_owned();
    let said = on_thread(move || receiving.finish()).await?;
    Err(said.err().unwrap_or(ToolsError::Failed { program: "pg_receivewal", why }).into())
}

/// Waits until nobody receives the log by the slot: two would seal the same in turns.
async fn free(source: &Source, slot: &str) -> Result<(), BackupError> {
    let began = Instant::now();
    while source.store.is_followed(slot.to_owned()).await.map_err(BackupError::Prepare)? {
        if began.elapsed() > TAKEN_MAX {
            let server = "this server's log (another `backup stream` has its slot)";
            return Err(BackupError::Busy { folder: server.to_owned() });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn receive(tools: &Tools, settings: &Settings) -> Result<Running, BackupError> {
    let (with, slot) = (tools.clone(), settings.slot.clone());
    on_thread(move || {
        with.run("pg_receivewal", |command| {
            command.args(["--create-slot", "--if-not-exists", "--no-password", "--slot", &slot]);
        })
    })
    .await??;
    let mut command = tools.command("pg_receivewal")?;
    command.arg("--directory").arg(&settings.spool).args(["--slot", &settings.slot]);
    command.args(["--synchronous", "--no-password"]).env("PGAPPNAME", RECEIVER).stdout(Stdio::null());
    Ok(Running::start("pg_receivewal", &mut command)?)
}

/// Says in `latest.json` how far the log is sealed, if the receiver is connected.
async fn publish(sealing: &Sealing<'_>, source: &Source) -> Result<(), BackupError> {
    let at = jiff::Timestamp::now();
    match source.store.log_lag(RECEIVER.to_owned()).await {
        Ok(Some(lag_bytes)) => {
            let Some(end) = sealing.chain.end(sealing.spool.segment_bytes, at, lag_bytes) else {
                return Ok(());
            };
            if !end.publish(sealing.place).await? {
                tracing::warn!("there is no base backup that the log could continue; make one");
            }
        }
        Ok(None) if !sealing.spool.has_room() => {
            return Err(BackupError::NoRoom { path: sealing.spool.folder.display().to_string() });
        }
        Ok(None) => {
            tracing::warn!("pg_receivewal is not connected; what is committed now is on the server only")
        }
        Err(why) => tracing::warn!(%why, "the server does not answer; what it wrote last is sealed"),
    }
    Ok(())
}

/// Seals the erasure ledger when it grew since it had `seen` lines.
async fn seal_erasures(
    sealing: &Sealing<'_>,
    source: &Source,
    seen: &mut Option<u64>,
) -> Result<(), BackupError> {
    let present = match source.store.erasures(*seen).await {
        Ok(Some(present)) => present,
        Ok(None) => return Ok(()),
        Err(why) => {
            tracing::warn!(%why, "the erasure ledger could not be read; trying again");
            return Ok(());
        }
    };
    let lines = present.len() as u64;
    erasures::seal(sealing.place, sealing.keys, &sealing.chain.system, present).await?;
    *seen = Some(lines);
    Ok(())
}

/// What seals.
struct Sealing<'a> {
    place: &'a Place,
    keys: &'a Keyring,
    spool: &'a Spool,
    chain: &'a mut Chain,
    told: &'a mut dyn FnMut(News<'_>),
}

impl Sealing<'_> {
    /// Seals what is whole, and when it is due also the beginning of what is not.
    async fn round(&mut self, is_due: bool) -> Result<(), BackupError> {
        for received in self.spool.list()? {
            match received.file {
                LogFile::History { .. } => self.history(&received).await?,
                LogFile::Segment { number, timeline, bytes } => {
                    if !self.chain.reach(number, timeline, bytes) || self.chain.to == bytes {
                        self.forget(&received, number)?;
                    } else if received.is_whole {
                        self.whole(&received, bytes).await?;
                    } else if is_due {
                        self.begun(&received).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// pg_receivewal goes on after the newest file it finds, so that one stays.
    fn forget(&self, received: &Received, number: u64) -> Result<(), BackupError> {
        let is_newest = self.chain.at.is_none_or(|(newest, _)| number >= newest);
        if is_newest || !received.is_whole {
            return Ok(());
        }
        match std::fs::remove_file(&received.path) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                Err(BackupError::file(&received.path, why))
            }
            _ => Ok(()),
        }
    }

    async fn history(&mut self, received: &Received) -> Result<(), BackupError> {
        let file = received.file.to_string();
        let archive = Archive::list_file(self.place, &self.chain.system, &file).await?;
        if !archive.cover(&file).is_empty() {
            return Ok(());
        }
        let Some(opened) = self.spool.open(received)? else { return Ok(()) };
        let stretch = Stretch { file, from: 0, to: opened.end(0).await? };
        self.write(&opened, 0, stretch, "").await
    }

    /// A whole segment, as one piece in place of those it began with.
    async fn whole(&mut self, received: &Received, bytes: u64) -> Result<(), BackupError> {
        let Some(opened) = self.spool.open(received)? else { return Ok(()) };
        if opened.end(0).await? != bytes {
            // It gets its name before its last byte is seen here; the next round sees all.
            return Ok(());
        }
        self.merge(&opened, bytes).await
    }

    /// What came of a segment since the last piece.
    async fn begun(&mut self, received: &Received) -> Result<(), BackupError> {
        let from = self.chain.to;
        let Some(opened) = self.spool.open(received)? else { return Ok(()) };
        let to = opened.end(from).await?;
        if to <= from {
            return Ok(());
        }
        if self.chain.pieces.len() >= PIECES_MAX {
            // What is sealed was received from the same place before.
            return self.merge(&opened, to).await;
        }
        let stretch = Stretch { file: received.file.to_string(), from, to };
        let previous = self.chain.last.clone();
        self.write(&opened, self.spool.segment_bytes, stretch.clone(), &previous).await?;
        self.chain.pieces.push(stretch);
        Ok(())
    }

    async fn merge(&mut self, opened: &Opened<'_>, to: u64) -> Result<(), BackupError> {
        let stretch = Stretch { file: opened.received.file.to_string(), from: 0, to };
        let before = self.chain.before.clone();
        self.write(opened, self.spool.segment_bytes, stretch.clone(), &before).await?;
        for old in std::mem::replace(&mut self.chain.pieces, vec![stretch]) {
            self.place.delete(&old.header(&self.chain.system)).await?;
            self.place.delete(&old.path(&self.chain.system)).await?;
        }
        Ok(())
    }

    async fn write(
        &mut self,
        opened: &Opened<'_>,
        file_bytes: u64,
        stretch: Stretch,
        previous: &str,
    ) -> Result<(), BackupError> {
        let system = (self.chain.system.as_str(), file_bytes);
        let plain = Plain::File(&opened.file, &opened.received.path);
        let written = piece::write(self.place, self.keys.current(), system, stretch, previous, plain).await?;
        if file_bytes > 0 {
            self.chain.to = written.to;
            self.chain.last = written.object.hash().to_owned();
        }
        (self.told)(News::Sealed(&written));
        Ok(())
    }
}
