//! The store's threads. One writer drains what waits into one transaction (group commit); readers share a queue.
//! Queues are bounded: when one is full the request fails at once and may be tried again.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use futures_channel::oneshot;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use schema_wire::record::{Append, Appended, StoreFault};

use super::append::append;
use super::checkpoint::{Checkpoints, Passes};
use super::fault::fault;
use super::open::{Clock, OpenError, Options, reader, writer};
use super::reads::{Place, Reads};
use super::stream::{CursorMove, CursorMoved, move_cursor};
use crate::accounts::{AccountError, Answer};

/// Most messages in one transaction.
const BATCH_MESSAGES_MAX: usize = 1024;
/// Most bytes of bodies in one transaction.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) type Work = Box<dyn FnOnce(&mut Connection, u64) + Send>;

/// What waits for the writer.
enum Job {
    Append(Vec<Append>, oneshot::Sender<Result<Vec<Appended>, StoreFault>>),
    Cursor(CursorMove, oneshot::Sender<Result<CursorMoved, StoreFault>>),
    /// A transaction of its own.
    Work(Work),
}

/// What became of a grouped job, kept back until the commit.
enum Held {
    Append(Vec<Appended>, oneshot::Sender<Result<Vec<Appended>, StoreFault>>),
    Cursor(CursorMoved, oneshot::Sender<Result<CursorMoved, StoreFault>>),
}

/// The running threads. Dropping them lets queued work finish and closes the file.
pub struct Threads {
    jobs: Option<SyncSender<Job>>,
    reads: Arc<Reads>,
    passes: Arc<Passes>,
    /// The writer, then the readers.
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    pub fn start(path: &Path, options: Options) -> Result<Self, OpenError> {
        let mut write = writer(path, &options)?;
        let checkpoints = Checkpoints::start(path, &options, &mut write)?;
        let passes = checkpoints.passes();
        let (jobs, waiting) = sync_channel(options.queue_max);
        let reads = Arc::new(Reads::new(options.queue_max));
        let mut running = Vec::new();
        let clock = options.clock.clone();
        running.push(spawn("store-writer".into(), move || write_loop(write, checkpoints, &waiting, &clock))?);
        for n in 0..options.readers.max(1) {
            let (connection, reads, clock) = (reader(path, &options)?, reads.clone(), options.clock.clone());
            running.push(spawn(format!("store-reader-{n}"), move || read_loop(connection, &reads, &clock))?);
        }
        Ok(Self { jobs: Some(jobs), reads, passes, running })
    }

    pub async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreFault> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Append(batch, reply))?;
        answer.await.unwrap_or(Err(StoreFault::Unavailable))
    }

    pub async fn move_cursor(&self, cursor: CursorMove) -> Result<CursorMoved, StoreFault> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Cursor(cursor, reply))?;
        answer.await.unwrap_or(Err(StoreFault::Unavailable))
    }

    pub async fn write<T, F>(&self, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>, u64) -> Answer<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Work(Box::new(move |connection, now| {
            let _ = reply.send(transact(connection, TransactionBehavior::Immediate, |tx| work(tx, now)));
        })))?;
        answer.await.unwrap_or(Err(AccountError::Fault(StoreFault::Unavailable)))
    }

    pub async fn read<T, F>(&self, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>, u64) -> Answer<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = read_work(work, |answer| drop(reply.send(answer)));
        self.reads.push(work).map_err(|_| StoreFault::Unavailable)?;
        answer.await.unwrap_or(Err(AccountError::Fault(StoreFault::Unavailable)))
    }

    /// What became of the checkpoints.
    pub fn passes(&self) -> Arc<Passes> {
        self.passes.clone()
    }

    /// A place in the readers' queue for a caller that does not wait for the answer.
    pub fn place(&self) -> Option<Place<'_>> {
        self.reads.place()
    }

    fn submit(&self, job: Job) -> Result<(), StoreFault> {
        let queue = self.jobs.as_ref().expect("the queue lives as long as the handle");
        queue.try_send(job).map_err(|_| StoreFault::Unavailable)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The writer closes last: only it can move what the write-ahead log still holds into the file.
        self.reads.close();
        for reader in self.running.drain(1..) {
            let _ = reader.join();
        }
        self.jobs = None;
        for writer in self.running.drain(..) {
            let _ = writer.join();
        }
    }
}

pub(super) fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new().name(name).spawn(body).map_err(OpenError::Thread)
}

fn transact<T>(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Transaction<'_>) -> Answer<T>,
) -> Answer<T> {
    let tx = connection.transaction_with_behavior(behavior)?;
    let done = work(&tx)?;
    tx.commit()?;
    Ok(done)
}

/// Reads in one snapshot; `answered` runs on the reader.
pub fn read_work<T>(
    work: impl FnOnce(&Transaction<'_>, u64) -> Answer<T> + Send + 'static,
    answered: impl FnOnce(Answer<T>) + Send + 'static,
) -> Work {
    Box::new(move |connection, now| {
        answered(transact(connection, TransactionBehavior::Deferred, |tx| work(tx, now)));
    })
}

fn read_loop(mut connection: Connection, reads: &Reads, clock: &Clock) {
    while let Some(work) = reads.next() {
        work(&mut connection, clock());
    }
}

fn write_loop(mut connection: Connection, checkpoints: Checkpoints, waiting: &Receiver<Job>, clock: &Clock) {
    let mut next = waiting.recv().ok();
    while let Some(job) = next.take() {
        let mut after = None;
        match job {
            Job::Work(work) => work(&mut connection, clock()),
            light => {
                let (group, heavy) = gather(light, waiting);
                commit_group(&mut connection, group, clock());
                after = heavy;
            }
        }
        checkpoints.catch_up(&connection);
        next = after.or_else(|| waiting.recv().ok());
    }
    checkpoints.stop(&mut connection);
}

/// Everything waiting that may share a transaction with `first`, and the job that may not.
fn gather(first: Job, waiting: &Receiver<Job>) -> (Vec<Job>, Option<Job>) {
    let (mut messages, mut bytes) = weight(&first);
    let mut group = vec![first];
    while messages < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX {
        match waiting.try_recv() {
            Ok(work @ Job::Work(_)) => return (group, Some(work)),
            Ok(job) => {
                let (m, b) = weight(&job);
                (messages, bytes) = (messages + m, bytes + b);
                group.push(job);
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    (group, None)
}

fn weight(job: &Job) -> (usize, usize) {
    match job {
        Job::Append(batch, _) => (batch.len(), batch.iter().map(|a| a.body.len()).sum()),
        Job::Cursor(..) | Job::Work(_) => (1, 0),
    }
}

/// All of the group in one transaction: every answer after the commit, or the fault for all and nothing stored.
fn commit_group(connection: &mut Connection, group: Vec<Job>, now: u64) {
    let mut held = Vec::with_capacity(group.len());
    let mut group = group.into_iter();
    let outcome = group_transaction(connection, &mut group, &mut held, now).map_err(|e| fault(&e));
    match outcome {
        Ok(()) => held.into_iter().for_each(Held::settle),
        Err(fault) => {
            held.into_iter().for_each(|h| h.fail(fault));
            group.for_each(|job| job.fail(fault));
        }
    }
}

fn group_transaction(
    connection: &mut Connection,
    group: &mut std::vec::IntoIter<Job>,
    held: &mut Vec<Held>,
    now: u64,
) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in group {
        match job {
            Job::Append(batch, reply) => match append(&tx, &batch, now) {
                Ok(outcomes) => held.push(Held::Append(outcomes, reply)),
                Err(error) => {
                    let _ = reply.send(Err(fault(&error)));
                    return Err(error);
                }
            },
            Job::Cursor(cursor, reply) => match move_cursor(&tx, &cursor, now) {
                Ok(moved) => held.push(Held::Cursor(moved, reply)),
                Err(error) => {
                    let _ = reply.send(Err(fault(&error)));
                    return Err(error);
                }
            },
            Job::Work(_) => unreachable!("`gather` keeps work out of groups"),
        }
    }
    tx.commit()
}

impl Held {
    fn settle(self) {
        match self {
            Self::Append(outcomes, reply) => drop(reply.send(Ok(outcomes))),
            Self::Cursor(moved, reply) => drop(reply.send(Ok(moved))),
        }
    }

    fn fail(self, fault: StoreFault) {
        match self {
            Self::Append(_, reply) => drop(reply.send(Err(fault))),
            Self::Cursor(_, reply) => drop(reply.send(Err(fault))),
        }
    }
}

impl Job {
    fn fail(self, fault: StoreFault) {
        match self {
            Self::Append(_, reply) => drop(reply.send(Err(fault))),
            Self::Cursor(_, reply) => drop(reply.send(Err(fault))),
            Self::Work(_) => {}
        }
    }
}
