//! The load generator: light enough that one core of it saturates one core of a server. One thread, no locks.

mod clock;
mod dialect;
mod meter;
mod pace;
mod quic;
mod tally;
mod websocket;

use std::io::Read;

use anyhow::{Context, Result, ensure};

use crate::plan::{BODY_BYTES_MIN, Carrier, Outcome, Plan};

/// What a load generator is told beside its plan.
#[derive(clap::Args)]
pub struct Arguments {
    /// Together with the plan's `allow_remote`: load on other machines than this one is meant.
    #[arg(long)]
    allow_remote: bool,
}

/// Reads the plan from standard input, carries it out, writes the outcome to standard output.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let plan: Plan = serde_json::from_str(&text).context("the plan on standard input")?;
    check(&plan, arguments.allow_remote)?;
    let outcome = carry_out(&plan)?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Refuses a plan that can't be meant.
fn check(plan: &Plan, allow_remote: bool) -> Result<()> {
    ensure!(
        plan.address.ip().is_loopback() || (plan.allow_remote && allow_remote),
        "{} is not a loopback address; load goes to other machines only when told twice: \
         `allow_remote` in the plan and --allow-remote",
        plan.address
    );
    ensure!(plan.payload >= BODY_BYTES_MIN, "a body has at least {BODY_BYTES_MIN} bytes");
    ensure!(!plan.rooms.is_empty(), "a plan needs a room");
    ensure!((0.0..=1.0).contains(&plan.stopped), "`stopped` is a part between 0 and 1");
    Ok(())
}

fn carry_out(plan: &Plan) -> Result<Outcome> {
    match plan.carrier {
        Carrier::Plain | Carrier::Websocket => websocket::carry_out(plan),
        Carrier::Quic => quic::run(plan),
    }
}
