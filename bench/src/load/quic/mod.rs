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
use super::clock::{cpu_of, now_ns, own_cpu, resident_kib};
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
    let stopped = engine.hall.readers.iter().filter(|reader| reader.stopped).count();
    until(engine, CUT_NS, |engine| engine.hall.cut.len() == stopped)?;
    if plan.dialect == Dialect::Relay && plan.kind == Kind::Durable {
        recover(engine)?;
    }
    Ok(())
}

/// Readers that were cut come back and ask for everything after what they saw last.
fn recover(engine: &mut Engine) -> Result<()> {
    let cut = std::mem::take(&mut engine.hall.cut);
    for member in &cut {
        engine.hall.readers[*member].stopped = false;
    }
    arrive(engine, cut.clone()).context("a reader that was cut came back")?;
    until(engine, DRAIN_NS, |engine| engine.hall.is_complete())?;
    let whole = |member: &&usize| engine.hall.tally.is_up_to_date(&engine.hall.readers[**member]);
    engine.hall.tally.outcome.recovered = cut.iter().filter(whole).count() as u64;
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
    engine.rss_peak_kib = 0;
    let (server, own, began) = (cpu_of(plan.server_pid)?, own_cpu(), now_ns());
    engine.hall.tally.measure(true);
    let end = began + nanoseconds(plan.measure_s);
    let mut now = began;
    while now < end {
        now = engine.turn(end)?;
        if engine.hall.greet_only {
            storm::go_on(engine)?;
        }
    }
    engine.hall.tally.measure(false);
    let server = cpu_of(plan.server_pid)?.saturating_sub(server);
    let resident = resident_kib(plan.server_pid)?;
    let outcome = &mut engine.hall.tally.outcome;
    outcome.seconds = (now_ns() - began) as f64 / 1e9;
    outcome.server_cpu_s = server.as_secs_f64();
    outcome.client_cpu_s = own_cpu().saturating_sub(own).as_secs_f64();
    outcome.rss_after_kib = resident;
    outcome.rss_peak_kib = engine.rss_peak_kib.max(resident);
    Ok(())
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
