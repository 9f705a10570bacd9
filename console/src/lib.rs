//! The back office: today the public account API (people, devices, keys, conversations). Runs on tokio, in its own
//! process or inside `messenger up`; the relay shares nothing with it but the store and the published keys.

pub mod access;
pub mod api;
pub mod app;
pub mod clock;
pub mod config;
pub mod database;
pub mod front;
pub mod mail;
mod serve;

pub use clock::Clock;
pub use config::{ConfigFault, ConsoleConfig, Registration, VARIABLES};
pub use serve::{ServeFault, Served, Starting, internal_router, serve, start};
