//! `messenger health`: looks once at everything the product stands on. One line each; the exit code tells the worst.

mod checks;
mod handshake;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use console::ConsoleConfig;
use console::database::Database;
use relay_server::config::RelayConfig;
use serde_json::json;

use crate::backup::settings::PlaceOptions;
use crate::failure::{Code, Failure};

/// Flags; what is looked at comes from the same environment as `up` reads.
#[derive(Args, Debug, Clone)]
pub struct HealthOptions {
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = ".data", env = "DATA_DIR")]
    data: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// Not part of this installation.
    Unused,
    Well,
    /// Works, and somebody should look before it does not.
    Warning,
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Well => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What was found of one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub name: &'static str,
    pub state: State,
    /// One line.
    pub detail: String,
}

/// What is looked at.
pub struct Subject {
    pub relay: RelayConfig,
    pub api: ConsoleConfig,
    pub place: PlaceOptions,
    /// Whether the relay's internal listener has a known port.
    pub internal_is_known: bool,
}

impl Subject {
    fn read(options: &HealthOptions) -> Result<Self, Failure> {
        let lookup = |name: &str| match name {
            "DATA_DIR" => Some(options.data.display().to_string()),
            name => std::env::var(name).ok().filter(|value| !value.is_empty()),
        };
        let bad = |error: &dyn std::fmt::Display| Failure::new(Code::Settings, error);
        let relay = RelayConfig::from_env(lookup).map_err(|error| bad(&error))?;
        let api = ConsoleConfig::from_env(false, lookup).map_err(|error| bad(&error))?;
        let internal_is_known = relay.internal_listen.port() != 0;
        Ok(Self { relay, api, place: PlaceOptions::from_env(&options.data), internal_is_known })
    }
}

/// Looks, prints, and gives the worst as the exit code.
pub fn run(options: &HealthOptions) -> Result<ExitCode, Failure> {
    let subject = Subject::read(options)?;
    let mut findings = vec![match &subject.api.database {
        Database::Sqlite(file) => checks::embedded(file),
        Database::Postgres(server) => checks::wait(checks::server(server))?,
    }];
    findings.push(checks::wait(checks::redis(&subject))?);
    findings.push(checks::backups(&subject.place));
    findings.push(checks::relay(&subject));
    findings.push(checks::console(&subject));
    findings.push(checks::certificates(&subject));
    findings.push(checks::wait(checks::names())?);
    let worst = findings.iter().map(|finding| finding.state).max().unwrap_or(State::Well);
    if options.json {
        let one = |finding: &Finding| json!({"name": finding.name, "state": finding.state.word(), "detail": finding.detail});
        let all: Vec<_> = findings.iter().map(one).collect();
        say!("{}", json!({"state": worst.word(), "checks": all}));
    } else {
        for Finding { name, state, detail } in &findings {
            say!("{:<8} {name:<13} {detail}", state.word());
        }
    }
    Ok(match worst {
        State::Unused | State::Well => ExitCode::SUCCESS,
        State::Warning => ExitCode::from(Code::Warning as u8),
        State::Failed => ExitCode::from(Code::Unwell as u8),
    })
}
