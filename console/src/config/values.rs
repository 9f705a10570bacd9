//! The variables that are set, read by kind: a malformed one names its line.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::str::FromStr;

use super::{ConfigFault, VARIABLES};

pub(super) const HOUR_S: u64 = 3600;
pub(super) const DAY_S: u64 = 24 * HOUR_S;

pub(super) fn fault(name: &'static str, problem: impl Into<String>) -> ConfigFault {
    ConfigFault { name, problem: problem.into() }
}

/// The variables that are set and not empty.
pub(super) struct Values(HashMap<&'static str, String>);

impl Values {
    pub(super) fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = VARIABLES.iter().filter_map(|variable| {
            let value = lookup(variable.name)?.trim().to_owned();
            (!value.is_empty()).then_some((variable.name, value))
        });
        Self(set.collect())
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        debug_assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name} is in the table");
        self.0.get(name).map(String::as_str)
    }

    /// Names of those that are set.
    pub(super) fn names(&self) -> BTreeSet<&'static str> {
        self.0.keys().copied().collect()
    }

    pub(super) fn list(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.text(name).unwrap_or("").split(',').map(str::trim).filter(|item| !item.is_empty())
    }

    pub(super) fn parse<T: FromStr>(&self, name: &'static str, what: &str) -> Result<Option<T>, ConfigFault> {
        self.text(name)
            .map(|text| text.parse().map_err(|_| fault(name, format!("{text:?} is not {what}"))))
            .transpose()
    }

    pub(super) fn parse_unless_none(&self, name: &'static str) -> Result<Option<SocketAddr>, ConfigFault> {
        if self.text(name) == Some("none") { Ok(None) } else { self.parse(name, "ADDRESS:PORT or none") }
    }

    /// Whether the second word is set; the first is the default.
    pub(super) fn either(&self, name: &'static str, words: [&str; 2]) -> Result<bool, ConfigFault> {
        let text = self.text(name).unwrap_or(words[0]);
        let found = words.iter().position(|word| *word == text);
        let found = found.ok_or_else(|| fault(name, format!("{text:?} is none of: {}", words.join(", "))))?;
        Ok(found == 1)
    }

    pub(super) fn number(
        &self,
        name: &'static str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigFault> {
        let number = self.parse(name, "a whole number")?.unwrap_or(default);
        if !range.contains(&number) {
            return Err(fault(name, format!("{number} is not within {} and {}", range.start(), range.end())));
        }
        Ok(number)
    }

    pub(super) fn duration(
        &self,
        name: &'static str,
        default_s: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigFault> {
        let Some(text) = self.text(name) else { return Ok(default_s) };
        let seconds = duration_s(text)
            .ok_or_else(|| fault(name, format!("{text:?} is not a time such as 15m or 7d")))?;
        if !range.contains(&seconds) {
            let problem = format!("{text:?} is not within {} s and {} s", range.start(), range.end());
            return Err(fault(name, problem));
        }
        Ok(seconds)
    }

    pub(super) fn secret(
        &self,
        name: &'static str,
        file: &'static str,
    ) -> Result<Option<String>, ConfigFault> {
        match (self.text(name), self.text(file)) {
            (Some(_), Some(_)) => Err(fault(file, format!("set either {name} or {file}"))),
            (Some(text), None) => Ok(Some(text.to_owned())),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map(|text| Some(text.trim_end().to_owned()))
                .map_err(|error| fault(file, format!("{path}: {error}"))),
            (None, None) => Ok(None),
        }
    }
}

pub(super) fn duration_s(text: &str) -> Option<u64> {
    let (digits, unit_s) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        None => (text, 1),
        Some(digits) if text.ends_with('s') => (digits, 1),
        Some(digits) if text.ends_with('m') => (digits, 60),
        Some(digits) if text.ends_with('h') => (digits, HOUR_S),
        Some(digits) => (digits, DAY_S),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit_s)
}
