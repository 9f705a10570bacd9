//! Relay nodes as they are kept: who is there, where its internal listener is, and until when its number is its own.

use schema_wire::NodeId;

/// A node that was not heard of for this long has lost its number.
pub const NODE_LEASE_MS: u64 = 15_000;
/// Most nodes of one installation, and the largest number.
pub const NODES_MAX: u16 = 1_024;
/// Rows of nodes not heard of for this long are forgotten.
pub const NODE_KEPT_MS: u64 = 7 * 86_400_000;

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// Takes clients.
    Ready,
    /// Sends them away.
    Draining,
    /// Ended in order.
    Gone,
}

impl NodeState {
    /// As it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Draining => "DRAINING",
            Self::Gone => "GONE",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Ready, Self::Draining, Self::Gone].into_iter().find(|state| state.name() == name)
    }
}

/// A number held by one process. Whoever holds an older lease of the same number has lost it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeLease {
    pub node: NodeId,
    /// When it was taken, unix ms.
    pub since: u64,
}

/// One node, for who looks after them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRow {
    pub node: NodeId,
    /// Of its machine.
    pub name: String,
    /// Of its internal listener.
    pub address: String,
    pub version: String,
    pub state: NodeState,
    /// Unix ms.
    pub started_at: u64,
    /// Unix ms.
    pub seen_at: u64,
}
