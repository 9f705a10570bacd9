//! The `fuzz` command: replays inputs, or changes those of the corpus from a seed until a promise breaks.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use fuzz::{TARGETS, Target, corpus, engine};

const USAGE: &str = "fuzz                                     replay every corpus
fuzz TARGET FILE...                      replay inputs
fuzz [TARGET] --runs N [--seed S] [--keep]
                                         change inputs of the corpus N times per target;
                                         --keep adds what did something new to the corpus";

struct Plan {
    targets: Vec<&'static Target>,
    files: Vec<String>,
    runs: Option<u64>,
    seed: u64,
    keep: bool,
}

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let plan = plan(&args).context(USAGE)?;
    let mut good = true;
    for target in &plan.targets {
        good &= match plan.runs {
            Some(runs) => fuzz(target, runs, &plan)?,
            None => replay(target, &plan.files)?,
        };
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(args: &[String]) -> Result<Plan> {
    let mut plan =
        Plan { targets: TARGETS.iter().collect(), files: Vec::new(), runs: None, seed: 1, keep: false };
    let mut args = args.iter();
    let mut named = false;
    while let Some(arg) = args.next() {
        let mut number = || -> Result<u64> { Ok(args.next().context("a number is missing")?.parse()?) };
        match arg.as_str() {
            "--runs" => plan.runs = Some(number()?),
            "--seed" => plan.seed = number()?,
            "--keep" => plan.keep = true,
            _ if arg.starts_with('-') => bail!("{arg} is no option"),
            _ if named => plan.files.push(arg.clone()),
            _ => {
                let target = TARGETS.iter().find(|target| target.name == arg);
                let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                plan.targets = vec![target.with_context(|| format!("targets are {}", names.join(", ")))?];
                named = true;
            }
        }
    }
    Ok(plan)
}

fn fuzz(target: &Target, runs: u64, plan: &Plan) -> Result<bool> {
    engine::silence_panics();
    let report = engine::fuzz(target, runs, plan.seed)?;
    let kept = if plan.keep { engine::keep(target, &report.news)? } else { 0 };
    println!(
        "{}: runs {}, features {}, new inputs {}, kept {kept}, longest {} ms",
        target.name,
        report.runs,
        report.features,
        report.news.len(),
        report.longest.as_millis()
    );
    let Some((path, promise)) = report.broken else { return Ok(true) };
    println!("{}: broken: {promise}\n  replay: cargo x fuzz {} {}", target.name, target.name, path.display());
    Ok(false)
}

fn replay(target: &Target, files: &[String]) -> Result<bool> {
    let inputs: Vec<(std::path::PathBuf, Vec<u8>)> = match files {
        [] => corpus::load(target.name)?,
        _ => files.iter().map(|f| Ok((f.into(), std::fs::read(f)?))).collect::<Result<_>>()?,
    };
    let mut good = !inputs.is_empty();
    for (path, input) in &inputs {
        if let Err(promise) = engine::replay(target, input) {
            println!("{}: {} breaks: {promise}", target.name, path.display());
            good = false;
        }
    }
    println!("{}: {} inputs replayed", target.name, inputs.len());
    Ok(good)
}
