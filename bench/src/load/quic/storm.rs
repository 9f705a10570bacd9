//! A storm of connections: each greets the server and leaves; what counts is how many do in a second.

use anyhow::{Result, ensure};

use super::engine::Engine;
use super::{measure, nanoseconds};
use crate::load::clock::now_ns;
use crate::plan::Plan;

/// Keeps `at_once` connections on their way, members in turn, for warm-up and measuring.
pub fn run(engine: &mut Engine, plan: &Plan, at_once: usize) -> Result<()> {
    let members = engine.hall.readers.len();
    ensure!(
        at_once > 0 && at_once <= members,
        "a storm of {at_once} at once needs as many subscribers, not {members}"
    );
    for member in 0..at_once {
        engine.connect(member)?;
    }
    engine.hall.next_in_storm = at_once % members;
    let end = now_ns() + nanoseconds(plan.warm_up_s);
    while engine.turn(end)? < end {
        go_on(engine)?;
    }
    engine.hall.tally.outcome.connections = 0;
    measure(engine, plan)?;
    ensure!(engine.hall.tally.outcome.connections > 0, "not one connection was made while measuring");
    Ok(())
}

/// Whoever arrived leaves, and the next one sets out.
pub fn go_on(engine: &mut Engine) -> Result<()> {
    let arrived = std::mem::take(&mut engine.arrived);
    for slot in &arrived {
        engine.hall.tally.outcome.connections += 1;
        engine.close(*slot);
        engine.connect(engine.hall.next_in_storm)?;
        engine.hall.next_in_storm = (engine.hall.next_in_storm + 1) % engine.hall.readers.len();
    }
    Ok(())
}
