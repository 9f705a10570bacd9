//! Who takes what is sent to them most slowly, asked of each node at the moment: only who knows the nodes' secret is told,
//! since accounts are named.

use std::time::Duration;

use futures_util::future::join_all;
use schema_store::rows::node::NodeRow;
use schema_wire::UserId;
use serde::Deserialize;

use super::ask::question;
use crate::access::secret::Secret;

/// Nodes asked; the page says when there are more.
pub const NODES_ASKED: usize = 32;
/// A page waits no longer for a node.
const DEADLINE: Duration = Duration::from_secs(1);
/// Connections believed of one node.
const CONSUMERS_MAX: usize = 10;

/// A connection for which something waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consumer {
    pub node: u16,
    pub session: u64,
    pub user: UserId,
    pub transport: String,
    pub frames: u64,
    pub bytes: u64,
    pub waited_ms: u64,
}

#[derive(Deserialize)]
struct Told {
    session: String,
    user: String,
    transport: String,
    frames: u64,
    bytes: u64,
    waited_ms: u64,
}

/// The slowest of each node, worst first; a node that does not answer in time is left out.
pub async fn slowest(nodes: &[&NodeRow], secret: &Secret) -> Vec<Consumer> {
    let asked = nodes.iter().take(NODES_ASKED).map(|node| async move {
        let answer =
            tokio::time::timeout(DEADLINE, question(&node.address, "/control/consumers", secret)).await;
        match answer {
            Ok(Ok(text)) => read(node.node.0, &text).unwrap_or_default(),
            Ok(Err(fault)) => {
                tracing::debug!(node = node.node.0, %fault, "a node does not say who is slow");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    });
    let mut all: Vec<Consumer> = join_all(asked).await.into_iter().flatten().collect();
    all.sort_by_key(|one| std::cmp::Reverse((one.bytes, one.waited_ms)));
    all
}

/// What a node said; `None` when it is nothing of the kind.
fn read(node: u16, text: &str) -> Option<Vec<Consumer>> {
    let told: Vec<Told> = serde_json::from_str(text).ok()?;
    let one = |told: Told| {
        let Told { session, user, transport, frames, bytes, waited_ms } = told;
        let transport = ["websocket", "quic"].into_iter().find(|known| *known == transport)?.to_owned();
        let (session, user) = (session.parse().ok()?, UserId::parse(&user)?);
        Some(Consumer { node, session, user, transport, frames, bytes, waited_ms })
    };
    told.into_iter().take(CONSUMERS_MAX).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_node_says_is_believed() {
        let one = "{\"session\":\"281474976710657\",\"shard\":1,\"user\":\"01920000-0000-7000-8000-00000000000a\",\
                   \"transport\":\"quic\",\"frames\":3,\"bytes\":9,\"waited_ms\":4}";
        let read_one = read(7, &format!("[{one}]")).unwrap();
        assert_eq!((read_one[0].node, read_one[0].session, read_one[0].bytes), (7, 281_474_976_710_657, 9));
        assert_eq!(read(7, &format!("[{}]", vec![one; 40].join(","))).unwrap().len(), CONSUMERS_MAX);
        for wrong in
            ["", "{}", "[{}]", &one.replace("quic", "pigeon"), &format!("[{}]", one.replace("2814", "x"))]
        {
            assert_eq!(read(7, wrong), None, "{wrong}");
        }
    }
}
