//! What nodes and consoles share for a while: the way to Redis, alone or as a Cluster. Nothing here is the truth; whoever
//! uses it works on, or refuses, when it is away.

mod address;
mod slots;

pub use address::{RedisAddress, RedisFault};
pub use slots::{Primary, Slots, slot_of};
