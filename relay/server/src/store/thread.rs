//! The store's side of a node: takes requests from all shards, commits appends in groups, answers into the shards' inboxes,
//! and polls the change log so that nothing depends on a notice that may be lost. It runs on the store's own thread where
//! that takes work (PostgreSQL), else on one of its own; on tokio-uring in any case.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use relay_proto::event::{Control, Ticket};
use schema_store::{ChangePosition, Store, Tried, Work};
use schema_wire::ShardId;
use schema_wire::record::{Append, Change, StoreFault, StoreReply, StoreRequest};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::bans::Bans;
use super::batch::{Batch, Lane, ReturnAddress, Waiting};
use super::limit::MessageLimit;
use crate::config::RateLimit;
use crate::mesh::cores::{Inbox, Mail};

/// Requests that may wait for the store thread to look at them.
const JOBS_MAX: usize = 32_768;
/// Reads under way at once.
const READS_MAX: usize = 256;
/// How often the change log is polled when nobody nudges. Live sessions must be cut within a second.
const POLL: Duration = Duration::from_millis(200);
/// Changes in one poll.
const CHANGES_MAX: u32 = 512;

/// A request and where its answer goes.
#[derive(Debug)]
pub struct StoreJob {
    pub shard: ShardId,
    pub ticket: Ticket,
    pub request: StoreRequest,
}

/// Hands a read to whoever in the store can answer it without this thread; gives it back when nobody can.
type Aside = Arc<dyn Fn(StoreJob) -> Option<StoreJob> + Send + Sync>;

/// The way to the store thread.
#[derive(Clone)]
pub struct StoreThread {
    jobs: mpsc::Sender<StoreJob>,
    aside: Aside,
    nudge: Arc<Notify>,
}

impl StoreThread {
    /// Starts it. It ends when the last handle is dropped.
    pub fn start<S: Store>(
        store: S,
        inboxes: Vec<Inbox>,
        limit: MessageLimit,
    ) -> std::io::Result<(Self, StoreEnd)> {
        let (jobs, receiver) = mpsc::channel(JOBS_MAX);
        let nudge = Arc::new(Notify::new());
        let aside = aside(store.clone(), inboxes.clone());
        let (ending, end) = std::sync::mpsc::channel();
        let (poll, aboard) = (nudge.clone(), store.clone());
        let work: Work = Box::new(move || {
            Box::pin(async move {
                let poller =
                    tokio::task::spawn_local(poll_changes(store.clone(), inboxes.clone(), poll, limit));
                serve(store, receiver, inboxes).await;
                poller.abort();
                // Its handle on the store goes with it.
                let _ = poller.await;
                // Nobody waits for it when the node could not be started.
                let _ = ending.send(());
            })
        });
        let thread = match aboard.aboard(work) {
            Ok(()) => None,
            Err(work) => {
                let thread = std::thread::Builder::new().name("store".into());
                Some(thread.spawn(move || host(work()))?)
            }
        };
        Ok((Self { jobs, aside, nudge }, StoreEnd { end, thread }))
    }

    /// Hands a request over; when the queue is full, gives back what the shard is to be told.
    #[expect(clippy::result_large_err, reason = "the answer goes back as any other")]
    pub fn submit(&self, job: StoreJob) -> Result<(), (Ticket, StoreReply)> {
        let Some(job) = (self.aside)(job) else { return Ok(()) };
        self.jobs.try_send(job).map_err(|e| {
            let job = e.into_inner();
            (job.ticket, StoreReply::Fault(StoreFault::Unavailable))
        })
    }

    /// Told, it polls the change log now. It does not keep the thread.
    pub fn look(&self) -> Arc<Notify> {
        self.nudge.clone()
    }
}

/// What runs a store's thread.
pub fn host(work: Pin<Box<dyn Future<Output = ()>>>) {
    tokio_uring::start(work);
}

/// What says that all is answered.
pub struct StoreEnd {
    end: std::sync::mpsc::Receiver<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl StoreEnd {
    /// Waits until the last request is answered, once all handles are dropped; false: it panicked.
    pub fn wait(self) -> bool {
        let is_orderly = self.end.recv().is_ok();
        self.thread.is_none_or(|thread| thread.join().is_ok()) && is_orderly
    }
}

/// Two changes of thread instead of four for each read.
fn aside<S: Store>(store: S, inboxes: Vec<Inbox>) -> Aside {
    let inboxes: Arc<[Inbox]> = inboxes.into();
    Arc::new(move |StoreJob { shard, ticket, request }| {
        let inboxes = inboxes.clone();
        let answered = move |reply| {
            let mut mail = Mail::Stored { ticket, reply };
            // A full inbox holds the reader up, which holds the shards' requests up: nothing is dropped.
            while let Err(back) = inboxes[usize::from(shard.0)].put(mail) {
                mail = back;
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let (request, _) = store.ask_aside(request, Box::new(answered)).err()?;
        Some(StoreJob { shard, ticket, request })
    })
}

type Commit = Pin<Box<dyn Future<Output = (Lane, Vec<ReturnAddress>, Result<Vec<Tried>, StoreFault>)>>>;

async fn serve<S: Store>(store: S, mut jobs: mpsc::Receiver<StoreJob>, inboxes: Vec<Inbox>) {
    let inboxes = Rc::new(inboxes);
    let reads = Arc::new(Semaphore::new(READS_MAX));
    let mut waiting = Waiting::new(store.lanes());
    let mut commits: FuturesUnordered<Commit> = FuturesUnordered::new();
    let mut arrived = Vec::with_capacity(1024);
    let mut open = true;
    while open || !commits.is_empty() {
        tokio::select! {
            biased;
            Some((lane, to, outcomes)) = commits.next(), if !commits.is_empty() => {
                let held = answer_batch(&inboxes, to, outcomes).await;
                waiting.done(lane, held);
            }
            n = jobs.recv_many(&mut arrived, 1024), if open => {
                open = n > 0;
                for job in arrived.drain(..) {
                    take(&store, job, &mut waiting, &reads, &inboxes).await;
                }
            }
        }
        while let Some(batch) = waiting.next() {
            commits.push(commit(store.clone(), batch));
        }
    }
}

/// In a shared lane nothing waits for another node; what has a lane of its own may.
fn commit<S: Store>(store: S, Batch { to, appends, lane }: Batch) -> Commit {
    Box::pin(async move {
        let outcomes = match lane {
            Lane::Shared(_) => store.try_append(appends).await,
            Lane::Own(_) => store.append(appends).await.map(|all| all.into_iter().map(Ok).collect()),
        };
        (lane, to, outcomes)
    })
}

async fn take<S: Store>(
    store: &S,
    job: StoreJob,
    waiting: &mut Waiting,
    reads: &Arc<Semaphore>,
    inboxes: &Rc<Vec<Inbox>>,
) {
    let to = ReturnAddress { shard: job.shard, ticket: job.ticket };
    match job.request {
        StoreRequest::Append(append) => {
            if !waiting.push(to, append) {
                answer(inboxes, to, StoreReply::Fault(StoreFault::Unavailable)).await;
            }
        }
        request => {
            let permit = reads.clone().acquire_owned().await;
            let (store, inboxes) = (store.clone(), inboxes.clone());
            tokio::task::spawn_local(async move {
                let reply = store.ask(request).await;
                drop(permit);
                answer(&inboxes, to, reply).await;
            });
        }
    }
}

/// Answers all; returns those that are to be tried in a lane of their own.
async fn answer_batch(
    inboxes: &Rc<Vec<Inbox>>,
    to: Vec<ReturnAddress>,
    outcomes: Result<Vec<Tried>, StoreFault>,
) -> Vec<(ReturnAddress, Append)> {
    let mut held = Vec::new();
    match outcomes {
        Ok(outcomes) => {
            assert_eq!(outcomes.len(), to.len(), "one outcome per append");
            for (to, outcome) in to.into_iter().zip(outcomes) {
                match outcome {
                    Ok(outcome) => answer(inboxes, to, StoreReply::Append(outcome)).await,
                    Err(append) => held.push((to, append)),
                }
            }
        }
        Err(fault) => {
            for to in to {
                answer(inboxes, to, StoreReply::Fault(fault)).await;
            }
        }
    }
    held
}

async fn answer(inboxes: &Rc<Vec<Inbox>>, to: ReturnAddress, reply: StoreReply) {
    post(&inboxes[usize::from(to.shard.0)], Mail::Stored { ticket: to.ticket, reply }).await;
}

/// A full inbox holds the store thread up, which holds the shards' requests up: nothing is dropped.
async fn post(inbox: &Inbox, mut mail: Mail) {
    while let Err(back) = inbox.put(mail) {
        mail = back;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn poll_changes<S: Store>(store: S, inboxes: Vec<Inbox>, nudge: Arc<Notify>, mut limit: MessageLimit) {
    let mut position = ChangePosition::default();
    let mut bans = Bans::default();
    loop {
        let full = match store.changes(position.clone(), CHANGES_MAX).await {
            Ok((changes, next)) => {
                position = next;
                if changes.contains(&Change::Missed) {
                    tracing::warn!("the change log was not read for too long; every session begins anew");
                }
                let full = changes.len() >= CHANGES_MAX as usize;
                // First of all: whoever is cut does not come back.
                if let Some(banned) = bans.look(&store, &changes).await {
                    for inbox in &inboxes {
                        post(inbox, Mail::Banned { banned: banned.clone() }).await;
                    }
                }
                for change in changes {
                    for inbox in &inboxes {
                        post(inbox, Mail::Changed { change: change.clone() }).await;
                    }
                }
                full
            }
            Err(fault) => {
                tracing::warn!(?fault, "change log unreadable; live sessions keep their last known state");
                false
            }
        };
        if !full {
            if let Some(RateLimit { max, window_s }) = limit.look(&store).await {
                tracing::info!(max, window_s, "another message limit was set");
                for inbox in &inboxes {
                    post(inbox, Mail::Control { control: Control::MessageLimit { max, window_s } }).await;
                }
            }
            let _ = tokio::time::timeout(POLL, nudge.notified()).await;
        }
    }
}
