//! The nodes of a run: one on SQLite, or several that share PostgreSQL, Redis, certificate and keys, each through
//! proxies of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use servers::machine::Sync;

use crate::outside::{Files, Outside};
use crate::run::Plan;
use crate::server::{Launch, Server};

/// What all nodes derive their QUIC secrets from.
pub const QUIC_SECRET: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";

/// All nodes, and what they stand on.
pub struct Fleet {
    pub launches: Vec<Launch>,
    // They end before what they stand on.
    pub servers: Vec<Server>,
    /// What clients trust: the certificates of the first day, wherever a node's own files are at the moment.
    pub trusted: Vec<PathBuf>,
    pub outside: Option<Outside>,
}

impl Fleet {
    /// Starts the plan's nodes on servers of their own, or one on a file. With `Files::Machine` what is killed loses its
    /// power.
    pub fn start(plan: &Plan, folder: &Path) -> Result<Self> {
        let files = plan.files;
        let outside = plan.nodes.map(|nodes| Outside::start(nodes, files));
        let mut fleet = Self { launches: Vec::new(), servers: Vec::new(), trusted: Vec::new(), outside };
        let nodes = plan.nodes.unwrap_or(1);
        for node in 0..nodes {
            let is_last = node > 0 && node + 1 == nodes;
            let program = plan.previous.as_ref().filter(|_| is_last).unwrap_or(&plan.program);
            let data = folder.join(format!("data-{node}"));
            let mut launch = Launch::new(program.clone(), data, folder.join(format!("server-{node}.log")))?;
            match &fleet.outside {
                Some(outside) => {
                    launch.env.extend(outside.variables(node));
                    launch.env.push(("RELAY_QUIC_SECRET".into(), QUIC_SECRET.into()));
                    launch.shards = Some(1);
                }
                None if files == Files::Machine => launch.give_machine(Sync::Honest)?,
                None => {}
            }
            // The first node of a new database brings the schema.
            if fleet.outside.is_some() && node == 0 {
                launch.migrate()?;
            }
            if let Some(first) = fleet.launches.first() {
                share(&first.data, &launch.data)?;
            }
            let server = launch.start()?;
            let trusted = folder.join(format!("ca-{node}.pem"));
            std::fs::copy(&server.ready.ca, &trusted)?;
            fleet.servers.push(server);
            fleet.trusted.push(trusted);
            fleet.launches.push(launch);
        }
        Ok(fleet)
    }

    /// Drains all; whether each ended in order.
    pub fn drain(&mut self) -> Result<bool> {
        let mut in_order = true;
        for server in self.servers.drain(..) {
            in_order &= server.drain()?.success();
        }
        Ok(in_order)
    }
}

/// Certificate and keys of the first node are everybody's.
pub fn share(from: &Path, to: &Path) -> Result<()> {
    for folder in ["keys", "certificates"] {
        std::fs::create_dir_all(to.join(folder))?;
        for entry in std::fs::read_dir(from.join(folder)).with_context(|| folder.to_owned())? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(folder).join(entry.file_name()))?;
        }
    }
    Ok(())
}
