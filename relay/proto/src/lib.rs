//! What is decided. The whole relay logic of one shard, without clock, socket, disk, thread or random order:
//! `Shard::handle(now, event, effects)`, one event at a time, then `poll_transmit(session)` on the hot path.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod control;
pub mod effect;
pub mod event;
pub mod limits;
#[cfg(feature = "measured")]
pub mod measured;
mod message;
mod node;
mod outward;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
mod session;
mod shard;
mod state;

pub use effect::{Effect, Effects};
pub use event::{Event, Now};
pub use limits::Limits;
pub use shard::{Counts, Reader, Shard, Waiting};
pub use state::ShardConfig;
