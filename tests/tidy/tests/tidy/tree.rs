//! The top level is what DESIGN names, and documents speak only of the project.

use crate::source::{files, report, root};

const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".rustfmt.toml",
    ".config",
    ".gitattributes",
    ".github",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "bench",
    "console",
    "k8s",
    "ops",
    "relay",
    "schema",
    "tests",
];

#[test]
fn the_top_level_holds_what_it_should() {
    let mut extra: Vec<String> = files()
        .iter()
        .map(|path| path.split('/').next().unwrap_or_default().to_owned())
        .filter(|top| !TOP.contains(&top.as_str()))
        .collect();
    extra.dedup();
    report("not wanted at the top level", extra);
}

#[test]
fn text_speaks_only_of_the_project() {
    // Spelled in two parts so that this file does not find itself.
    let banned = [
        concat!("/wo", "rk/"),
        concat!("bash", "_jobs"),
        concat!("sub", "agent"),
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("npm", "js."),
    ];
    let mut found = Vec::new();
    for path in files().iter().filter(|p| !p.ends_with(".lock")) {
        let Ok(text) = std::fs::read_to_string(root().join(path)) else { continue };
        for (at, line) in text.lines().enumerate() {
            found.extend(
                banned.iter().filter(|b| line.contains(*b)).map(|b| format!("{path}:{} says {b}", at + 1)),
            );
        }
    }
    report("words that do not belong here", found);
}
