//! Puts one shard together on its own pinned executor: ring, sockets, endpoint, mind. Runs once per shard at start.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use relay_proto::ShardConfig;
use schema_wire::ShardId;

use crate::access::Gate;
use crate::clock::Clock;
use crate::mesh::cores::{Inbox, Postbox};
use crate::mesh::nodes::BusPost;
use crate::metrics::ShardMetrics;
use crate::ring::{Ring, RingConfig};
use crate::shard::{Parts, Shard};
use crate::start::{NodeConfig, ShardSockets, StartError};
use crate::store::StoreThread;
use crate::transport::quic::{Issuer, QuicConfig, QuicEndpoint, QuicLimits, QuicServer};
use crate::transport::websocket::connection::Rules;
use crate::transport::websocket::server::{Deadlines, WebSockets};

/// Registered memory of the executor's own ring, which does next to nothing.
const EXECUTOR_IO_BYTES: usize = 64 * 1024;
/// Entries of the executor's own ring.
const EXECUTOR_RING_DEPTH: usize = 16;
/// When the executor would take the thread from a task. It has one, which keeps it; and when this timer ends between its
/// being set and the first look at the tasks, glommio 0.9 takes them all for idle and sleeps for good, which happened on
/// a busy machine with the usual 100 ms.
const EXECUTOR_PREEMPTS_AFTER: Duration = Duration::from_hours(24 * 365);

/// What all shards of a node are made from.
pub struct Launch {
    pub clock: Clock,
    pub tls: Arc<rustls::ServerConfig>,
    pub quic_tls: Arc<rustls::ServerConfig>,
    pub gate: Arc<Gate>,
    pub shards: u16,
    pub config: NodeConfig,
}

/// What a shard waits for before it starts.
type Go = (Vec<Inbox>, StoreThread, Option<BusPost>);

/// The thread of one shard, from outside.
pub struct ShardThread {
    ready: mpsc::Receiver<Result<Inbox, StartError>>,
    go: mpsc::Sender<Go>,
    executor: ExecutorJoinHandle<()>,
}

impl ShardThread {
    /// Starts the thread on `core`. It prepares itself, then waits for `go`.
    pub fn spawn(
        id: ShardId,
        core: usize,
        sockets: ShardSockets,
        launch: Arc<Launch>,
        drained: mpsc::Sender<ShardId>,
    ) -> Result<Self, StartError> {
        let (ready_sender, ready) = mpsc::channel();
        let (go, go_receiver) = mpsc::channel();
        let executor = LocalExecutorBuilder::new(Placement::Fixed(core))
            .name(&format!("shard-{}", id.0))
            .io_memory(EXECUTOR_IO_BYTES)
            .ring_depth(EXECUTOR_RING_DEPTH)
            .preempt_timer(EXECUTOR_PREEMPTS_AFTER)
            .spawn(move || async move {
                match prepare(id, sockets, &launch) {
                    Ok(prepared) => run(prepared, id, launch, ready_sender, go_receiver, drained),
                    // Nobody listens any more when the node gave up already.
                    Err(error) => drop(ready_sender.send(Err(error))),
                }
            })
            .map_err(|error| StartError::Executor(error.to_string()))?;
        Ok(Self { ready, go, executor })
    }

    /// Waits until the shard is prepared.
    pub fn ready(&mut self) -> Result<Inbox, StartError> {
        self.ready.recv().map_err(|_| StartError::Executor("its thread ended early".into()))?
    }

    /// Lets the shard run.
    pub fn go(&self, inboxes: Vec<Inbox>, store: StoreThread, bus: Option<BusPost>) {
        self.go.send((inboxes, store, bus)).expect("a prepared shard waits for this");
    }

    /// Waits for the thread's end.
    pub fn join(self) {
        if let Err(error) = self.executor.join() {
            tracing::error!(%error, "a shard's executor failed");
        }
    }
}

struct Prepared {
    ring: Ring,
    websockets: WebSockets,
    quic: QuicServer,
}

fn prepare(id: ShardId, sockets: ShardSockets, launch: &Launch) -> Result<Prepared, StartError> {
    let config = &launch.config;
    let mut ring = Ring::new(&RingConfig::default())?;
    for listener in sockets.tcp {
        ring.add_listener(listener)?;
    }
    let mut udp = Vec::new();
    for (address, socket) in sockets.udp {
        udp.push((address.is_ipv4(), ring.add_udp(socket)?));
    }
    let deadlines = Deadlines {
        handshake_us: config.relay.handshake_deadline.as_micros() as u64,
        ping_us: config.relay.ping_interval.as_micros() as u64,
        idle_us: config.relay.idle_timeout.as_micros() as u64,
        farewell_us: 30_000_000,
        linger_us: 2_000_000,
    };
    let rules = Rules {
        upgrade: config.relay.upgrade.clone(),
        message_bytes_max: schema_wire::codec::FRAME_BYTES_MAX,
    };
    let sessions = config.limits.sessions;
    let websockets = WebSockets::new(
        rules,
        config.relay.proxy_networks.clone(),
        deadlines,
        sessions,
        ring.slabs().clone(),
    );
    let endpoint = QuicEndpoint::new(&QuicConfig {
        issuer: issuer(id, config),
        shards: launch.shards as u8,
        tls: launch.quic_tls.clone(),
        limits: QuicLimits { frame_bytes_max: schema_wire::codec::FRAME_BYTES_MAX, ..QuicLimits::default() },
        keys: config.quic_keys.clone(),
        dont_fragment: true,
        seed: None,
    })?;
    Ok(Prepared { ring, websockets, quic: QuicServer::new(endpoint, udp) })
}

fn issuer(id: ShardId, config: &NodeConfig) -> Issuer {
    // Two processes that overlap during an upgrade differ in this number with high probability.
    let generation = std::process::id() as u8;
    Issuer { shard: id.0 as u8, generation, node: config.node.0 }
}

fn run(
    prepared: Prepared,
    id: ShardId,
    launch: Arc<Launch>,
    ready: mpsc::Sender<Result<Inbox, StartError>>,
    go: mpsc::Receiver<Go>,
    drained: mpsc::Sender<ShardId>,
) {
    let inbox = Inbox::new(prepared.ring.waker());
    if ready.send(Ok(inbox.clone())).is_err() {
        return;
    }
    let Ok((inboxes, store, bus)) = go.recv() else { return };
    let config = ShardConfig {
        shard: id,
        shards: launch.shards,
        node: launch.config.node,
        life: bus.as_ref().map(BusPost::life).unwrap_or_default(),
        peers: bus.is_some() || launch.config.relay.database.is_shared(),
        limits: launch.config.limits.clone(),
    };
    let shard = Shard::new(Parts {
        id,
        clock: launch.clock,
        proto: relay_proto::Shard::new(config),
        websockets: prepared.websockets,
        quic: prepared.quic,
        postbox: Postbox::new(id, inboxes),
        bus,
        inbox,
        store,
        gate: launch.gate.clone(),
        tls: launch.tls.clone(),
        metrics: ShardMetrics::default(),
        drained,
    });
    if let Err(error) = shard.run(prepared.ring) {
        tracing::error!(%error, shard = id.0, "a shard's ring failed");
    }
}

/// Cores in this process's affinity mask.
pub fn allowed_cores() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is a valid empty set, and the kernel fills at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &mut set);
        set
    };
    // SAFETY: the index stays below the set's size.
    let is_set = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(is_set).collect();
    if cores.is_empty() { vec![0] } else { cores }
}
