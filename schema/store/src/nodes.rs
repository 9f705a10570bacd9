//! Which relay nodes there are: numbers that no two of them have, heartbeats, and the list for the console.

use std::future::Future;

use schema_wire::NodeId;

use crate::accounts::Answer;
use crate::rows::node::{NodeLease, NodeRow, NodeState};

/// What a node tells of itself, and who asks about nodes reads.
pub trait Nodes: Clone + Send + Sync + 'static {
    /// Takes the number `wanted`, or the one of `previous`, or the lowest free one, for a process of this version on the
    /// machine `name`. `previous` is the lease of a process of that machine that is known to have ended: if nobody had the
    /// number since, it is free at once. `None`: somebody has the number.
    fn claim_node(
        &self,
        name: String,
        version: String,
        wanted: Option<NodeId>,
        previous: Option<NodeLease>,
    ) -> impl Future<Output = Answer<Option<NodeLease>>> + Send;

    /// A sign of life, with what may have changed; false when the number is another process's by now.
    fn beat(
        &self,
        lease: NodeLease,
        address: String,
        state: NodeState,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// All that were heard of lately, by number.
    fn nodes(&self) -> impl Future<Output = Answer<Vec<NodeRow>>> + Send;
}
