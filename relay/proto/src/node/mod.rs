//! The life of a node: joining the conversations its shards follow, and draining.

pub(crate) mod drain;
pub(crate) mod join;
