//! The store side of a node: its thread, group commit, and the change-log poller.

mod bans;
mod batch;
pub mod thread;

pub use thread::{StoreEnd, StoreJob, StoreThread, host};
