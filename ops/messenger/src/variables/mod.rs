//! All environment variables of the product in one table: those of the relay, of the account API, and of the
//! `messenger` program itself. Decides what `up` refuses because nothing reads it.

#[cfg(test)]
mod document;
mod own;
#[cfg(test)]
mod tests;

use relay_server::config;

use crate::failure::{Code, Failure};

pub use own::check;

/// Variables of other products' environment files, and what to write instead.
const REPLACED: &[(&str, &str)] = &[
    ("API_RATE_LIMIT", "RATE_LIMIT_MAX=300"),
    ("MAX_UPLOAD_SIZE", "MAX_FILE_SIZE=524288000 (bytes)"),
    ("RELAY_DATA", "DATA_DIR=.data"),
    ("BODY_MAX_SIZE", "RELAY_BODY_BYTES_MAX=65536"),
];

/// Beginning of the variables of the seeds' web front end.
const FRONT_END: &str = "NEXT_PUBLIC_";

/// Refuses variables that look like ours and are read by nobody, so that a misspelt limit is not no limit.
pub fn refuse_unknown(names: &[String]) -> Result<(), Failure> {
    let refuse = |line: String| Err(Failure::new(Code::Settings, line));
    for name in names {
        if let Some((_, fix)) = REPLACED.iter().find(|(replaced, _)| replaced == name) {
            return refuse(format!("{name} is not a variable of this program; fix: {fix}"));
        }
        if name.starts_with(FRONT_END) {
            return refuse(format!("{name} belongs to a web front end, not to this program; fix: remove it"));
        }
    }
    let declared = declared();
    let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
    match config::unknown(names.iter().map(String::as_str), &declared).first() {
        None => Ok(()),
        Some(first) => refuse(first.to_string()),
    }
}

/// Every name that some part of the product reads.
fn declared() -> Vec<String> {
    let mut declared = config::names();
    declared.extend(console::VARIABLES.iter().map(|variable| variable.name.to_owned()));
    let own = own::VARIABLES.iter().flat_map(|(_, variables)| variables.iter());
    declared.extend(own.map(|variable| variable.name.to_owned()));
    declared
}
