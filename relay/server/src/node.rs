//! One relay process: opens sockets, starts a shard per core, the store thread and the internal listener,
//! and takes them down again. Everything a shard shares with others is made here and is immutable or a queue.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use relay_proto::event::Control;
use schema_store::Store;
use schema_wire::ShardId;
use tokio::sync::Notify;

use crate::access::{Gate, KeyFiles};
use crate::clock::Clock;
use crate::config::RelayConfig;
use crate::internal::listener::{self, Watched};
use crate::launch::{Launch, ShardThread};
use crate::mesh::cores::{Inbox, Mail};
use crate::mesh::nodes::{self, Bus};
use crate::ring::{check_host, socket};
use crate::start::{MoreMetrics, NodeConfig, ShardSockets, StartError};
use crate::store::{MessageLimit, StoreEnd, StoreThread};
use crate::transport::steer;
use crate::transport::tls::{Certificates, quic_config, websocket_config};

/// A running node.
pub struct Node {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where health and figures are.
    pub internal: SocketAddr,
    inboxes: Vec<Inbox>,
    shards: Vec<ShardThread>,
    drained: mpsc::Receiver<ShardId>,
    store: Option<StoreThread>,
    store_end: Option<StoreEnd>,
    bus: Option<Bus>,
    listener: Option<listener::Running>,
    watched: Arc<Watched>,
}

impl Node {
    /// Starts everything; returns once clients can connect.
    pub fn start<S: Store>(config: NodeConfig, store: S) -> Result<Self, StartError> {
        check_host()?;
        raise_descriptor_limit();
        let cores = launch_cores(config.relay.shards);
        let (address, sockets) = open(&config.relay, cores.len())?;
        let certificates = Certificates::load(config.certificate.clone())?;
        let (keys, verifier) = KeyFiles::open(config.relay.access.clone())?;
        let gate = Arc::new(Gate::new(verifier));
        let launch = Arc::new(Launch {
            clock: Clock::start(),
            tls: websocket_config(certificates.clone(), config.relay.tls_records)?,
            quic_tls: quic_config(certificates.clone())?,
            gate: gate.clone(),
            shards: cores.len() as u16,
            config,
        });
        let (drained_sender, drained) = mpsc::channel();
        let mut shards = Vec::new();
        for (at, (core, sockets)) in cores.into_iter().zip(sockets).enumerate() {
            let id = ShardId(at as u16);
            shards.push(ShardThread::spawn(id, core, sockets, launch.clone(), drained_sender.clone())?);
        }
        let inboxes = shards.iter_mut().map(ShardThread::ready).collect::<Result<Vec<_>, _>>()?;
        let (store_handle, store_end) =
            StoreThread::start(store.clone(), inboxes.clone(), MessageLimit::of(&launch.config.relay))
                .map_err(|source| StartError::Io { doing: "start the store thread", source })?;
        let bus = start_bus(&launch.config, &inboxes, &store_handle)?;
        for shard in &shards {
            shard.go(inboxes.clone(), store_handle.clone(), bus.as_ref().map(Bus::post));
        }
        let watched = Arc::new(Watched {
            gate,
            certificates,
            metrics_enabled: launch.config.relay.metrics_enabled,
            more_metrics: more_metrics(launch.config.more_metrics.clone(), bus.as_ref()),
            secret: launch.config.relay.control_secret.clone().map(Arc::new),
            look: store_handle.look(),
            leave: Arc::new(Notify::new()),
            draining: AtomicBool::new(false),
            store_away: AtomicBool::new(false),
        });
        let listener = listener::start(
            launch.config.relay.internal_listen,
            inboxes.clone(),
            watched.clone(),
            keys,
            store,
        )?;
        Ok(Self {
            address,
            internal: listener.address,
            inboxes,
            shards,
            drained,
            store: Some(store_handle),
            store_end: Some(store_end),
            bus,
            listener: Some(listener),
            watched,
        })
    }

    /// Something changed in the store: look now instead of at the next poll, here and on the other nodes.
    pub fn nudge(&self) {
        self.nudger()();
    }

    /// A handle that may nudge from another thread.
    pub fn nudger(&self) -> impl Fn() + Send + Sync + Clone + 'static {
        let look = self.store.as_ref().map(StoreThread::look);
        let others = self.bus.as_ref().map(Bus::nudger);
        move || {
            if let Some(look) = &look {
                look.notify_one();
            }
            if let Some(others) = &others {
                others();
            }
        }
    }

    /// Told when somebody who may asked for this node to be drained.
    pub fn asked_to_leave(&self) -> Arc<Notify> {
        self.watched.leave.clone()
    }

    /// Tells clients to go, finishes what is under way, and closes. Ends within about `deadline`.
    pub fn drain(mut self, deadline: Duration) {
        self.watched.drain();
        let control = Control::Drain {
            reconnect_after_ms: 1_000,
            alternate: String::new(),
            deadline_ms: deadline.as_millis() as u32,
        };
        self.post(|| Mail::Control { control: control.clone() });
        let until = std::time::Instant::now() + deadline + Duration::from_millis(500);
        for _ in 0..self.shards.len() {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if self.drained.recv_timeout(left).is_err() {
                tracing::warn!("a shard did not finish draining in time");
                break;
            }
        }
        self.stop();
    }

    /// Ends all threads. Connections that are still open are closed by the kernel.
    pub fn stop(&mut self) {
        self.post(|| Mail::Stop);
        for shard in self.shards.drain(..) {
            shard.join();
        }
        if let Some(listener) = self.listener.take() {
            listener.stop();
        }
        if let Some(bus) = self.bus.take() {
            bus.stop();
        }
        self.store = None;
        if let Some(end) = self.store_end.take()
            && !end.wait()
        {
            tracing::error!("the store thread panicked");
        }
    }

    fn post(&self, mail: impl Fn() -> Mail) {
        for inbox in &self.inboxes {
            let mut waiting = Some(mail());
            while let Some(mail) = waiting.take() {
                if let Err(back) = inbox.put(mail) {
                    waiting = Some(back);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }
}

/// The bus to the other nodes, when the configuration names one.
fn start_bus(config: &NodeConfig, inboxes: &[Inbox], store: &StoreThread) -> Result<Option<Bus>, StartError> {
    let Some(url) = &config.relay.redis_url else { return Ok(None) };
    // No handle on the store: what shows the bus's figures outlives the store's thread, which waits for the last one.
    let look = store.look();
    Ok(Some(nodes::start(url.expose(), inboxes.to_vec(), &config.limits, move || look.notify_one())?))
}

/// What else is shown on the page of figures.
fn more_metrics(others: Option<MoreMetrics>, bus: Option<&Bus>) -> Option<MoreMetrics> {
    let Some(bus) = bus.map(Bus::metrics) else { return others };
    Some(Arc::new(move || bus() + &others.as_ref().map(|others| others()).unwrap_or_default()))
}

/// Each connection is a descriptor: takes as many as this process may have.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 && limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the struct is valid; when the kernel refuses, the limit stays as it was.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
}

/// Opens every public address for every shard; all addresses get the port of the first.
fn open(relay: &RelayConfig, shards: usize) -> Result<(SocketAddr, Vec<ShardSockets>), StartError> {
    let mut all: Vec<ShardSockets> = (0..shards).map(|_| ShardSockets::default()).collect();
    let mut first: Option<SocketAddr> = None;
    for wanted in &relay.listen {
        let at = SocketAddr::new(wanted.ip(), first.map_or(wanted.port(), |known| known.port()));
        let tcp = match socket::open_tcp(at, shards) {
            // A machine without IPv6 still serves IPv4, unless the operator asked for IPv6.
            Err(error)
                if relay.listen_is_default
                    && at.is_ipv6()
                    && !matches!(error, socket::SocketError::InUse { .. }) =>
            {
                tracing::warn!(%error, "IPv6 is left out");
                continue;
            }
            opened => opened?,
        };
        let local = socket::local_address(tcp.first().expect("at least one shard"))
            .map_err(|source| StartError::Io { doing: "read the bound address", source })?;
        let udp = socket::open_udp(local, shards)?;
        steer::attach(&udp).map_err(|source| StartError::Io { doing: "steer QUIC packets", source })?;
        for (shard, (tcp, udp)) in all.iter_mut().zip(tcp.into_iter().zip(udp)) {
            shard.tcp.push(tcp);
            shard.udp.push((local, udp));
        }
        first.get_or_insert(local);
        // An IPv6 socket on every address takes IPv4 too.
        if relay.listen_is_default {
            break;
        }
    }
    Ok((first.expect("a configuration has a public address"), all))
}

/// The cores this process may use, one per shard, again from the first when there are more shards.
fn launch_cores(shards: usize) -> Vec<usize> {
    let allowed = crate::launch::allowed_cores();
    let wanted = if shards == 0 { allowed.len() } else { shards };
    (0..wanted.clamp(1, 255)).map(|at| allowed[at % allowed.len()]).collect()
}
