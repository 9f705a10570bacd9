//! The load generator: light enough that one core of it saturates one core of a server. One thread, no locks.

mod clock;
mod dialect;
mod keys;
mod meter;
mod pace;
mod quic;
mod tally;
mod websocket;

use std::io::{BufRead, Read};

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
    let mut input = std::io::stdin().lock();
    let plan = serde_json::Deserializer::from_reader(&mut input).into_iter::<Plan>().next();
    let plan = plan.context("no plan on standard input")?.context("the plan on standard input")?;
    check(&plan, arguments.allow_remote)?;
    carry_out(&plan, &mut |said| {
        match said {
            Said::Ready => {
                println!("{READY}");
                input.read_line(&mut String::new())?;
            }
            Said::Outcome(outcome) => {
                println!("{}", serde_json::to_string(&outcome)?);
                // Others may still be measuring what these connections cost: they stay until the input ends.
                input.read_to_end(&mut Vec::new())?;
            }
        }
        Ok(())
    })
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
    ensure!(!plan.together || plan.carrier != Carrier::Quic, "QUIC has one load generator");
    ensure!((0.0..=1.0).contains(&plan.stopped), "`stopped` is a part between 0 and 1");
    Ok(())
}

/// What a load generator says when all its connections stand and others are waited for.
pub const READY: &str = "ready";

/// What is said to whoever started the load, who may take a while to answer: connections stand meanwhile.
enum Said {
    Ready,
    Outcome(Outcome),
}

type Say<'a> = &'a mut dyn FnMut(Said) -> Result<()>;

fn carry_out(plan: &Plan, say: Say<'_>) -> Result<()> {
    match plan.carrier {
        Carrier::Plain | Carrier::Websocket => websocket::carry_out(plan, say),
        Carrier::Quic => say(Said::Outcome(quic::run(plan)?)),
    }
}
