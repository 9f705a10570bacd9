//! What nodes and consoles share for a while: the way to Redis, alone or as a Cluster, limits, and what is read often. Nothing
//! here is the truth; whoever uses it works on, or refuses, when it is away.

mod address;
mod cache;
mod keys;
mod limit;
mod look;
mod sealed;
mod slots;

pub use address::{RedisAddress, RedisFault};
pub use cache::{Cache, Item, Lives};
pub use keys::Keys;
pub use limit::SharedLimit;
pub use look::RedisCondition;
pub use sealed::SEAL_BYTES;
pub use slots::{Primary, Slots, slot_of};
