//! One word per step, and no name that means nothing.

use crate::source::{report, rust};
use schema_wire::Step;

/// Banned word, and what to say instead.
const BANNED: &[(&str, &str)] = &[
    ("utils", "name what it decides"),
    ("util", "name what it decides"),
    ("helpers", "name what it decides"),
    ("helper", "name what it decides"),
    ("common", "put it where it is used"),
    ("manager", "name the noun it keeps"),
    ("misc", "name what it decides"),
];

#[test]
fn modules_have_names_that_mean_something() {
    let mut found = Vec::new();
    for source in rust() {
        for part in source.path.trim_end_matches(".rs").split('/') {
            found.extend(
                BANNED
                    .iter()
                    .filter(|(b, _)| *b == part)
                    .map(|(b, instead)| format!("{}: {b}: {instead}", source.path)),
            );
        }
    }
    report("names that mean nothing", found);
}

#[test]
fn types_have_names_that_mean_something() {
    let mut found = Vec::new();
    for source in rust() {
        for (at, line) in source.text.lines().enumerate() {
            let line = line.trim_start().trim_start_matches("pub ");
            let Some(name) = ["struct ", "enum ", "trait "].iter().find_map(|k| line.strip_prefix(k)) else {
                continue;
            };
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            if ["Manager", "Helper", "Util", "Utils", "Misc"].iter().any(|b| name.ends_with(b)) {
                found.push(format!("{}:{} {name}", source.path, at + 1));
            }
        }
    }
    report("type names that mean nothing", found);
}

#[test]
fn every_step_has_its_file() {
    let files: Vec<String> = rust().into_iter().map(|s| s.path).collect();
    let missing = Step::ALL
        .iter()
        // Bytes become frames in schema-wire; every other step is decided in relay-proto.
        .filter(|step| **step != Step::Decode)
        .map(|step| format!("relay/proto/src/message/{}.rs", step.name()))
        .filter(|path| !files.contains(path));
    report("steps without a file of that word", missing.collect());
    let message = files.iter().filter_map(|f| f.strip_prefix("relay/proto/src/message/"));
    let extra = message
        .filter(|f| !f.contains('/') && *f != "mod.rs")
        .filter(|f| !Step::ALL.iter().any(|s| format!("{}.rs", s.name()) == **f));
    report("files in message/ that are no step", extra.map(str::to_owned).collect());
}
