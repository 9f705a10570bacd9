//! What the relay does: sockets, TLS, clocks and threads around the decisions of `relay-proto`.
//! Runs one shard per core; glommio and quinn are named here and nowhere else.

pub mod access;
pub mod config;
pub mod internal;
pub mod metrics;
pub mod ring;
pub mod transport;
