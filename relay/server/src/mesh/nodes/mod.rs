//! Nodes: what connects this node to the others, through Redis. Hints only: whatever is lost on the way comes from the
//! store. Runs on its own thread; shards put into bounded queues and never wait.

mod figures;
mod heard;
mod link;
mod online;
mod receive;
mod run;
mod shared;
mod take;

pub use figures::Figures;
pub use schema_store::redis::RedisFault;
pub use shared::BusPost;

use std::sync::Arc;
use std::thread::JoinHandle;

use relay_proto::Limits;
use schema_store::redis::RedisAddress;
use schema_wire::bus::{BusFrame, Life};
use tokio::sync::watch;

use crate::mesh::cores::Inbox;
use shared::Shared;

/// Why the bus cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error("start the bus's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The running bus of a node.
pub struct Bus {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Starts the bus. `limits` say what all nodes count together, `nudge` is called when another node says that the change log
/// grew. A Redis that is away is waited for; one that refuses is an error.
///
/// # Errors
/// The URL is none, Redis refuses the password or is too old, or there is no thread to be had.
pub fn start(
    url: &str,
    inboxes: Vec<Inbox>,
    limits: &Limits,
    nudge: impl Fn() + Send + Sync + 'static,
) -> Result<Bus, BusError> {
    let address = RedisAddress::parse(url)?;
    let mut life = [0; 8];
    getrandom::fill(&mut life).expect("the kernel has randomness");
    let shared = Arc::new(Shared::new(Life(u64::from_be_bytes(life)), inboxes, limits, Box::new(nudge)));
    let (stop, stopped) = watch::channel(false);
    let (checked, verdict) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inner = shared.clone();
    let thread = std::thread::Builder::new().name("bus".into()).spawn(move || {
        let verdict = runtime.block_on(address.check());
        let is_of_use = verdict.as_ref().err().is_none_or(RedisFault::may_pass);
        // Without anybody who waits for it, nobody wants the bus either.
        if checked.send(verdict).is_ok() && is_of_use {
            tokio::task::LocalSet::new().block_on(&runtime, run::run(inner, address, stopped));
        }
    })?;
    match verdict.recv().unwrap_or(Err(RedisFault::Answer)) {
        Err(fault) if !fault.may_pass() => return Err(fault.into()),
        Err(fault) => tracing::warn!(%fault, "this node starts without the others and joins them later"),
        Ok(()) => {}
    }
    Ok(Bus { shared, stop, thread })
}

impl Bus {
    /// One shard's way to the other nodes.
    pub fn post(&self) -> BusPost {
        BusPost::new(self.shared.clone())
    }

    /// Tells the other nodes that the change log grew.
    pub fn nudger(&self) -> impl Fn() + Send + Sync + Clone + 'static {
        let shared = self.shared.clone();
        move || shared.send(BusFrame::Nudge)
    }

    /// Prometheus text of the bus.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.figures.render()
    }

    /// What the bus counts.
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Says goodbye to the other nodes and ends the thread.
    pub fn stop(self) {
        // The thread may have ended already.
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the bus's thread panicked");
        }
    }
}
