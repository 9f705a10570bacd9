//! From the operator's URL to a connection's settings: what libpq knows about TLS is understood, and certificates are
//! always verified.

use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::connect::OpenError;

/// A server, or several of which one is the primary.
#[derive(Debug)]
pub struct Place {
    pub config: Config,
    /// Certificates that are trusted beside the system's.
    pub roots: Option<PathBuf>,
}

/// Understands `postgres://USER:PASSWORD@HOST/NAME?sslmode=…&sslrootcert=…`.
pub fn parse(url: &str) -> Result<Place, OpenError> {
    let (plain, mode, roots) = split(url);
    // The parser's message may quote the URL, password and all.
    let mut config = Config::from_str(&plain).map_err(|_| OpenError::Url)?;
    if config.get_hosts().is_empty() {
        return Err(OpenError::Url);
    }
    let mode = match mode.as_deref() {
        Some("disable") => SslMode::Disable,
        Some("prefer" | "allow") => SslMode::Prefer,
        Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
        Some(_) => return Err(OpenError::SslMode),
        None if config.get_hosts().iter().all(is_here) => SslMode::Disable,
        None => SslMode::Require,
    };
    config.ssl_mode(mode);
    Ok(Place { config, roots })
}

/// The URL without what the parser does not know, the TLS mode, the trusted certificates.
fn split(url: &str) -> (String, Option<String>, Option<PathBuf>) {
    let (mut mode, mut roots, mut kept) = (None, None, Vec::new());
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => roots = Some(PathBuf::from(unescape(value))),
            _ => kept.push(pair),
        }
    }
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    (format!("{base}{query}"), mode, roots)
}

/// Percent-encoding undone; a stray `%` stays as it is.
fn unescape(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => (bytes.push(byte), rest = &after[2..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bytes to this machine itself cross no network.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        parse(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn other_machines_are_reached_by_tls_unless_told_otherwise() {
        assert_eq!(mode("postgres://u:p@db.example.org/x"), SslMode::Require);
        assert_eq!(mode("postgres://u:p@db.example.org/x?sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("postgres://u:p@10.0.0.1,127.0.0.1/x"), SslMode::Require);
        assert_eq!(mode("postgres://u:p@127.0.0.1:5432/x"), SslMode::Disable);
        assert_eq!(mode("postgres://u@/x?host=/run/postgresql"), SslMode::Disable);
        assert_eq!(mode("postgres://u@localhost/x?sslmode=verify-full"), SslMode::Require);
        assert!(matches!(parse("postgres://u@localhost/x?sslmode=maybe"), Err(OpenError::SslMode)));
    }

    #[test]
    fn trusted_certificates_are_named_by_path_and_nothing_of_a_bad_url_is_told() {
        let place = parse("postgres://u@db/x?connect_timeout=3&sslrootcert=/etc/my%20ca.pem").unwrap();
        assert_eq!(place.roots, Some(PathBuf::from("/etc/my ca.pem")));
        assert!(place.config.get_connect_timeout().is_some(), "what the parser knows stays");
        let error = parse("postgres://u:hunter2@db:port/x").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
