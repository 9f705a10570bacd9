//! What crosses between client and relay, between shards, and between shard and store.
//! Shapes only: nothing here decides or does anything. Used by every crate.
#![no_std]

extern crate alloc;

#[allow(missing_debug_implementations, clippy::all, clippy::unwrap_used)]
#[rustfmt::skip]
mod generated;

pub mod bus;
pub mod codec;
pub mod disconnect;
pub mod frame;
pub mod id;
pub mod network;
pub mod peer;
pub mod publication;
pub mod record;
pub mod refusal;
pub mod step;

/// The protobuf messages of protocol version 1, generated from `proto/relay/v1`.
pub use generated::relay::v1;

pub use disconnect::Disconnect;
pub use frame::{Encoding, Frame};
pub use id::{
    ConversationId, DeviceId, Generation, NodeId, Offset, Position, PublishKey, SessionId, ShardId, UserId,
};
pub use network::{AddressSet, Network};
pub use publication::Publication;
pub use refusal::Refused;
pub use step::Step;
