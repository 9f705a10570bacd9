//! Following a server's log: pg_receivewal flushes it off the server within milliseconds, this seals what came every few
//! seconds and when a segment is whole.

use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use schema_store::AccountError;

use super::chain::Chain;
use super::note::Notes;
use super::piece::Piece;
use super::safe::{Look, Safe};
use super::sealing::Sealing;
use super::spool::Spool;
use super::{erasures, fork};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::run::Source;
use crate::postgres::{Lsn, Running, Tools, ToolsError};
use crate::run::{FolderLock, on_thread};

/// What pg_receivewal calls itself at the server; may stand in `synchronous_standby_names`.
pub const RECEIVER: &str = "messenger_wal";
/// Between two looks into the spool.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a slot may stay taken by a receiver that has just ended.
const TAKEN_MAX: Duration = Duration::from_secs(10);
/// How long pg_receivewal may try by itself to reach a server that answers.
const AWAY_MAX: Duration = Duration::from_secs(10);

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
    let mut sealing = Sealing { place, keys, spool: &spool, chain: &mut chain, told };
    let head = source.store.log_head().await.map_err(BackupError::Prepare)?;
    goes_on(&sealing, head.timeline)?;
    fork::make_way(&mut sealing, &tools, head.timeline).await?;
    let following = Following { source, settings, tools };
    let receiving = following.receive().await?;
    (sealing.told)(News::Following);
    following.until(stop, receiving, &mut sealing).await
}

/// Refuses a server that was left for another one: what it writes belongs to nothing that is sealed.
fn goes_on(sealing: &Sealing<'_>, timeline: u32) -> Result<(), BackupError> {
    match sealing.chain.at {
        Some((_, sealed)) if sealed > timeline => {
            Err(BackupError::Left { place: sealing.place.to_string(), timeline, sealed })
        }
        _ => Ok(()),
    }
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

/// Whom the log is received from, and how.
struct Following<'a> {
    source: &'a Source,
    settings: &'a Settings,
    tools: Tools,
}

impl Following<'_> {
    /// Seals until `stop` says so or pg_receivewal ends.
    async fn until(
        &self,
        stop: impl Future<Output = ()>,
        mut receiving: Running,
        sealing: &mut Sealing<'_>,
    ) -> Result<(), BackupError> {
        let (mut sealed, mut erased, mut said) = (Instant::now(), None, Said::default());
        let mut heard = Instant::now();
        let mut stop = std::pin::pin!(stop);
        let is_stopped = loop {
            let is_stopped = tokio::select! {
                () = &mut stop => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let has_ended = !matches!(receiving.child.try_wait(), Ok(None));
            let is_last = is_stopped || has_ended;
            let is_due = is_last || sealed.elapsed() >= self.settings.every;
            // Before the sealing: what had been received by then is sealed after it.
            let look = if is_due && !is_last { self.look(sealing.spool).await? } else { None };
            let is_all = sealing.round(is_due).await?;
            if is_last {
                break is_stopped;
            }
            if !is_due {
                continue;
            }
            sealed = Instant::now();
            if let Some(look) = look {
                heard = sealed;
                publish(sealing, self.source, &mut said, &look, is_all).await?;
            } else if heard.elapsed() > AWAY_MAX {
                heard = sealed;
                receiving = self.again(receiving, sealing, &mut said.safe).await?;
            }
            seal_erasures(sealing, self.source, &mut erased).await?;
        };
        if is_stopped {
            // What it flushed is sealed; it has nothing else to say.
            return on_thread(move || drop(receiving)).await;
        }
        let why = "it ended by itself".to_owned();
        let said = on_thread(move || receiving.finish()).await?;
        Err(said.err().unwrap_or(ToolsError::Failed { program: "pg_receivewal", why }).into())
    }

    /// How far the log is, if the receiver is connected.
    async fn look(&self, spool: &Spool) -> Result<Option<Look>, BackupError> {
        let at = jiff::Timestamp::now();
        let looked = async {
            let head = self.source.store.log_head().await?;
            Ok::<_, AccountError>((head, self.source.store.log_lag(RECEIVER.to_owned()).await?))
        };
        match looked.await {
            Ok((head, Some(lag_bytes))) => {
                let Ok(written) = head.flushed.parse::<Lsn>() else { return Ok(None) };
                // The lag was that of a later moment, so that at least this much had been received.
                let received = Lsn(written.0.saturating_sub(lag_bytes));
                return Ok(Some(Look { at, timeline: head.timeline, written, received, lag_bytes }));
            }
            Ok((_, None)) if !spool.has_room() => {
                return Err(BackupError::NoRoom { path: spool.folder.display().to_string() });
            }
            Ok((_, None)) => {
                tracing::warn!("pg_receivewal is not connected; what is committed now is on the server only")
            }
            Err(why) => tracing::warn!(%why, "the server does not answer; what it wrote last is sealed"),
        }
        Ok(None)
    }

    /// Makes the slot if it is missing, and begins to receive.
    async fn receive(&self) -> Result<Running, BackupError> {
        self.make_slot().await?;
        self.begin()
    }

    async fn make_slot(&self) -> Result<(), BackupError> {
        let (with, slot) = (self.tools.clone(), self.settings.slot.clone());
        let made = on_thread(move || {
            with.run("pg_receivewal", |command| {
                command.args(["--create-slot", "--if-not-exists", "--no-password", "--slot", &slot]);
            })
        });
        made.await??;
        Ok(())
    }

    fn begin(&self) -> Result<Running, BackupError> {
        let mut command = self.tools.command("pg_receivewal")?;
        command.arg("--directory").arg(&self.settings.spool).args(["--slot", &self.settings.slot]);
        command.args(["--synchronous", "--no-password"]).env("PGAPPNAME", RECEIVER).stdout(Stdio::null());
        Ok(Running::start("pg_receivewal", &mut command)?)
    }

    /// Another server may have taken the place of the one that was followed: without the slot, and with a log that goes
    /// on from an earlier position.
    async fn again(
        &self,
        receiving: Running,
        sealing: &mut Sealing<'_>,
        safe: &mut Safe,
    ) -> Result<Running, BackupError> {
        let head = match self.source.store.log_head().await {
            Ok(head) => head,
            Err(why) => {
                tracing::debug!(%why, "the server does not answer; waiting for it");
                return Ok(receiving);
            }
        };
        goes_on(sealing, head.timeline)?;
        if let Err(why) = self.make_slot().await {
            tracing::warn!(%why, "the slot could not be made; trying again");
            return Ok(receiving);
        }
        on_thread(move || drop(receiving)).await?;
        fork::make_way(sealing, &self.tools, head.timeline).await?;
        safe.turn();
        self.begin()
    }
}

/// What is said of how far the log is sealed.
#[derive(Default)]
struct Said {
    safe: Safe,
    notes: Notes,
}

/// Says in `latest.json` and in the server how far the log is sealed, and since when nothing of it is missing.
async fn publish(
    sealing: &Sealing<'_>,
    source: &Source,
    Said { safe, notes }: &mut Said,
    look: &Look,
    is_all: bool,
) -> Result<(), BackupError> {
    let bytes = sealing.spool.segment_bytes;
    if is_all && sealing.chain.has_come_to(look.timeline, look.received, bytes) {
        safe.sealed(look);
    }
    // Until it is known, what was said before stays said.
    let Some(at) = safe.at else { return Ok(()) };
    let Some(end) = sealing.chain.end(bytes, at, look.lag_bytes) else { return Ok(()) };
    let continues = end.publish(sealing.place).await?;
    notes.note(&source.store, &end, continues);
    if !continues {
        tracing::warn!("there is no base backup that the log could continue; make one");
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
