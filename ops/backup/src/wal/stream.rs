//! Following a server's log: pg_receivewal flushes it off the server within milliseconds, this seals what came every few
//! seconds and when a segment is whole.

use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::archive::{Archive, newest};
use super::piece::{self, Piece, Stretch};
use super::spool::{Received, Spool};
use crate::catalogue::LogEnd;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::run::Source;
use crate::postgres::{LogFile, Lsn, Running, Tools, ToolsError};
use crate::run::{FolderLock, on_thread};

/// What pg_receivewal calls itself at the server; may stand in `synchronous_standby_names`.
pub const RECEIVER: &str = "messenger_wal";
/// Between two looks into the spool.
const LOOK_EVERY: Duration = Duration::from_millis(250);
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

/// Up to where the chain of pieces reaches.
struct Chain {
    system: String,
    /// The newest segment there is something of.
    at: Option<(u64, u32)>,
    /// How far it is sealed.
    to: u64,
    pieces: Vec<Stretch>,
    /// Hash of the piece before this segment.
    before: String,
    /// Hash of the newest piece.
    last: String,
}

/// Follows the log until `stop` says so or pg_receivewal ends. `told` hears of each piece.
pub async fn stream(
    place: &Place,
    keys: &Keyring,
    source: &Source,
    settings: &Settings,
    stop: impl Future<Output = ()>,
    told: &mut dyn FnMut(&Piece),
) -> Result<(), BackupError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.spool);
    made.map_err(|why| BackupError::file(&settings.spool, why))?;
    let _lock = FolderLock::take(&settings.spool)?;
    let cluster = source.store.cluster().await.map_err(BackupError::Prepare)?;
    let tools = source.tools(&cluster)?;
    let spool = Spool { folder: settings.spool.clone(), segment_bytes: cluster.segment_bytes };
    let mut chain = Chain::find(place, keys, &cluster.system, cluster.segment_bytes).await?;
    let mut receiving = receive(&tools, settings).await?;
    let mut sealing = Sealing { place, keys, spool: &spool, chain: &mut chain, told };
    let mut sealed = Instant::now();
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
                tracing::warn!("there is no base backup yet that the log could continue; make one");
            }
        }
        Ok(None) => {
            tracing::warn!("pg_receivewal is not connected; what is committed now is on the server only")
        }
        Err(why) => tracing::warn!(%why, "the server does not answer; what it wrote last is sealed"),
    }
    Ok(())
}

impl Chain {
    /// Where an earlier process ended.
    async fn find(place: &Place, keys: &Keyring, system: &str, bytes: u64) -> Result<Self, BackupError> {
        let mut chain = Self {
            system: system.to_owned(),
            at: None,
            to: 0,
            pieces: Vec::new(),
            before: String::new(),
            last: String::new(),
        };
        let Some(newest) = newest(place, keys, system, bytes).await? else { return Ok(chain) };
        let Some(LogFile::Segment { number, timeline, .. }) = LogFile::parse(&newest.file, bytes) else {
            return Ok(chain);
        };
        let cover = Archive::list_file(place, system, &newest.file).await?.cover(&newest.file);
        if let Some(first) = cover.first() {
            chain.before = piece::read(place, keys, system, first).await?.previous;
        }
        (chain.at, chain.to, chain.pieces) = (Some((number, timeline)), newest.to, cover);
        chain.last = newest.object.sha256;
        Ok(chain)
    }

    fn end(&self, segment_bytes: u64, at: jiff::Timestamp, lag_bytes: u64) -> Option<LogEnd> {
        let (number, timeline) = self.at?;
        let to = Lsn(number * segment_bytes + self.to);
        Some(LogEnd { system: self.system.clone(), timeline, to, at, lag_bytes })
    }

    /// Makes this segment the newest one; false when it lies before it.
    fn reach(&mut self, number: u64, timeline: u32, bytes: u64) -> bool {
        let Some((last, of)) = self.at else {
            self.at = Some((number, timeline));
            return true;
        };
        if (number, timeline) == (last, of) {
            return true;
        }
        if number < last || (number == last && timeline < of) {
            return false;
        }
        let follows = number == last + 1 && timeline == of && self.to == bytes;
        if !follows && timeline == of {
            tracing::error!("the log has a gap before segment {number}; make a base backup now");
        }
        self.before = if follows { self.last.clone() } else { String::new() };
        (self.at, self.to, self.last) = (Some((number, timeline)), 0, self.before.clone());
        self.pieces.clear();
        true
    }
}

/// What seals.
struct Sealing<'a> {
    place: &'a Place,
    keys: &'a Keyring,
    spool: &'a Spool,
    chain: &'a mut Chain,
    told: &'a mut dyn FnMut(&Piece),
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
        let plain = self.spool.read(received, 0).await?;
        let stretch = Stretch { file, from: 0, to: plain.len() as u64 };
        self.write(0, stretch, "", &plain).await
    }

    /// A whole segment, as one piece in place of those it began with.
    async fn whole(&mut self, received: &Received, bytes: u64) -> Result<(), BackupError> {
        let plain = self.spool.read(received, 0).await?;
        if plain.len() as u64 != bytes {
            // It gets its name before its last byte is seen here; the next round sees all.
            return Ok(());
        }
        self.merge(received, plain).await
    }

    /// What came of a segment since the last piece.
    async fn begun(&mut self, received: &Received) -> Result<(), BackupError> {
        let from = self.chain.to;
        let new = self.spool.read(received, from).await?;
        if new.is_empty() {
            return Ok(());
        }
        if self.chain.pieces.len() >= PIECES_MAX {
            let all = self.spool.read(received, 0).await?;
            // What is sealed was received from the same place before.
            return if all.len() as u64 > from { self.merge(received, all).await } else { Ok(()) };
        }
        let stretch = Stretch { file: received.file.to_string(), from, to: from + new.len() as u64 };
        let previous = self.chain.last.clone();
        self.write(self.spool.segment_bytes, stretch.clone(), &previous, &new).await?;
        self.chain.pieces.push(stretch);
        Ok(())
    }

    async fn merge(&mut self, received: &Received, plain: Vec<u8>) -> Result<(), BackupError> {
        let stretch = Stretch { file: received.file.to_string(), from: 0, to: plain.len() as u64 };
        let before = self.chain.before.clone();
        self.write(self.spool.segment_bytes, stretch.clone(), &before, &plain).await?;
        for old in std::mem::replace(&mut self.chain.pieces, vec![stretch]) {
            self.place.delete(&old.header(&self.chain.system)).await?;
            self.place.delete(&old.path(&self.chain.system)).await?;
        }
        Ok(())
    }

    async fn write(
        &mut self,
        file_bytes: u64,
        stretch: Stretch,
        previous: &str,
        plain: &[u8],
    ) -> Result<(), BackupError> {
        let system = (self.chain.system.as_str(), file_bytes);
        let written = piece::write(self.place, self.keys.current(), system, stretch, previous, plain).await?;
        if file_bytes > 0 {
            self.chain.to = written.to;
            self.chain.last = written.object.sha256.clone();
        }
        (self.told)(&written);
        Ok(())
    }
}
