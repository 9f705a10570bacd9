//! `cargo x …`: everything a developer or CI runs. Each task is a sequence of real commands, printed before it runs.

mod bench;
#[cfg(feature = "codegen")]
mod codegen;
mod prerequisites;
mod run;
mod tasks;

use std::process::ExitCode;

const USAGE: &str = "cargo x TASK

  test              install or name what is missing, then pass all tests
  check             formatting, clippy, tidy
  browser [ROOM]    the console's pages in a real Chromium; pictures in target/browser/pictures
  sim --seeds N     simulate N seeds, then look for every planted fault
  sim SEED          replay one seed
  trace SEED --conversation C
                    one conversation's messages, step by step
  drill --kills N   real processes, real clients, kill -9
  drill --store postgres --nodes M --kills N
                    the same on M nodes, with faults of PostgreSQL, Redis and the network
  drill [--release] --help
                    kills with loss of power, one kind of fault only, long runs in pieces
  fuzz              replay the committed corpora
  fuzz [TARGET] --runs N [--seed S] [--keep]
                    change their inputs N times per target
  fuzz TARGET FILE  replay one input
  codegen           protobuf messages from schema/wire/proto
  bench SHAPE… [--runs N] [--json] [--html FILE]
                    measure the relay against its floors; --list names the shapes
  bench --all [--record]
                    every shape, and target/bench/report.html; --record adds to bench/history.jsonl
  bench backup [--megabytes N] [--runs N] [--json]
                    backups of PostgreSQL against pgBackRest
  bench --smoke     the few short shapes of CI; fails when clearly worse than bench/recorded.json
  bench --steps [NAME]
                    the steps of a message's life alone";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = args.split_first().map_or(("", &[][..]), |(t, r)| (t.as_str(), r));
    let done = match task {
        "test" => tasks::test(rest),
        "check" => tasks::check(),
        "browser" => tasks::browser(rest),
        "sim" => tasks::sim(rest),
        "trace" => tasks::trace(rest),
        "drill" => tasks::drill(rest),
        "fuzz" => tasks::fuzz(rest),
        "codegen" => tasks::codegen(),
        "bench" => bench::bench(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}
