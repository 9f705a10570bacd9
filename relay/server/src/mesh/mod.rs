//! What connects shards: `cores` on one node. (Nodes are connected through Redis, a later room.)

pub mod cores;
