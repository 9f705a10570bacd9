//! The drill: the real server, many real clients, and faults. Clients write a history that a checker which knows
//! nothing of the server judges. Runs on a developer's machine and in CI, over loopback only.

pub mod cast;
pub mod crowd;
pub mod device;
pub mod fleet;
pub mod history;
pub mod http;
pub mod judge;
pub mod nemesis;
pub mod order;
pub mod outside;
pub mod publisher;
pub mod random;
pub mod raw;
pub mod registrar;
pub mod run;
pub mod server;
