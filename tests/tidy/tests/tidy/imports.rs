//! Imports point one way: between crates, between the rooms of relay-proto, and towards the kernel.

use std::collections::BTreeSet;

use crate::source::{files, report, root, rust};

/// Crate folder, and the workspace crates its product code may depend on. Nothing may depend on what tests or measures,
/// except what tests or measures.
const CRATES: &[(&str, &[&str])] = &[
    ("schema/wire", &[]),
    ("schema/store", &["schema-wire"]),
    ("relay/proto", &["schema-wire"]),
    ("relay/server", &["schema-wire", "schema-store", "relay-proto"]),
    ("relay/client", &["schema-wire"]),
    ("console", &["schema-wire", "schema-store"]),
    ("ops/backup", &["schema-wire", "schema-store"]),
    ("ops/messenger", &["schema-wire", "schema-store", "relay-client", "relay-server", "console", "backup"]),
    ("ops/xtask", &[]),
    ("bench", &["schema-wire", "schema-store", "relay-server", "drill", "servers"]),
    ("tests/sim", &["schema-wire", "relay-proto"]),
    ("tests/wire", &["schema-wire", "schema-store", "relay-client"]),
    ("tests/drill", &["schema-wire", "schema-store", "relay-client", "servers"]),
    ("tests/fuzz", &["schema-wire", "relay-proto", "relay-server", "backup"]),
    ("tests/tidy", &[]),
    ("tests/servers", &[]),
    ("tests/dataset", &["schema-wire", "schema-store"]),
];

/// Everything of ours.
const OURS: &[&str] = &[
    "schema-wire",
    "schema-store",
    "relay-proto",
    "relay-server",
    "relay-client",
    "console",
    "backup",
    "messenger",
    "xtask",
    "bench",
    "sim",
    "wire-tests",
    "drill",
    "fuzz",
    "tidy",
    "servers",
    "dataset",
];

/// What relay-proto and schema-wire may use at all: no clock, socket, disk, thread or random order among it.
const SANS_IO: &[(&str, &[&str])] = &[
    ("schema/wire", &["buffa", "bytes", "once_cell", "serde", "serde_json"]),
    ("relay/proto", &["schema-wire", "bytes", "hashbrown"]),
];

/// Crates that may be named in one folder of the product only, and the folders that attack or measure the product with
/// them.
const CONFINED: &[(&str, &[&str])] = &[
    ("glommio", &["relay/server"]),
    ("io-uring", &["relay/server"]),
    ("quinn-proto", &["relay/server", "tests/fuzz", "bench"]),
    ("quinn", &["relay/client", "tests/wire", "bench"]),
    ("rusqlite", &["schema/store", "tests/wire", "bench"]),
    ("axum", &["console"]),
    ("aes-gcm", &["ops/backup"]),
];

/// Rooms of relay-proto from left to right; a room may use itself and what stands left of it.
const ROOMS: &[&[&str]] = &[
    &["limits"],
    &["event", "effect", "planted"],
    &["state"],
    &["outward", "message", "session", "node", "control"],
    &["shard", "measured"],
];

#[test]
fn crates_depend_one_way() {
    let unlisted = files().into_iter().filter_map(|path| Some(path.strip_suffix("/Cargo.toml")?.to_owned()));
    let unlisted = unlisted.filter(|folder| !CRATES.iter().any(|(listed, _)| listed == folder));
    let mut found: Vec<String> = unlisted.map(|folder| format!("{folder} is not listed")).collect();
    for (folder, allowed) in CRATES {
        let extra = dependencies(folder, &["dependencies", "build-dependencies"]);
        let extra = extra.iter().filter(|d| OURS.contains(&d.as_str()) && !allowed.contains(&d.as_str()));
        found.extend(extra.map(|d| format!("{folder} may not depend on {d}")));
    }
    report("crates that import the wrong way", found);
}

#[test]
fn deciding_crates_cannot_reach_the_world() {
    let mut found = Vec::new();
    for (folder, allowed) in SANS_IO {
        let extra = dependencies(folder, &["dependencies"]);
        found.extend(
            extra.iter().filter(|d| !allowed.contains(&d.as_str())).map(|d| format!("{folder}: {d}")),
        );
        let lib = std::fs::read_to_string(root().join(folder).join("src/lib.rs")).expect("a library");
        if !lib.contains("#![no_std]") {
            found.push(format!("{folder} is not no_std"));
        }
    }
    report("the sans-IO crates", found);
}

#[test]
fn machines_are_named_in_one_place() {
    let mut found = Vec::new();
    for (folder, _) in CRATES {
        let used = dependencies(folder, &["dependencies"]);
        let strays = CONFINED.iter().filter(|(name, homes)| used.contains(*name) && !homes.contains(folder));
        found.extend(
            strays.map(|(name, homes)| format!("{folder} depends on {name}, which belongs in {}", homes[0])),
        );
    }
    let ring = rust().into_iter().filter(|s| s.path.starts_with("relay/server/src/ring/"));
    let named = ring
        .filter(|s| s.product().lines().any(|l| l.contains("glommio") && !l.trim_start().starts_with("//")));
    found.extend(named.map(|s| format!("{} names glommio", s.path)));
    report("crates outside their room", found);
}

#[test]
fn rooms_of_the_logic_import_leftwards() {
    let rank = |room: &str| ROOMS.iter().position(|rooms| rooms.contains(&room));
    let mut found = Vec::new();
    for source in rust().iter().filter(|s| s.path.starts_with("relay/proto/src/")) {
        let inner = &source.path["relay/proto/src/".len()..];
        let own = inner.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if own == "lib" {
            continue;
        }
        let Some(own_rank) = rank(own) else {
            found.push(format!("{inner}: a room this test does not know"));
            continue;
        };
        for room in used_rooms(source.product()) {
            match rank(&room) {
                Some(other) if other <= own_rank => {}
                Some(_) => found.push(format!("{inner} uses {room}, which stands right of it")),
                None => {}
            }
        }
    }
    report("rooms that import rightwards", found);
}

fn used_rooms(text: &str) -> BTreeSet<String> {
    let paths = text.match_indices("crate::").map(|(at, _)| &text[at + "crate::".len()..]);
    paths.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

/// Names under the given tables of a crate's manifest.
fn dependencies(folder: &str, tables: &[&str]) -> BTreeSet<String> {
    let path = format!("{folder}/Cargo.toml");
    assert!(files().contains(&path), "{path} exists");
    let text = std::fs::read_to_string(root().join(path)).expect("readable");
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = tables.iter().any(|t| line == format!("[{t}]"));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            names.extend(line.split(['=', '.', ' ']).next().map(str::to_owned));
        }
    }
    names
}
