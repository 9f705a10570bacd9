//! The verdict: the checker beside this crate reads the history and must find it valid and not vacuous.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What a run has to contain to count.
#[derive(Clone, Copy, Debug)]
pub struct Least {
    pub kills: u64,
    pub acked: u64,
    pub received: u64,
    pub finals: u64,
}

/// The checker.
pub fn checker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("history_check.py")
}

/// Judges a history; returns what the checker said.
pub fn judge(history: &Path, least: Least) -> Result<String> {
    let output = Command::new("python3")
        .arg(checker())
        .arg(history)
        .args(["--dense", "--sync-self", "--realtime"])
        .args(["--min-kills", &least.kills.to_string()])
        .args(["--min-acked", &least.acked.to_string()])
        .args(["--min-recv", &least.received.to_string()])
        .args(["--min-finals", &least.finals.to_string()])
        .output()
        .context("python3 could not be started")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("the history {} is not in order:\n{said}", history.display());
    }
    Ok(said)
}
