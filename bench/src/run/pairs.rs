//! Turns: the relay and what it is measured against, one after the other, in changing order, so that a machine that
//! gets slower or faster meanwhile favours neither.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime::Runtime;

use super::allocations;
use super::cell::{self, Bench};
use super::machine::Ticks;
use super::pin::Pin;
use super::row;
use super::server::Server;
use super::shape::{self, Against, Shape};
use super::stage::Stage;
use crate::floor::{self, commit::CommitOutcome};
use crate::plan::{Carrier, Dialect, Outcome, Pace};
use crate::report::Row;

/// How long and how often.
#[derive(Clone, Debug)]
pub struct Settings {
    pub runs: usize,
    /// Part of the usual time that is measured.
    pub brevity: f64,
    /// Connections of one load generator.
    pub connections_max: usize,
    pub program: Option<PathBuf>,
    /// Another floor than the shape's own.
    pub floor: Option<floor::Kind>,
}

/// What one turn brought.
pub struct Turn {
    pub relay: Outcome,
    pub other: Other,
}

/// What the relay was measured against in a turn.
pub enum Other {
    Served(Outcome),
    Committed(CommitOutcome),
}

/// Rows of one group commit: as many as the relay puts into one.
const COMMIT_ROWS: usize = 512;

/// Measures one shape.
pub fn measure(shape: &Shape, settings: &Settings, runtime: &Runtime) -> Result<Row> {
    let before = Ticks::now();
    let shape = &on_floor(shape, settings.floor)?;
    let stage = Stage::set(shape, settings.program.clone(), runtime)?;
    let mut row = if shape.against == Against::Alone {
        allocations::measure(shape, &stage, settings)?
    } else {
        let shape = &with_rate(shape, &stage, settings)?;
        let turns = (0..settings.runs).map(|run| turn(shape, &stage, settings, run % 2 == 0));
        row::of(shape, &turns.collect::<Result<Vec<_>>>()?)?
    };
    row.noisy |= Ticks::now().noisy_since(&before);
    Ok(row)
}

/// The shape against another floor of the same transport.
fn on_floor(shape: &Shape, floor: Option<floor::Kind>) -> Result<Shape> {
    let Some(floor) = floor else { return Ok(*shape) };
    let is_quic = |kind: floor::Kind| kind == floor::Kind::Quinn;
    match shape.against {
        Against::Floor(own) if is_quic(own) == is_quic(floor) => {
            Ok(Shape { against: Against::Floor(floor), ..*shape })
        }
        _ => bail!("{} can't be measured against that floor; leave --floor out", shape.name),
    }
}

/// The rate of `durable-half` is half of what the closed loop reaches on the same store just before.
fn with_rate(shape: &Shape, stage: &Stage, settings: &Settings) -> Result<Shape> {
    if shape.pace != (Pace::Open { per_second: 0.0 }) {
        return Ok(*shape);
    }
    let full = shape::named("durable").context("the shape it is half of")?;
    let full = Shape { seats: shape.seats, ..*full };
    let outcome = relay(&full, stage, settings, 0.0)?;
    let per_second = outcome.acked as f64 / outcome.seconds / 2.0;
    ensure!(per_second >= 1.0, "the closed loop came to nothing");
    Ok(Shape { pace: Pace::Open { per_second }, ..*shape })
}

fn turn(shape: &Shape, stage: &Stage, settings: &Settings, other_first: bool) -> Result<Turn> {
    if other_first {
        let other = other(shape, stage, settings)?;
        Ok(Turn { relay: relay(shape, stage, settings, shape.stopped)?, other })
    } else {
        let relay = relay(shape, stage, settings, shape.stopped)?;
        Ok(Turn { relay, other: other(shape, stage, settings)? })
    }
}

fn relay(shape: &Shape, stage: &Stage, settings: &Settings, stopped: f64) -> Result<Outcome> {
    let mut server = stage.relay(shape.shards)?;
    let bench = Bench { shape, rooms: &stage.rooms, pace: shape.pace, stopped, settings };
    cell::measure(&bench, Dialect::Relay, &mut server).context("the relay")
}

fn other(shape: &Shape, stage: &Stage, settings: &Settings) -> Result<Other> {
    match shape.against {
        Against::Floor(kind) => {
            let mut server = Server::floor(kind, stage.path(), &Pin::server(1, shape.kind))?;
            let rooms = &stage.floor_rooms;
            let carrier = if kind == floor::Kind::Plain { Carrier::Plain } else { shape.carrier };
            let shape = &Shape { carrier, ..*shape };
            let bench = Bench { shape, rooms, pace: shape.pace, stopped: 0.0, settings };
            cell::measure(&bench, Dialect::Floor, &mut server).context("the floor").map(Other::Served)
        }
        Against::OneShard => relay(&Shape { shards: 1, ..*shape }, stage, settings, 0.0).map(Other::Served),
        Against::AllRead => relay(shape, stage, settings, 0.0).map(Other::Served),
        Against::Commit => commit(shape, stage, settings).map(Other::Committed),
        Against::Alone => unreachable!("it has no turns"),
    }
}

fn commit(shape: &Shape, stage: &Stage, settings: &Settings) -> Result<CommitOutcome> {
    let folder = stage.path().join("commit");
    // Of an earlier turn.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let mut command = Pin::server(1, shape.kind).command(&std::env::current_exe()?);
    command.args(["commit", "--payload", &shape.payload.to_string(), "--batch", &COMMIT_ROWS.to_string()]);
    command.args(["--conversations", &shape.seats.rooms.to_string()]);
    command.args(["--seconds", &(shape.measure_s * settings.brevity).to_string()]);
    command.arg("--folder").arg(&folder).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().context("the commit floor could not be started")?;
    ensure!(output.status.success(), "the commit floor failed");
    serde_json::from_slice(&output.stdout).context("the commit floor's outcome")
}
