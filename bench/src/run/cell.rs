//! One cell: a server started afresh, a load generator beside it, and what came of it. A cell that lost or doubled
//! anything is an error, never a result.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::pairs::Settings;
use super::server::Server;
use super::shape::Shape;
use super::shares;
use crate::plan::{Dialect, Outcome, Pace, Plan, Room};

/// Seconds of the same load before measuring.
const WARM_UP_S: f64 = 1.0;

/// What a cell needs beside its server.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    pub shape: &'a Shape,
    pub rooms: &'a [Room],
    pub pace: Pace,
    pub stopped: f64,
    pub settings: &'a Settings,
}

/// Puts the load of a shape on a running server.
pub fn measure(bench: &Bench<'_>, dialect: Dialect, server: &mut Server) -> Result<Outcome> {
    let shape = bench.shape;
    let plan = Plan {
        carrier: shape.carrier,
        dialect,
        kind: shape.kind,
        pace: bench.pace,
        address: server.address,
        ca: server.ca.clone(),
        server_pid: server.pid(),
        rooms: bench.rooms.to_vec(),
        payload: shape.payload,
        warm_up_s: WARM_UP_S * bench.settings.brevity,
        measure_s: shape.measure_s * bench.settings.brevity,
        stopped: bench.stopped,
        process: 0,
        together: false,
        allow_remote: false,
    };
    let outcome = shares::load(&plan, shape.generators, bench.settings.connections_max);
    // A server that died explains whatever the load says.
    server.must_run()?;
    accept(&plan, outcome?)
}

/// Refuses what is no result.
fn accept(plan: &Plan, outcome: Outcome) -> Result<Outcome> {
    ensure!(outcome.lost == 0, "{} deliveries were lost: no result", outcome.lost);
    ensure!(outcome.doubled == 0, "{} deliveries came twice: no result", outcome.doubled);
    let Outcome { stopped, cut, recovered, .. } = outcome;
    ensure!(cut == stopped, "{cut} of {stopped} stopped readers were cut with the code to resume: no result");
    ensure!(recovered == stopped, "{recovered} of {stopped} stopped readers recovered everything: no result");
    match plan.pace {
        Pace::Open { .. } | Pace::Closed { .. } => {
            ensure!(outcome.published > 0 && outcome.delivered > 0, "nothing was delivered: no result");
        }
        Pace::Idle | Pace::Storm { .. } => ensure!(outcome.connections > 0, "nothing connected: no result"),
    }
    Ok(outcome)
}

/// A folder that goes when it is dropped.
pub struct Folder(std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("messenger-bench-{name}-{}", std::process::id()));
        // What a killed run left behind.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
