//! The alert rules: what they ask for is what the product shows, what they point to is there, and they fire when they
//! should, as Prometheus' own tool says where it is installed.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../prometheus");

fn files(ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

#[test]
fn rules_name_figures_and_runbooks_that_exist() {
    let shown = include_str!("../../../console/src/caseload.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    assert!(!files(".rules.yml").is_empty());
    for path in files(".rules.yml") {
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().map(str::trim) {
            if let Some(runbook) = line.strip_prefix("runbook: ") {
                assert!(root.join(runbook).exists(), "{runbook}");
            }
            if let Some(expression) = line.strip_prefix("expr: ") {
                let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                for figure in words.filter(|word| word.starts_with("moderation_")) {
                    assert!(shown.contains(&format!("# TYPE {figure} gauge")), "{figure}");
                }
            }
        }
        let alerts = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        let tests = std::fs::read_to_string(path.to_str().unwrap().replace(".rules.", ".test.")).unwrap();
        for alert in alerts {
            let expected = tests.matches(&format!("alertname: {alert}")).count();
            assert!(expected >= 2, "{alert} is tested on both sides");
        }
    }
}

#[test]
fn rules_fire_when_they_should() {
    let promtool = |task: [&str; 2], file: &Path| Command::new("promtool").args(task).arg(file).status();
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("promtool is not installed (Debian's package prometheus): the rules were only read");
        return;
    }
    for file in files(".rules.yml") {
        assert!(promtool(["check", "rules"], &file).unwrap().success(), "{}", file.display());
    }
    for file in files(".test.yml") {
        assert!(promtool(["test", "rules"], &file).unwrap().success(), "{}", file.display());
    }
}
