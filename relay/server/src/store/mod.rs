//! The store side of a node: its own thread on tokio-uring, group commit, and the change-log poller.

mod bans;
mod batch;
pub mod thread;

pub use thread::{StoreJob, StoreThread};
