//! QUIC for one shard, without a socket and without a clock: datagrams and time go in, frames and
//! datagrams come out. Runs inside the shard's loop, which owns the UDP socket.
//!
//! What crosses: one bidirectional stream opened by the client (control: client frames, answers) and
//! unidirectional streams opened by the relay (deliveries), each a run of length-prefixed frames;
//! DATAGRAM frames carry one frame each, without prefix.

mod admission;
mod config;
mod connection;
mod deadlines;
mod endpoint;
mod error;
mod event;
mod framing;
mod identity;
mod lanes;
mod run;
mod server;
mod session;

pub use config::{ALPN, QuicConfig, QuicKeys, QuicLimits, server_tls};
pub use endpoint::QuicEndpoint;
pub use error::{CODE_NORMAL, CloseCause, QuicConfigError, Violation, WriteError};
pub use event::{ConnectionInfo, QuicCounters, QuicEvent, QuicHandle, Transmit, Via, Wrote};
pub use identity::{CONNECTION_ID_BYTES, Issuer, SHARD_OFFSET};
pub use server::QuicServer;
