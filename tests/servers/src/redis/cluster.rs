//! A private Redis Cluster of three nodes that share the slots, without replicas.

use std::time::Instant;

use super::{Redis, RedisOptions};
use crate::port::Port;
use crate::process::PATIENCE;

/// Slots of a cluster.
const SLOTS: u32 = 16_384;
const NODES: u32 = 3;

/// Three nodes.
pub struct Cluster {
    pub nodes: Vec<Redis>,
    /// Where they talk to each other.
    _buses: Vec<Port>,
}

impl Cluster {
    /// Starts them, makes them meet and deals the slots; returns when all of them agree.
    pub fn start() -> Self {
        let buses: Vec<Port> = (0..NODES).map(|_| Port::free()).collect();
        let nodes: Vec<Redis> = buses.iter().map(node).collect();
        for (at, node) in (0..NODES).zip(&nodes) {
            let (first, last) = (SLOTS * at / NODES, SLOTS * (at + 1) / NODES - 1);
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let (port, bus) = (node.address().port().to_string(), bus.number.to_string());
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = Self { nodes, _buses: buses };
        cluster.until_whole();
        cluster
    }

    /// Waits until all nodes know that every slot is served.
    pub fn until_whole(&self) {
        let began = Instant::now();
        let is_whole = |node: &Redis| {
            let info = node.try_command(&["CLUSTER", "INFO"]).map(|reply| reply.text()).unwrap_or_default();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !self.nodes.iter().all(is_whole) {
            assert!(began.elapsed() < PATIENCE, "the Redis Cluster did not come together");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Where programs reach its nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}

fn node(bus: &Port) -> Redis {
    let settings = [
        ("cluster-enabled", "yes".to_owned()),
        ("cluster-port", bus.number.to_string()),
        ("cluster-node-timeout", "2000".to_owned()),
        // What the other nodes have stays reachable while one is away.
        ("cluster-require-full-coverage", "no".to_owned()),
    ];
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Redis::start_with(&RedisOptions { settings, ..RedisOptions::default() })
}
