//! What a drill says: a line per piece, and at its end the row that belongs into `tests/RESULTS.md`.

use std::process::Command;
use std::time::Duration;

use drill::run::Outcome;

/// How far it is.
pub fn piece(outcome: &Outcome) {
    println!("{} pieces: {}", outcome.pieces, counts(outcome));
}

/// What came of it all.
pub fn all(outcome: &Outcome, seed: u64) {
    println!("the last piece:");
    print!("{}", outcome.verdict);
    println!("{}", counts(outcome));
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    println!(
        "| {} | {}, {build} | `drill {}` (seed {seed}) | {} | {} | {} | 0 | {} | {} | {}, {:.0?} |",
        said("date", &["-u", "+%F"]),
        said("git", &["describe", "--always", "--dirty"]),
        arguments.join(" "),
        faults(outcome),
        outcome.acked,
        outcome.delivered,
        spread(&outcome.toll.recoveries),
        spread(&outcome.toll.healings),
        outcome.pieces,
        outcome.took,
    );
}

fn counts(outcome: &Outcome) -> String {
    format!(
        "{}, membership changes {}, acked {}, deliveries {}, violations 0, node's kill to first ack {}, \
         end of another fault to first ack {}, longest fault {}, took {:.0?}",
        faults(outcome),
        outcome.changes,
        outcome.acked,
        outcome.delivered,
        spread(&outcome.toll.recoveries),
        spread(&outcome.toll.healings),
        longest(outcome),
        outcome.took,
    )
}

fn longest(outcome: &Outcome) -> String {
    let fault = outcome.toll.longest;
    fault.map_or_else(|| "–".to_owned(), |(took, fault)| format!("{} {took:.2?}", fault.name()))
}

fn faults(outcome: &Outcome) -> String {
    let toll = &outcome.toll;
    let nodes = [("kills", toll.kills), ("drains", toll.drains), ("pauses", toll.pauses)];
    let all = nodes.into_iter().chain(toll.outside.iter().map(|(name, count)| (*name, *count)));
    let said: Vec<_> =
        all.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")).collect();
    said.join(", ")
}

/// The middle and the longest of some times.
fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    match (times.get(times.len() / 2), times.last()) {
        (Some(middle), Some(longest)) => format!("p50 {middle:.2?} max {longest:.2?}"),
        _ => "–".to_owned(),
    }
}

/// What a program says, in one line; a dash when it does not.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    output.map_or("–".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
