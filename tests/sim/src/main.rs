//! `sim --seeds N [--from S] [--seeds-only]` · `sim SEED` · `sim trace SEED --conversation C` · `sim --planted`.
//! Without arguments: 1,000 seeds and the planted faults, as CI runs it.

use std::process::ExitCode;
use std::time::Instant;

use relay_proto::planted::Fault;
use sim::run::{PLANTED_SEEDS, kept_seeds, run_seed, run_seeds, search_planted};
use sim::trace::Trace;
use sim::world::Outcome;

/// Lines of a trace that lead up to a violation.
const TAIL_LINES: usize = 120;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    let has = |name: &str| args.iter().any(|a| a == name);
    match args.first().map(String::as_str) {
        Some("trace") => match args.get(1).and_then(|s| s.parse().ok()) {
            Some(seed) => trace(seed, flag("--conversation")),
            None => usage(),
        },
        Some(seed) if seed.parse::<u64>().is_ok() => replay(seed.parse().unwrap_or(0), &args),
        Some("--help" | "-h") => usage(),
        _ => many(flag("--seeds"), flag("--from").unwrap_or(0), has("--planted"), has("--seeds-only")),
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "sim --seeds N [--from S] [--seeds-only] | sim SEED | sim trace SEED --conversation C | sim --planted"
    );
    ExitCode::from(2)
}

fn many(seeds: Option<u64>, from: u64, planted_only: bool, seeds_only: bool) -> ExitCode {
    let began = Instant::now();
    let count = seeds.unwrap_or(if planted_only { 0 } else { PLANTED_SEEDS });
    let mut list = if count > 0 { kept_seeds() } else { Vec::new() };
    list.extend(from..from + count);
    let mut tally = run_seeds(&list);
    for outcome in &tally.failed {
        report(outcome);
    }
    let mut totals = (0, 0);
    if planted_only || !seeds_only {
        let (found, events) = search_planted(Fault::ALL);
        tally.events += events;
        for found in &found {
            match &found.by {
                Some(Outcome { seed, violation: Some(v), .. }) => {
                    println!("planted {:?}: found by seed {seed}, check \"{}\"", found.fault, v.check);
                }
                _ => println!("planted {:?}: NOT FOUND within {PLANTED_SEEDS} seeds", found.fault),
            }
        }
        totals = (found.iter().filter(|f| f.by.is_some()).count(), found.len());
    }
    println!("took {:.1} s", began.elapsed().as_secs_f64());
    let violations = tally.failed.len();
    println!(
        "seeds {}, events {}, planted faults found {}/{}, violations {violations}",
        tally.seeds, tally.events, totals.0, totals.1
    );
    if violations == 0 && totals.0 == totals.1 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(outcome: &Outcome) {
    if let Some(v) = &outcome.violation {
        println!("seed {} at {} us: {}: {}", outcome.seed, v.at_us, v.check, v.text);
    }
}

fn replay(seed: u64, args: &[String]) -> ExitCode {
    let planted = args.iter().position(|a| a == "--fault").and_then(|at| args.get(at + 1));
    let planted = planted.and_then(|name| Fault::ALL.iter().copied().find(|f| format!("{f:?}") == *name));
    let (outcome, trace) = run_seed(seed, planted, Trace { all: true, ..Trace::default() });
    let all = args.iter().any(|a| a == "--all");
    let from = if all { 0 } else { trace.lines.len().saturating_sub(TAIL_LINES) };
    for line in &trace.lines[from..] {
        println!("{line}");
    }
    report(&outcome);
    println!("seed {seed}, events {}, hash {:016x}", outcome.events, outcome.hash);
    if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn trace(seed: u64, conversation: Option<u64>) -> ExitCode {
    let conversation = Some(conversation.unwrap_or(0) as usize);
    let (outcome, trace) = run_seed(seed, None, Trace { conversation, ..Trace::default() });
    for line in &trace.lines {
        println!("{line}");
    }
    report(&outcome);
    if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
