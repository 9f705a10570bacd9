//! What `up` runs with: flags over environment over defaults, each program reading its own table of variables.

use std::path::{Path, PathBuf};

use console::ConsoleConfig;
use console::access::signing::{GENERATED_KEY, SigningSource};
use relay_server::config::{self, RelayConfig};

use super::UpOptions;
use crate::failure::{Code, Failure};

/// Where the embedded product keeps its data when nobody says otherwise.
const DATA: &str = ".data";

/// Everything the two programs need.
#[derive(Clone)]
pub struct Settings {
    pub data: PathBuf,
    pub relay: RelayConfig,
    pub api: ConsoleConfig,
    database: PathBuf,
}

impl Settings {
    /// Reads flags and environment.
    pub fn read(options: &UpOptions) -> Result<Self, Failure> {
        refuse_unknown()?;
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let data =
            options.data.clone().or_else(|| set("RELAY_DATA").or_else(|| set("DATA_DIR")).map(PathBuf::from));
        let data = data.unwrap_or_else(|| PathBuf::from(DATA));
        let bad = |error: &dyn std::fmt::Display| Failure::new(Code::Settings, error);
        let layered = |name: &str| layer(name, options, &data).or_else(|| set(name));
        let mut relay = RelayConfig::from_env(layered).map_err(|error| bad(&error))?;
        let mut api = ConsoleConfig::from_env(options.demo, layered).map_err(|error| bad(&error))?;
        // The guide's environment gives WebSocket and API one port; here they are two listeners.
        let asked = options.api_port.is_some() || set("API_ADDRESS").is_some();
        if !asked && relay.listen.iter().any(|at| at.port() == api.address.port()) {
            let port = api.address.port() + 1;
            api.address.set_port(port);
            tracing::warn!(port, "the relay has the API's port; the API moves to the next");
        }
        let database = api.database.clone();
        for issuer in &mut relay.access.issuers {
            if issuer.public_key_file.is_none() && issuer.jwks_file.is_none() {
                issuer.jwks_file = api.signing.published.clone();
            }
        }
        if let Some(port) = options.relay_port {
            relay.listen.iter_mut().for_each(|at| at.set_port(port));
        }
        for warning in &relay.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self { data, relay, api, database })
    }

    /// The private key that signs access tokens; `None` when a shared secret does.
    pub fn signing_key(&self) -> Option<PathBuf> {
        match &self.api.signing.source {
            SigningSource::File(file) => Some(file.clone()),
            SigningSource::Folder(folder) => Some(folder.join(GENERATED_KEY)),
            SigningSource::Secret => None,
        }
    }

    /// The embedded database's file.
    pub fn database(&self) -> PathBuf {
        self.database.clone()
    }
}

/// What a flag, or running embedded, says about a variable.
fn layer(name: &str, options: &UpOptions, data: &Path) -> Option<String> {
    match name {
        "RELAY_DATA" | "DATA_DIR" => Some(data.display().to_string()),
        "API_ADDRESS" => options.api_port.map(|port| format!("127.0.0.1:{port}")),
        "RELAY_SHARDS" => options.shards.map(|shards| shards.to_string()),
        "PROMETHEUS_PORT" if std::env::var_os(name).is_none() => Some("0".into()),
        _ => None,
    }
}

fn refuse_unknown() -> Result<(), Failure> {
    let mut declared = config::names();
    declared.extend(console::VARIABLES.iter().map(|variable| variable.name.to_owned()));
    declared.extend(crate::VARIABLES.iter().map(|(name, _)| (*name).to_owned()));
    let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let unknown = config::unknown(names.iter().map(String::as_str), &declared);
    match unknown.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(Code::Settings, first)),
    }
}
