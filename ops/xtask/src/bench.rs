//! `cargo x bench`: the relay against its floors and backups against pgBackRest, as the release build that users get, and
//! the steps measured alone. A smoke run is made of the tests' build, but for what is measured.

use std::path::PathBuf;

use anyhow::Result;

use crate::prerequisites;
use crate::run::{root, run};

/// What a measured figure is held against in CI.
const RECORDED: &str = "bench/recorded.json";

/// How the smoke run's build differs from that of the tests, which it takes the rest from.
const SMOKE: &str = "bench/smoke.toml";

/// What is no shape of the relay.
const BACKUP: &str = "backup";

/// Builds what is measured and measures it, or with `--steps` runs the micro-benchmarks.
pub fn bench(rest: &[String]) -> Result<()> {
    if rest.iter().any(|flag| flag == "--steps") {
        return steps(rest);
    }
    if rest.first().is_some_and(|shape| shape == BACKUP) {
        prerequisites::ensure_rival()?;
    }
    let is_smoke = rest.iter().any(|flag| flag == "--smoke");
    let (how, folder): (&[&str], _) =
        if is_smoke { (&["--config", SMOKE], "debug") } else { (&["--release"], "release") };
    // Both in one go: built apart, their dependencies would be built twice with different features.
    run("cargo", &[&["build", "--package", "messenger", "--package", "bench"], how].concat())?;
    let program = root().join(target()).join(folder).join("bench");
    let args = arguments(rest);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(&program.to_string_lossy(), &args)
}

fn steps(rest: &[String]) -> Result<()> {
    let mut args = vec!["bench", "--package", "bench", "--bench", "steps", "--bench", "verify", "--"];
    args.extend(rest.iter().map(String::as_str).filter(|flag| *flag != "--steps"));
    run("cargo", &args)
}

/// What was asked for, and what follows from it unless it was asked for otherwise.
fn arguments(rest: &[String]) -> Vec<String> {
    if rest.first().is_some_and(|shape| shape == BACKUP) {
        return rest.to_vec();
    }
    let given = |flag: &str| rest.iter().any(|arg| arg == flag || arg.starts_with(&format!("{flag}=")));
    let mut args = vec!["run".to_owned()];
    args.extend_from_slice(rest);
    let mut imply = |flag: &str, value: String| {
        if !given(flag) {
            args.extend([flag.to_owned(), value]);
        }
    };
    if given("--all") {
        let file = |name: &str| target().join("bench").join(name).to_string_lossy().into_owned();
        imply("--html", file("report.html"));
        imply("--save", file("run.json"));
    }
    if given("--smoke") {
        imply("--check", RECORDED.to_owned());
    }
    args
}

/// Where cargo builds.
fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => folder.into(),
        None => "target".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;

    fn of(line: &str) -> String {
        arguments(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn what_is_given_is_passed_on() {
        assert_eq!(of("rooms --runs 3 --json"), "run rooms --runs 3 --json");
        assert_eq!(of("backup --megabytes 500"), "backup --megabytes 500");
    }

    #[test]
    fn a_smoke_run_is_checked() {
        assert_eq!(of("--smoke"), "run --smoke --check bench/recorded.json");
        assert_eq!(of("--smoke --check=other.json"), "run --smoke --check=other.json");
    }

    #[test]
    fn a_whole_run_leaves_a_page() {
        assert!(of("--all --save run.json").starts_with("run --all --save run.json --html "));
    }
}
