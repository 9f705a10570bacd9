//! What a node is told at start, what each shard gets, and every reason why it may not start.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use relay_proto::Limits;
use schema_wire::NodeId;

use crate::access::KeyError;
use crate::config::RelayConfig;
use crate::mesh::nodes::BusError;
use crate::ring::{RingError, socket};
use crate::transport::quic::QuicKeys;
use crate::transport::tls::{CertificateError, CertificatePaths};

/// Gives the Prometheus text of another part of the process.
pub type MoreMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Everything a node is told at start.
pub struct NodeConfig {
    pub node: NodeId,
    pub relay: RelayConfig,
    pub limits: Limits,
    pub certificate: CertificatePaths,
    pub quic_keys: QuicKeys,
    /// Figures of whatever else runs in this process, shown on the same page.
    pub more_metrics: Option<MoreMetrics>,
}

/// Why a node can't start; each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error(transparent)]
    Socket(#[from] socket::SocketError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("QUIC cannot be set up: {0}")]
    Quic(#[from] crate::transport::quic::QuicConfigError),
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: std::io::Error },
    #[error("cannot use {}: {source}; make its folder writable for this user", .path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    LocalCa(#[from] crate::transport::tls::LocalCaError),
    #[error("the bus between nodes: {0}")]
    Bus(#[from] BusError),
    #[error("a shard could not be started: {0}")]
    Executor(String),
}

/// Sockets of one shard: TCP and UDP on each public address.
#[derive(Default)]
pub struct ShardSockets {
    pub tcp: Vec<OwnedFd>,
    pub udp: Vec<(SocketAddr, OwnedFd)>,
}
