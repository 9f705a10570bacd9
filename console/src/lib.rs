//! The back office: the public account API (people, devices, keys, conversations) and the pages for moderators and SREs,
//! each on its own address. Runs on tokio, in its own process or inside `messenger up`; the relay shares nothing with it
//! but the store and the published keys.

pub mod access;
mod anchor;
pub mod api;
pub mod app;
mod bans;
mod caseload;
pub mod clock;
mod cluster;
pub mod config;
pub mod database;
mod detect;
mod due;
pub mod frame;
pub mod front;
pub mod mail;
mod owed;
pub mod pages;
pub mod parts;
mod serve;
mod settings;
mod statistics;
pub mod text;

pub use clock::Clock;
pub use config::{ConfigFault, ConsoleConfig, Registration, VARIABLES};
pub use serve::{ServeFault, Served, Starting, internal_router, serve, start};
