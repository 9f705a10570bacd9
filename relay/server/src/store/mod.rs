//! The store side of a node: its thread, group commit, and the change-log poller.

mod bans;
mod batch;
mod limit;
pub mod thread;

pub use limit::MessageLimit;
pub use thread::{StoreEnd, StoreJob, StoreThread, host};
