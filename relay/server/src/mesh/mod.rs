//! What connects shards: `cores` on one node, `nodes` across nodes.

pub mod cores;
pub mod nodes;
