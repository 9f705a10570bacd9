//! The tracked source files, read once per test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One file of the repository.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    /// Whether it only runs in tests.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The text before the trailing test module.
    pub fn product(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Tracked and new files that git does not ignore.
pub fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "git ls-files failed");
    let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    listed.lines().map(str::to_owned).filter(|path| root().join(path).is_file()).collect()
}

/// Rust files that people write.
pub fn rust() -> Vec<Source> {
    let found: Vec<Source> = files()
        .into_iter()
        .filter(|path| path.ends_with(".rs") && !path.contains("/generated/"))
        .map(|path| Source { text: std::fs::read_to_string(root().join(&path)).expect("readable"), path })
        .collect();
    assert!(found.len() > 50, "the walk found too little to mean anything");
    found
}

/// Fails with every complaint at once.
pub fn report(what: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{what}:\n  {}", complaints.join("\n  "));
}
