//! One connection to one primary: it publishes what waits in as few round trips as there can be, keeps the subscriptions,
//! and is given up at the first answer that does not come in time.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use schema_store::redis::{Primary, RedisAddress, RedisFault};
use schema_wire::bus::Subject;
use tokio::sync::Notify;

use super::figures::Figures;
use super::receive::{Pulse, receiver};
use super::shared::Shared;
use crate::mesh::cores::Mail;

/// An answer that takes longer does not come.
const ANSWER: Duration = Duration::from_millis(1_000);
/// A connection that had nothing to do is asked this often whether it lives.
const PING: Duration = Duration::from_millis(300);
/// Commands of one round trip.
const BATCH: usize = 512;
/// Frames that wait for one primary; beyond, the oldest is dropped.
const FRAMES_MAX: usize = 8_192;

/// A connection and what it is asked for.
pub(super) struct Link {
    pub(super) primary: Primary,
    /// What it was asked to listen to.
    pub(super) listens: HashSet<Subject>,
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    work: Rc<Work>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Work {
    frames: RefCell<VecDeque<(String, Vec<u8>)>>,
    wishes: RefCell<VecDeque<(Subject, bool)>>,
    wake: Notify,
}

/// A connection that is made, and whom it tells that it breaks.
pub(super) struct Made {
    pub(super) primary: Primary,
    pub(super) connection: MultiplexedConnection,
    pulse: Arc<Pulse>,
}

/// Connects to a primary.
pub(super) async fn make(
    shared: &Arc<Shared>,
    address: &RedisAddress,
    primary: &Primary,
) -> Result<Made, RedisFault> {
    let pulse = Arc::new(Pulse::default());
    let push = receiver(shared, pulse.clone());
    let connection = address.connect(primary, ANSWER, Some(push)).await?;
    Figures::add(&shared.figures.connects, 1);
    Ok(Made { primary: primary.clone(), connection, pulse })
}

impl Link {
    /// Begins to work.
    pub(super) fn start(shared: Arc<Shared>, made: Made) -> Self {
        let Made { primary, connection, pulse } = made;
        let work = Rc::new(Work::default());
        let serving = serve(shared.clone(), work.clone(), pulse.clone(), connection);
        let task = tokio::task::spawn_local(serving);
        Self { primary, listens: HashSet::new(), shared, pulse, work, task }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.pulse.broken.load(Ordering::Relaxed)
    }

    /// Sends a frame with the next round trip.
    pub(super) fn publish(&self, channel: String, frame: Vec<u8>) {
        let mut frames = self.work.frames.borrow_mut();
        frames.push_back((channel, frame));
        if frames.len() > FRAMES_MAX {
            frames.pop_front();
            Figures::add(&self.shared.figures.lost_out, 1);
        }
        self.work.wake.notify_one();
    }

    /// Begins or ends a subscription with the next round trip.
    pub(super) fn listen(&mut self, subject: Subject, on: bool) {
        let news = if on { self.listens.insert(subject) } else { self.listens.remove(&subject) };
        if news {
            self.work.wishes.borrow_mut().push_back((subject, on));
            self.work.wake.notify_one();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        let left = self.work.frames.borrow().len() as u64;
        Figures::add(&self.shared.figures.lost_out, left);
    }
}

async fn serve(
    shared: Arc<Shared>,
    work: Rc<Work>,
    pulse: Arc<Pulse>,
    mut connection: MultiplexedConnection,
) {
    while turn(&shared, &work, &pulse, &mut connection).await.is_ok() {}
    pulse.broken.store(true, Ordering::Relaxed);
    shared.wake.notify_one();
}

/// Something of the connection is not as it should be.
struct Broken;

impl From<redis::RedisError> for Broken {
    fn from(error: redis::RedisError) -> Self {
        tracing::debug!(%error, "a connection to Redis is given up");
        Self
    }
}

async fn turn(
    shared: &Arc<Shared>,
    work: &Work,
    pulse: &Pulse,
    connection: &mut MultiplexedConnection,
) -> Result<(), Broken> {
    let (wishes, frames) = (take(&work.wishes), take(&work.frames));
    if wishes.is_empty() && frames.is_empty() {
        if tokio::time::timeout(PING, work.wake.notified()).await.is_err() {
            redis::cmd("PING").query_async::<()>(connection).await?;
        }
        return Ok(());
    }
    if !wishes.is_empty() {
        subscribe(shared, pulse, connection, &wishes).await?;
    }
    if !frames.is_empty() {
        publish(shared, connection, frames).await?;
    }
    Ok(())
}

fn take<T>(queue: &RefCell<VecDeque<T>>) -> Vec<T> {
    let mut queue = queue.borrow_mut();
    let some = queue.len().min(BATCH);
    queue.drain(..some).collect()
}

async fn subscribe(
    shared: &Arc<Shared>,
    pulse: &Pulse,
    connection: &mut MultiplexedConnection,
    wishes: &[(Subject, bool)],
) -> Result<(), Broken> {
    let mut pipeline = redis::pipe();
    for (subject, on) in wishes {
        pipeline.cmd(if *on { "SSUBSCRIBE" } else { "SUNSUBSCRIBE" }).arg(subject.channel());
    }
    let ending = wishes.iter().filter(|(_, on)| !on).count();
    pulse.unsubscribing.fetch_add(ending, Ordering::Relaxed);
    let answers = connection.send_packed_commands(&pipeline, 0, wishes.len()).await?;
    if answers.iter().any(|answer| matches!(answer, Value::ServerError(_))) {
        return Err(Broken);
    }
    for (subject, _) in wishes.iter().filter(|(subject, on)| *on && *subject != Subject::Nodes) {
        // Without room it is told late: heads are compared and presence is asked for again in time.
        let _ = shared.home(*subject).offer(Mail::Listening { subject: *subject });
    }
    Ok(())
}

async fn publish(
    shared: &Shared,
    connection: &mut MultiplexedConnection,
    frames: Vec<(String, Vec<u8>)>,
) -> Result<(), Broken> {
    let mut pipeline = redis::pipe();
    for (channel, frame) in &frames {
        pipeline.cmd("SPUBLISH").arg(channel).arg(&frame[..]);
    }
    let count = frames.len();
    let answers = connection.send_packed_commands(&pipeline, 0, count).await;
    let refused = match &answers {
        Ok(answers) => answers.iter().filter(|answer| matches!(answer, Value::ServerError(_))).count(),
        Err(_) => count,
    };
    Figures::add(&shared.figures.published, (count - refused) as u64);
    Figures::add(&shared.figures.lost_out, refused as u64);
    // A refusal says that the slot has moved, or that the server is no primary any more.
    if answers.map(|_| refused)? > 0 { Err(Broken) } else { Ok(()) }
}
