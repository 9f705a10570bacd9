//! What nodes and consoles share for a while: the way to Redis, alone or as a Cluster, and limits. Nothing here is the truth;
//! whoever uses it works on, or refuses, when it is away.

mod address;
mod keys;
mod limit;
mod slots;

pub use address::{RedisAddress, RedisFault};
pub use keys::Keys;
pub use limit::SharedLimit;
pub use slots::{Primary, Slots, slot_of};
