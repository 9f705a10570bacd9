//! What `up` runs with: flags over environment over defaults, each program reading its own table of variables.

use std::path::{Path, PathBuf};

use console::ConsoleConfig;
use console::access::signing::{GENERATED_KEY, SigningSource};
use relay_server::config::RelayConfig;

use super::UpOptions;
use crate::failure::{Code, Failure};
use crate::variables;

/// Where the embedded product keeps its data when nobody says otherwise.
const DATA: &str = ".data";

/// Everything the two programs need.
#[derive(Clone)]
pub struct Settings {
    pub data: PathBuf,
    pub relay: RelayConfig,
    pub api: ConsoleConfig,
}

impl Settings {
    /// Reads flags and environment.
    pub fn read(options: &UpOptions) -> Result<Self, Failure> {
        let names: Vec<String> =
            std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        variables::refuse_unknown(&names)?;
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let data = options.data.clone().or_else(|| set("DATA_DIR").map(PathBuf::from));
        let data = data.unwrap_or_else(|| PathBuf::from(DATA));
        let bad = |error: &dyn std::fmt::Display| Failure::new(Code::Settings, error);
        let layered = |name: &str| layer(name, options, &data).or_else(|| set(name));
        let mut warnings = variables::check(set, options.demo)?;
        let mut relay = RelayConfig::from_env(layered).map_err(|error| bad(&error))?;
        let mut api = ConsoleConfig::from_env(options.demo, layered).map_err(|error| bad(&error))?;
        agree(&relay, &mut api)?;
        if options.api_port.is_none() && set("API_ADDRESS").is_none() {
            part(&relay, &mut api);
        }
        for issuer in &mut relay.access.issuers {
            if issuer.public_key_file.is_none() && issuer.jwks_file.is_none() {
                issuer.jwks_file = api.signing.published.clone();
            }
        }
        if let Some(port) = options.relay_port {
            relay.listen.iter_mut().for_each(|at| at.set_port(port));
        }
        warnings.extend(relay.warnings.iter().cloned());
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self { data, relay, api })
    }

    /// The private key that signs access tokens; `None` when a shared secret does.
    pub fn signing_key(&self) -> Option<PathBuf> {
        match &self.api.signing.source {
            SigningSource::File(file) => Some(file.clone()),
            SigningSource::Folder(folder) => Some(folder.join(GENERATED_KEY)),
            SigningSource::Secret => None,
        }
    }
}

/// What a flag, or running embedded, says about a variable.
fn layer(name: &str, options: &UpOptions, data: &Path) -> Option<String> {
    match name {
        "DATA_DIR" => Some(data.display().to_string()),
        "API_ADDRESS" => options.api_port.map(|port| format!("127.0.0.1:{port}")),
        "CONSOLE_ADDRESS" => options.console_port.map(|port| format!("127.0.0.1:{port}")),
        "RELAY_SHARDS" => options.shards.map(|shards| shards.to_string()),
        "ALLOWED_ORIGINS" if std::env::var_os(name).is_none() => std::env::var("CORS_ORIGINS").ok(),
        "PROMETHEUS_PORT" if std::env::var_os(name).is_none() => Some("0".into()),
        _ => None,
    }
}

/// The guide's environment gives WebSocket and API one port; here they are two listeners.
fn part(relay: &RelayConfig, api: &mut ConsoleConfig) {
    if relay.listen.iter().any(|at| at.port() == api.address.port()) {
        let port = api.address.port() + 1;
        api.address.set_port(port);
        tracing::warn!(port, "the relay has the API's port; the API moves to the next");
    }
}

/// Relay and API trust the same shared secret, or none.
fn agree(relay: &RelayConfig, api: &mut ConsoleConfig) -> Result<(), Failure> {
    let is_known_to_relay = relay.access.issuers.iter().any(|issuer| !issuer.legacy.is_empty());
    if is_known_to_relay {
        return Ok(());
    }
    if matches!(api.signing.source, SigningSource::Secret) {
        let line = "JWT_ALGORITHM=HS256: the relay would refuse these tokens; fix: set JWT_LEGACY_HS256_SECRET, \
                    JWT_LEGACY_HS256_KID and JWT_LEGACY_HS256_UNTIL, such as 2027-01-31";
        return Err(Failure::new(Code::Settings, line));
    }
    api.signing.secret = None;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_makes_room_for_the_relay_on_the_guides_port() {
        for (port, expected) in [("3001", 3002), ("8443", 3001)] {
            let relay = RelayConfig::from_env(|name| (name == "WEBSOCKET_PORT").then(|| port.to_owned()));
            let mut api = ConsoleConfig::from_env(false, |_| None).expect("defaults are valid");
            part(&relay.expect("a port is valid"), &mut api);
            assert_eq!(api.address.port(), expected);
        }
    }
}
