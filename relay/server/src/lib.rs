//! What the relay does: sockets, TLS, clocks and threads around the decisions of `relay-proto`.
//! Runs one shard per core; glommio and quinn are named here and nowhere else.

pub mod access;
pub mod clock;
pub mod config;
pub mod consumers;
pub mod internal;
pub mod launch;
pub mod lease;
pub mod mesh;
pub mod metrics;
pub mod node;
mod perform;
pub mod prepare;
pub mod ring;
pub mod shard;
pub mod start;
pub mod store;
pub mod transport;
