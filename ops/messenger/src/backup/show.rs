//! What backups there are, for people and as JSON.

use std::process::ExitCode;

use ::backup::catalogue::{self, Entry, LogEnd, Which};
use ::backup::manifest::Manifest;
use serde_json::{Value, json};

use super::on_ring;
use super::settings::PlaceOptions;
use crate::failure::{Code, Failure};

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let unit = (1..units.len()).rev().find(|unit| bytes >> (10 * (unit + 1)) > 0).unwrap_or(0);
    format!("{:.1} {}", bytes as f64 / (1u64 << (10 * (unit + 1))) as f64, units[unit])
}

fn json_of(entry: &Entry) -> Value {
    json!({
        "name": entry.name.to_string(),
        "began_at": entry.name.time().to_string(),
        "whole": entry.is_whole,
        "bytes": entry.bytes(),
    })
}

/// All of them. Needs no key, so it does not know what is in them.
pub fn list(options: &PlaceOptions, as_json: bool) -> Result<ExitCode, Failure> {
    let entries = on_ring(async {
        let place = options.open()?;
        catalogue::entries(&place).await.map_err(Failure::backup)
    })?;
    if as_json {
        say!("{}", Value::Array(entries.iter().map(json_of).collect()));
        return Ok(ExitCode::SUCCESS);
    }
    for entry in &entries {
        let state = if entry.is_whole { "whole" } else { "interrupted" };
        say!("{}  {:>12}  {state}", entry.name, size(entry.bytes()));
    }
    if entries.is_empty() {
        say!("no backup in {} yet", options.location()?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest one, checked as far as its manifest; too old is a failure of its own.
pub fn status(options: &PlaceOptions, as_json: bool, max_age: u64) -> Result<ExitCode, Failure> {
    let keys = options.keys()?;
    let (count, name, newest, log) = on_ring(async {
        let place = options.open()?;
        let entries = catalogue::entries(&place).await.map_err(Failure::backup)?;
        let count = entries.iter().filter(|entry| entry.is_whole).count();
        let found = catalogue::find(&place, Which::Latest, &keys).await.map_err(Failure::backup)?;
        let latest = catalogue::latest(&place).await.map_err(Failure::backup)?;
        let log = latest.as_ref().and_then(|latest| latest.followed().cloned());
        if log.is_none() && latest.is_some_and(|latest| latest.log.is_some()) {
            tracing::warn!("the log that is sealed does not go on from the newest backup; make a backup");
        }
        Ok((count, found.0, found.1, log))
    })?;
    let now = jiff::Timestamp::now().as_second();
    // A log that is followed makes the moment that is safe younger than the backup it continues.
    let safe = log.as_ref().map_or(name.time(), |log| log.at.max(name.time()));
    let age = u64::try_from(now - safe.as_second()).unwrap_or(0);
    let is_recent = age <= max_age;
    if as_json {
        say!("{}", newest_json(&newest, options, count, (age, is_recent), log.as_ref())?);
    } else {
        say!(
            "{name}, {age} s old, {} sealed, {} messages; {count} backups in {}",
            size(newest.bytes()),
            newest.holds.messages,
            options.location()?
        );
        if let Some(log) = &log {
            say!(
                "its log is sealed up to {} of {}; {} bytes had not arrived then",
                log.to,
                log.at,
                log.lag_bytes
            );
        }
    }
    if is_recent {
        return Ok(ExitCode::SUCCESS);
    }
    let why = format!("what is safe is {age} s old, more than {max_age}; see why nothing was sealed since");
    Err(Failure::new(Code::Old, why))
}

fn newest_json(
    newest: &Manifest,
    options: &PlaceOptions,
    count: usize,
    (age, is_recent): (u64, bool),
    log: Option<&LogEnd>,
) -> Result<Value, Failure> {
    Ok(json!({
        "ok": is_recent,
        "location": options.location()?.to_string(),
        "name": newest.name,
        "finished_at": newest.finished_at.to_string(),
        "age_seconds": age,
        "bytes": newest.bytes(),
        "database_bytes": newest.plain_bytes(),
        "generation": newest.holds.generation,
        "audit_id": newest.holds.audit_id,
        "audit_hash": newest.holds.audit_hash,
        "users": newest.holds.users,
        "messages": newest.holds.messages,
        "backups": count,
        "log": log,
    }))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0.0 KiB");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 20), "3.0 MiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
    }
}
