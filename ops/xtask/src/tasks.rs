//! The tasks, each as the commands it consists of.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::prerequisites;
use crate::run::{root, run, run_with};

/// Seeds that CI simulates.
const SEEDS: &str = "1000";
/// Kills that CI survives, of one node and of several.
const KILLS: &str = "20";
const KILLS_OF_SEVERAL: &str = "50";

/// Everything CI runs. Nothing may be skipped silently.
pub fn test(rest: &[String]) -> Result<()> {
    if !rest.is_empty() {
        bail!("cargo x test takes no arguments; use cargo nextest run for a part");
    }
    let python = prerequisites::ensure()?;
    let python = python.to_string_lossy();
    check()?;
    // One build for all that follows: any other choice of packages has other features, and is built once more.
    run("cargo", &["build", "--workspace", "--bins", "--tests", "--examples"])?;
    // Tests wait for servers as often as they compute.
    let at_once = std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2).to_string();
    run_with(
        "cargo",
        &["nextest", "run", "--workspace", "--no-fail-fast", "--test-threads", &at_once],
        &[("MESSENGER_TEST_PYTHON", &python)],
    )?;
    // Each leaves the machine to the other at times.
    std::thread::scope(|scope| {
        let drilled = scope.spawn(drills);
        let looked_at = pages(&[]);
        drilled.join().expect("a drill ends with an error, if at all").and(looked_at)
    })
}

/// The simulator, and kills under load on both stores.
fn drills() -> Result<()> {
    built("sim", &["--seeds", SEEDS])?;
    built("drill", &["--kills", KILLS])?;
    built("drill", &["--store", "postgres", "--nodes", "3", "--kills", KILLS_OF_SEVERAL])
}

/// Runs a program that is built already.
fn built(name: &str, args: &[&str]) -> Result<()> {
    run(&target().join("debug").join(name).to_string_lossy(), args)
}

/// The console's pages in a real Chromium; pictures of them land in `target/browser/pictures`.
pub fn browser(rest: &[String]) -> Result<()> {
    run("cargo", &["build", "--package", "messenger"])?;
    pages(rest)
}

/// As `browser`, of the program that is built already.
fn pages(rest: &[String]) -> Result<()> {
    let modules = prerequisites::browser()?;
    let program = target().join("debug/messenger");
    let mut args = vec!["tests/browser/run.mjs"];
    args.extend(rest.iter().map(String::as_str));
    run_with(
        "node",
        &args,
        &[
            ("BROWSER_MODULES", &modules.to_string_lossy()),
            ("BROWSER_PICTURES", &modules.join("pictures").to_string_lossy()),
            ("BROWSER_MESSENGER", &program.to_string_lossy()),
        ],
    )
}

/// Where cargo builds.
fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(PathBuf::from(folder)),
        None => root().join("target"),
    }
}

/// Formatting and lints.
pub fn check() -> Result<()> {
    run("cargo", &["fmt", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// Simulates seeds, or replays one.
pub fn sim(rest: &[String]) -> Result<()> {
    binary("sim", rest)
}

/// Prints one conversation's steps.
pub fn trace(rest: &[String]) -> Result<()> {
    let mut args = vec!["trace".to_string()];
    args.extend(rest.iter().cloned());
    binary("sim", &args)
}

/// Real processes and `kill -9`; `--release` first for a long run.
pub fn drill(rest: &[String]) -> Result<()> {
    let (profile, rest) = match rest.split_first() {
        Some((first, rest)) if first == "--release" => (&["--release"][..], rest),
        _ => (&[][..], rest),
    };
    run("cargo", &[&["build", "--quiet", "--package", "messenger", "--package", "drill"], profile].concat())?;
    let mut args = [&["run", "--quiet", "--package", "drill"], profile, &["--"]].concat();
    args.extend(rest.iter().map(String::as_str));
    run("cargo", &args)
}

/// Replays the committed fuzz corpora, or with arguments runs the `fuzz` command, on instrumented code when it mutates.
pub fn fuzz(rest: &[String]) -> Result<()> {
    if rest.is_empty() {
        return run("cargo", &["nextest", "run", "--package", "fuzz"]);
    }
    if !rest.iter().any(|arg| arg == "--runs") {
        return binary("fuzz", rest);
    }
    let mut args = vec!["run", "--quiet", "--package", "fuzz", "--features", "coverage", "--"];
    args.extend(rest.iter().map(String::as_str));
    let instrument = root().join("tests/fuzz/instrument");
    // The profile runtime would write a file at exit; the counters are read inside the process.
    let env =
        [("RUSTC_WORKSPACE_WRAPPER", &*instrument.to_string_lossy()), ("LLVM_PROFILE_FILE", "/dev/null")];
    run_with("cargo", &args, &env)
}

/// Regenerates the protobuf messages (needs no protoc).
#[cfg(not(feature = "codegen"))]
pub fn codegen() -> Result<()> {
    run("cargo", &["run", "--quiet", "--package", "xtask", "--features", "codegen", "--", "codegen"])
}

/// Regenerates the protobuf messages (needs no protoc).
#[cfg(feature = "codegen")]
pub fn codegen() -> Result<()> {
    crate::codegen::generate()
}

fn binary(package: &str, rest: &[String]) -> Result<()> {
    let mut args = vec!["run", "--quiet", "--package", package, "--"];
    args.extend(rest.iter().map(String::as_str));
    run("cargo", &args)
}
