//! The internal listener's thread: answers health, readiness and figures, and watches what may change on disk
//! (keys, certificates) and behind it (the store). Slow or broken watchers never touch a shard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_channel::oneshot;
use relay_proto::event::Control;
use schema_store::Store;
use schema_wire::Disconnect;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::connection::{Answers, Patience, accept};
use super::control::Order;
use super::{Exchange, NodeState, Request, accepted, respond, told};
use crate::access::{Gate, KeyFiles, Secret};
use crate::consumers::{Consumer, consumers_json};
use crate::mesh::cores::{Inbox, Mail};
use crate::metrics::{ProcessStats, Snapshot};
use crate::start::{MoreMetrics, StartError};
use crate::transport::tls::Certificates;

/// Connections at once; scrapers need one or two.
const CONNECTIONS_MAX: usize = 64;
/// How long the shards may take to hand their figures over before those that have not count as stuck.
const SNAPSHOT: Duration = Duration::from_secs(2);
/// How often files and store are looked at.
const WATCH: Duration = Duration::from_secs(2);

/// What the watchers know, for readiness, what they swap, and whom they tell.
pub struct Watched {
    pub gate: Arc<Gate>,
    pub certificates: Arc<Certificates>,
    pub metrics_enabled: bool,
    pub more_metrics: Option<MoreMetrics>,
    /// Who shows it may give orders.
    pub secret: Option<Arc<Secret>>,
    /// Makes the store thread look at the change log.
    pub look: Arc<Notify>,
    /// Whoever runs the node is asked to drain it.
    pub leave: Arc<Notify>,
    pub draining: AtomicBool,
    pub store_away: AtomicBool,
}

impl Watched {
    /// From now on the node is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn obstacles(&self) -> Vec<String> {
        let draining = self.draining.load(Ordering::Relaxed).then(|| "draining".to_owned());
        let store = self.store_away.load(Ordering::Relaxed).then(|| "the store does not answer".to_owned());
        draining.into_iter().chain(store).collect()
    }
}

/// The thread, from outside.
pub struct Running {
    pub address: SocketAddr,
    stop: Arc<Notify>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// Ends the thread.
    pub fn stop(self) {
        self.stop.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the internal listener panicked");
        }
    }
}

/// Binds and starts.
pub fn start<S: Store>(
    at: SocketAddr,
    inboxes: Vec<Inbox>,
    watched: Arc<Watched>,
    keys: KeyFiles,
    store: S,
) -> Result<Running, StartError> {
    let io = |doing| move |source| StartError::Io { doing, source };
    let listener = std::net::TcpListener::bind(at).map_err(io("bind the internal listener"))?;
    listener.set_nonblocking(true).map_err(io("prepare the internal listener"))?;
    let address = listener.local_addr().map_err(io("read the internal address"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io("start the internal listener's runtime"))?;
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let known = Known { inboxes: inboxes.into(), watched: watched.clone() };
    let thread = std::thread::Builder::new()
        .name("internal".into())
        .spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = stopped.notified() => {}
                    () = serve(listener, known) => {}
                    () = watch(watched, keys, store) => {}
                }
            });
        })
        .map_err(io("start the internal listener"))?;
    Ok(Running { address, stop, thread })
}

/// The node behind the listener.
#[derive(Clone)]
struct Known {
    inboxes: Arc<[Inbox]>,
    watched: Arc<Watched>,
}

impl Answers for Known {
    fn exchange(&self) -> Exchange {
        Exchange::new(self.watched.metrics_enabled).controlled(self.watched.secret.clone())
    }

    async fn answer(&self, request: Request) -> Vec<u8> {
        answer(request, &self.inboxes, &self.watched).await
    }

    async fn obey(&self, order: Order, keeps_open: bool) -> Vec<u8> {
        obey(order, keeps_open, &self.inboxes, &self.watched).await
    }
}

async fn serve(listener: std::net::TcpListener, known: Known) {
    let listener = TcpListener::from_std(listener).expect("a bound, non-blocking socket inside a runtime");
    accept(listener, CONNECTIONS_MAX, Patience::default(), known).await;
}

async fn obey(order: Order, keeps_open: bool, inboxes: &[Inbox], watched: &Watched) -> Vec<u8> {
    if order == Order::Consumers {
        let found: Vec<Consumer> =
            gather(inboxes, |answer| Mail::Consumers { answer }).await.into_iter().flatten().collect();
        return told(&consumers_json(found), keeps_open);
    }
    carry_out(order, inboxes, watched).await;
    accepted(keeps_open)
}

async fn carry_out(order: Order, inboxes: &[Inbox], watched: &Watched) {
    let control = match order {
        // A question, answered before.
        Order::Consumers => return,
        Order::Look => return watched.look.notify_one(),
        Order::Drain => {
            tracing::info!("asked to drain through the internal listener");
            return watched.leave.notify_one();
        }
        Order::Close { session, user } => {
            Control::DisconnectSession { session, user, with: Disconnect::SlowReader }
        }
        Order::Disconnect { user, device: None, with } => Control::DisconnectUser { user, with },
        Order::Disconnect { user, device: Some(device), with } => {
            Control::DisconnectDevice { user, device, with }
        }
    };
    for inbox in inboxes {
        let mut mail = Mail::Control { control: control.clone() };
        while let Err(back) = inbox.put(mail) {
            mail = back;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // What was changed in the store before this order holds as well.
    watched.look.notify_one();
}

async fn answer(request: Request, inboxes: &[Inbox], watched: &Watched) -> Vec<u8> {
    let snapshots: Vec<Snapshot> = gather(inboxes, |answer| Mail::Snapshot { answer }).await;
    let stuck = inboxes.len() - snapshots.len();
    let faults = (stuck > 0).then(|| format!("{stuck} shards do not answer"));
    let state = NodeState {
        version: env!("CARGO_PKG_VERSION"),
        faults: faults.into_iter().collect(),
        obstacles: watched.obstacles(),
        snapshots,
        process: ProcessStats::read(),
        certificate_not_after_s: watched.certificates.not_after_s(),
        more_metrics: watched.more_metrics.as_ref().map(|more| more()).unwrap_or_default(),
    };
    respond(request, &state)
}

/// What each shard answers to the same question; one that does not answer in time is left out.
async fn gather<T>(inboxes: &[Inbox], question: impl Fn(oneshot::Sender<T>) -> Mail) -> Vec<T> {
    let mut asked = Vec::with_capacity(inboxes.len());
    for inbox in inboxes {
        let (answer, answered) = oneshot::channel();
        if inbox.put(question(answer)).is_ok() {
            asked.push(answered);
        }
    }
    // One deadline for all: with many stuck shards the answer must not come later than with one.
    let by = Instant::now() + SNAPSHOT;
    let mut answers = Vec::with_capacity(asked.len());
    for answered in asked {
        if let Ok(Ok(answer)) = timeout_at(by, answered).await {
            answers.push(answer);
        }
    }
    answers
}

async fn watch<S: Store>(watched: Arc<Watched>, mut keys: KeyFiles, store: S) {
    loop {
        tokio::time::sleep(WATCH).await;
        match keys.poll() {
            Ok(Some(verifier)) => {
                watched.gate.swap(verifier);
                tracing::info!("verification keys changed");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the keys in use stay: the new ones cannot be used"),
        }
        match watched.certificates.poll_changed() {
            Ok(true) => tracing::info!("certificate changed"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the certificate in use stays: the new one cannot be used"),
        }
        let away = store.check().await.is_err();
        if watched.store_away.swap(away, Ordering::Relaxed) != away {
            tracing::warn!(away, "the store's answer changed");
        }
    }
}
