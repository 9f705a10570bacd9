//! Load over QUIC: the phases of a run. quinn-proto is driven directly, many connections per socket, so that one
//! thread keeps up with a server.

mod connection;
mod engine;
mod hall;
mod session;
mod sockets;
mod storm;
mod timers;
mod tls;

use anyhow::{Context, Result, bail, ensure};

use self::engine::Engine;
use super::clock::{now_ns, resident_kib};
use super::meter::{Meter, SAMPLES};
use super::pace::Pacer;
use crate::plan::{Dialect, Kind, Outcome, Pace, Plan};

/// Handshakes, greetings and subscriptions under way at once.
const ARRIVING_MAX: usize = 64;
/// How long nobody may arrive while somebody is on the way.
const ARRIVAL_NS: u64 = 20_000_000_000;
/// What idle connections get to come to rest.
const REST_NS: u64 = 3_000_000_000;
/// How long the rest may take to arrive once nothing more is published.
const DRAIN_NS: u64 = 20_000_000_000;
/// What a server gets to cut those who stopped reading; the relay offers them their last frames for two seconds.
const CUT_NS: u64 = 5_000_000_000;

/// Carries out a plan over QUIC.
///
/// # Errors
/// The server refuses, ends or loses connections, or the plan is none that can be carried out.
pub fn run(plan: &Plan) -> Result<Outcome> {
    ensure!(
        plan.dialect == Dialect::Relay || plan.kind == Kind::Ephemeral,
        "a floor stores nothing: only `ephemeral` publications can be measured on it"
    );
    ensure!(
        plan.stopped == 0.0 || (plan.dialect == Dialect::Relay && plan.kind == Kind::Durable),
        "readers that stop need the relay and durable publications, or there is nothing to resume"
    );
    let rss_before_kib = resident_kib(plan.server_pid)?;
    let mut engine = Engine::new(plan)?;
    engine.hall.tally.outcome.rss_before_kib = rss_before_kib;
    match plan.pace {
        Pace::Storm { at_once } => storm::run(&mut engine, plan, at_once as usize)?,
        Pace::Idle => idle(&mut engine, plan)?,
        Pace::Open { .. } | Pace::Closed { .. } => flow(&mut engine, plan)?,
    }
    engine.close_all()?;
    Ok(engine.hall.tally.finish(&engine.hall.readers))
}

/// Publications from warm-up to the last arrival.
fn flow(engine: &mut Engine, plan: &Plan) -> Result<()> {
    for (number, room) in plan.rooms.iter().enumerate() {
        ensure!(!room.publishers.is_empty(), "room {number} has nobody who publishes");
    }
    arrive(engine, (0..engine.hall.members.len()).collect())?;
    engine.hall.pacer = Pacer::new(plan, now_ns());
    engine.publishing = true;
    pass(engine, nanoseconds(plan.warm_up_s))?;
    for member in 0..engine.hall.readers.len() {
        if engine.hall.members[member].stops {
            engine.hall.tally.stop(&mut engine.hall.readers[member]);
        }
    }
    measure(engine, plan)?;
    engine.publishing = false;
    until(engine, DRAIN_NS, |engine| engine.hall.is_complete())?;
    if plan.stopped > 0.0 { recover(engine) } else { Ok(()) }
}

/// Readers that stopped read on, or come back when they were cut, and ask for everything after what they saw last.
fn recover(engine: &mut Engine) -> Result<()> {
    let members = 0..engine.hall.readers.len();
    let stopped: Vec<usize> = members.filter(|member| engine.hall.members[*member].stops).collect();
    until(engine, CUT_NS, |engine| engine.hall.cut.len() == stopped.len())?;
    for member in &stopped {
        engine.hall.readers[*member].stopped = false;
    }
    engine.read_on()?;
    let end = now_ns() + DRAIN_NS;
    while !engine.hall.is_complete() && engine.turn(end)? < end {
        let cut = std::mem::take(&mut engine.hall.cut);
        cut.iter().for_each(|member| engine.hall.members[*member].back = true);
        arrive(engine, cut).context("a reader that was cut comes back")?;
    }
    let tally = &mut engine.hall.tally;
    let whole = stopped.iter().filter(|member| tally.is_up_to_date(&engine.hall.readers[**member])).count();
    tally.outcome.recovered = whole as u64;
    tally.outcome.stopped = stopped.len() as u64;
    Ok(())
}

/// Connections that do nothing.
fn idle(engine: &mut Engine, plan: &Plan) -> Result<()> {
    arrive(engine, (0..engine.hall.members.len()).collect())?;
    pass(engine, REST_NS)?;
    measure(engine, plan)?;
    let (open, meant) = (engine.open(), engine.hall.members.len());
    ensure!(open == meant, "{} of {meant} idle connections were closed", meant - open);
    Ok(())
}

/// Connects members and lets them subscribe, some at a time.
fn arrive(engine: &mut Engine, members: Vec<usize>) -> Result<()> {
    engine.arrived.clear();
    let (mut begun, mut arrived, mut last_ns) = (0, 0, now_ns());
    while arrived < members.len() {
        while begun < members.len() && begun - arrived < ARRIVING_MAX {
            engine.connect(members[begun])?;
            begun += 1;
        }
        let now = engine.turn(last_ns + ARRIVAL_NS)?;
        if !engine.arrived.is_empty() {
            arrived += engine.arrived.drain(..).count();
            last_ns = now;
        }
        if now >= last_ns + ARRIVAL_NS {
            bail!(
                "{} of {} connections got no answer for {} s; is the server at this UDP address?",
                begun - arrived,
                members.len(),
                ARRIVAL_NS / 1_000_000_000
            );
        }
    }
    engine.hall.tally.outcome.connections = engine.hall.members.len() as u64;
    Ok(())
}

/// Goes on for a while.
fn pass(engine: &mut Engine, nanoseconds: u64) -> Result<()> {
    until(engine, nanoseconds, |_| false)
}

/// Goes on until something is so, or time is up.
fn until(engine: &mut Engine, nanoseconds: u64, is_so: impl Fn(&Engine) -> bool) -> Result<()> {
    let end = now_ns() + nanoseconds;
    while !is_so(engine) && engine.turn(end)? < end {}
    Ok(())
}

/// The measured part: time, CPU time and memory between its first and last instant.
fn measure(engine: &mut Engine, plan: &Plan) -> Result<()> {
    let mut meter = Meter::begin(plan.server_pid)?;
    engine.hall.tally.measure(true);
    for part in 0..SAMPLES {
        let end = meter.part_ends_ns(part, plan.measure_s);
        while engine.turn(end)? < end {
            if engine.hall.greet_only {
                storm::go_on(engine)?;
            }
        }
        meter.sample()?;
    }
    engine.hall.tally.measure(false);
    meter.end(&mut engine.hall.tally.outcome)
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
