//! This node among its fellows: takes a number before it starts, says that it lives while it runs, and gives the number
//! back. Decides when a number counts as lost. Runs beside the shards, on the runtime of whoever runs the node.

use std::path::Path;
use std::time::{Duration, Instant};

use schema_store::rows::node::{NODE_LEASE_MS, NodeLease, NodeState};
use schema_store::{AccountError, nodes::Nodes};
use schema_wire::NodeId;
use tokio::sync::watch;

/// How often a node says that it lives.
const BEAT: Duration = Duration::from_secs(5);
/// How often a number that somebody has is asked for again.
const AGAIN: Duration = Duration::from_millis(500);
/// A number whose holder died is free within the lease.
const WAIT_MAX: Duration = Duration::from_millis(NODE_LEASE_MS + 5_000);
/// How long giving the number back may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Where the lease is written in the data folder.
const FILE: &str = "node-number";

/// Why a node has no number; each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("another node runs as number {0}; stop it, or give this one another RELAY_NODE_ID")]
    Taken(u16),
    #[error("another node took number {0} while this one was away; start this one again")]
    Lost(u16),
    #[error("no number is free for this node: as many run as there may be; stop one")]
    None,
    #[error("this node could not be written down in the store: {0}")]
    Store(#[from] AccountError),
}

/// Takes the number `wanted`, waiting for a holder that died, or the one that the process before had on this data folder,
/// which the caller has locked, or any free one. With the same number the peers of the process before are told at once
/// that their connections are gone (RFC 9000 section 10.3).
///
/// # Errors
/// Somebody has it, or the store does not answer.
pub async fn take<S: Nodes>(store: &S, wanted: Option<u16>, data: &Path) -> Result<NodeLease, LeaseError> {
    let began = Instant::now();
    let previous = read(data);
    loop {
        let (name, version) = (machine(), env!("CARGO_PKG_VERSION").to_owned());
        match store.claim_node(name, version, wanted.map(NodeId), previous).await? {
            Some(lease) => {
                // Without it the next process waits for this one's lease to end.
                if let Err(error) = write(data, lease) {
                    tracing::warn!(%error, "this node's number was not written into its data folder");
                }
                return Ok(lease);
            }
            None if began.elapsed() > WAIT_MAX => {
                return Err(wanted.map_or(LeaseError::None, LeaseError::Taken));
            }
            None => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Beats until `ended`, saying what the node does; returns early when the number is another node's. A store that does
/// not answer takes nothing away: whoever can claim the number then is seen at the next beat.
pub async fn keep<S: Nodes>(
    store: S,
    lease: NodeLease,
    address: String,
    mut state: watch::Receiver<NodeState>,
) {
    loop {
        let now = *state.borrow_and_update();
        if now == NodeState::Gone {
            let goodbye = store.beat(lease, address.clone(), now);
            // Nobody waits for a node that ended; without this its number is free a lease later.
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
            return;
        }
        match store.beat(lease, address.clone(), now).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!(node = lease.node.0, "another node took this one's number while it was away");
                return;
            }
            Err(error) => tracing::warn!(%error, "this node's sign of life was not written down"),
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            // The other end is gone with whoever ran the node.
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

/// The lease of the process before; none when there was none, or when what is written is not one.
fn read(data: &Path) -> Option<NodeLease> {
    let text = std::fs::read_to_string(data.join(FILE)).ok()?;
    let (node, since) = text.trim().split_once(' ')?;
    Some(NodeLease { node: NodeId(node.parse().ok()?), since: since.parse().ok()? })
}

fn write(data: &Path, lease: NodeLease) -> std::io::Result<()> {
    let new = data.join(FILE).with_extension("new");
    std::fs::write(&new, format!("{} {}\n", lease.node.0, lease.since))?;
    std::fs::rename(new, data.join(FILE))
}

/// The name of this machine.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_written_and_nothing_is_made_of_garbage() {
        let folder = std::env::temp_dir().join(format!("node-number-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(read(&folder), None);
        let lease = NodeLease { node: NodeId(7), since: 1_800_000_000_123 };
        write(&folder, lease).unwrap();
        assert_eq!(read(&folder), Some(lease));
        for garbage in ["", "7", "7 ", "seven 1", "70000 1", "7 -1", "7 1 1"] {
            std::fs::write(folder.join(FILE), garbage).unwrap();
            assert_eq!(read(&folder), None, "{garbage:?}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
