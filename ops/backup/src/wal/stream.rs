//! Following a server's log: pg_receivewal flushes it off the server within milliseconds, this seals what came every few
//! seconds and when a segment is whole.

use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::{FusedFuture, FutureExt};
use schema_store::AccountError;

use super::chain::Chain;
use super::note::Notes;
use super::piece::Piece;
use super::receiver::{Receiver, is_gone, last_words};
use super::safe::{Look, Safe};
use super::sealing::Sealing;
use super::spool::Spool;
use super::{erasures, fork};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::run::Source;
use crate::postgres::{Lsn, Running, last_line};
use crate::run::{FolderLock, on_thread};

/// What pg_receivewal calls itself at the server; may stand in `synchronous_standby_names`.
pub const RECEIVER: &str = "messenger_wal";
/// Between two looks into the spool.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the sealing waits for what the server says of itself.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long for the erasure ledger, which is read from a server that has just answered.
const LEDGER_MAX: Duration = Duration::from_secs(10);
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
    spool.belong_to(&cluster.system)?;
    let receiver = Receiver { source, settings, tools };
    receiver.free().await?;
    let mut chain = Chain::find(place, keys, &cluster.system, cluster.segment_bytes).await?;
    let mut sealing = Sealing { place, keys, spool: &spool, chain: &mut chain, told };
    let head = source.store.log_head().await.map_err(BackupError::Prepare)?;
    goes_on(&sealing, head.timeline)?;
    fork::make_way(&mut sealing, &receiver.tools, head.timeline).await?;
    sealing.leave_behind().await?;
    receiver.make_slot().await?;
    let receiving = receiver.begin()?;
    (sealing.told)(News::Following);
    receiver.until(stop, receiving, &mut sealing).await
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

/// What the server answers, if it does so before that and before `stop`. One that is gone without a word must hold up
/// nothing here.
async fn asked<T>(
    within: Duration,
    stop: &mut (impl Future<Output = ()> + Unpin),
    answer: impl Future<Output = Result<T, AccountError>>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = stop => None,
        answered = tokio::time::timeout(within, answer) => match answered {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(why)) => {
                tracing::warn!(%why, "the server does not answer; what it wrote last is sealed");
                None
            }
            Err(_) => {
                tracing::warn!("the server is silent; what it wrote last is sealed");
                None
            }
        },
    }
}

/// Whether the receiver is connected, and how far it and the log are.
enum Heard {
    Look(Look),
    /// It is not connected to a server that answers.
    Away,
    /// Nothing is known.
    Silence,
}

impl Receiver<'_> {
    /// Seals until `stop` says so or pg_receivewal ends.
    async fn until(
        &self,
        stop: impl Future<Output = ()>,
        mut receiving: Running,
        sealing: &mut Sealing<'_>,
    ) -> Result<(), BackupError> {
        let (mut sealed, mut erased, mut said) = (Instant::now(), None, Said::default());
        let mut heard = Instant::now();
        let mut stop = std::pin::pin!(stop.fuse());
        loop {
            tokio::select! {
                () = &mut stop => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let has_ended = !matches!(receiving.child.try_wait(), Ok(None));
            let is_due = stop.is_terminated() || has_ended || sealed.elapsed() >= self.settings.every;
            // Before the sealing: what had been received by then is sealed after it.
            let look = if is_due && !has_ended { self.look(&mut stop).await } else { Heard::Silence };
            let is_all = sealing.round(is_due).await?;
            if stop.is_terminated() || has_ended {
                break;
            }
            if !is_due {
                continue;
            }
            sealed = Instant::now();
            let answers = !matches!(look, Heard::Silence);
            match look {
                Heard::Look(look) => {
                    heard = sealed;
                    publish(sealing, self.source, &mut said, &look, is_all).await?;
                }
                Heard::Away if !sealing.spool.has_room() => {
                    return Err(BackupError::NoRoom { path: sealing.spool.folder.display().to_string() });
                }
                Heard::Away | Heard::Silence if heard.elapsed() > AWAY_MAX => {
                    heard = sealed;
                    receiving = self.again(&mut stop, receiving, sealing, &mut said.safe).await?;
                }
                Heard::Away | Heard::Silence => {}
            }
            if answers {
                seal_erasures(sealing, self.source, &mut stop, &mut erased).await?;
            }
            sealing.remove_old().await?;
        }
        sealing.remove_old().await?;
        if stop.is_terminated() {
            // What it flushed is sealed; it has nothing else to say.
            return on_thread(move || drop(receiving)).await;
        }
        Err(last_words(receiving).await)
    }

    /// How far the log is, if the receiver is connected.
    async fn look(&self, stop: &mut (impl FusedFuture<Output = ()> + Unpin)) -> Heard {
        if stop.is_terminated() {
            return Heard::Silence;
        }
        let at = jiff::Timestamp::now();
        let looked = async {
            let head = self.source.store.log_head().await?;
            Ok::<_, AccountError>((head, self.source.store.log_lag(RECEIVER.to_owned()).await?))
        };
        match asked(ANSWER_MAX, stop, looked).await {
            Some((head, Some(lag_bytes))) => {
                let Ok(written) = head.flushed.parse::<Lsn>() else { return Heard::Silence };
                // The lag was that of a later moment, so that at least this much had been received.
                let received = Lsn(written.0.saturating_sub(lag_bytes));
                Heard::Look(Look { at, timeline: head.timeline, written, received, lag_bytes })
            }
            Some((_, None)) => {
                tracing::warn!("pg_receivewal is not connected; what is committed now is on the server only");
                Heard::Away
            }
            None => Heard::Silence,
        }
    }

    /// Another server may have taken the place of the one that was followed: without the slot, with a log that goes on from
    /// an earlier position, or without the part that comes next.
    async fn again(
        &self,
        stop: &mut (impl FusedFuture<Output = ()> + Unpin),
        receiving: Running,
        sealing: &mut Sealing<'_>,
        safe: &mut Safe,
    ) -> Result<Running, BackupError> {
        let said = last_line(&receiving.said(), "nothing");
        let Some(head) = asked(ANSWER_MAX, stop, self.source.store.log_head()).await else {
            return Ok(receiving);
        };
        tracing::warn!(said, "pg_receivewal stays away from a server that answers; it begins again");
        goes_on(sealing, head.timeline)?;
        if let Err(why) = self.make_slot().await {
            tracing::warn!(%why, "the slot could not be made; trying again");
            return Ok(receiving);
        }
        on_thread(move || drop(receiving)).await?;
        fork::make_way(sealing, &self.tools, head.timeline).await?;
        if is_gone(&said, sealing.spool.segment_bytes)
            && let Err(why) = self.afresh(sealing).await
        {
            tracing::warn!(%why, "the slot could not be made again; trying again");
        }
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
    stop: &mut (impl Future<Output = ()> + Unpin),
    seen: &mut Option<u64>,
) -> Result<(), BackupError> {
    let read = source.store.erasures(*seen);
    let Some(present) = asked(LEDGER_MAX, stop, read).await.flatten() else { return Ok(()) };
    let lines = present.len() as u64;
    erasures::seal(sealing.place, sealing.keys, &sealing.chain.system, present).await?;
    *seen = Some(lines);
    Ok(())
}
