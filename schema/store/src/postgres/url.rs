//! From the operator's URL to a connection's settings: what libpq knows about TLS is understood, and certificates are
//! always verified.

use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::connect::OpenError;

/// How long PostgreSQL's own programs wait for a server.
const CONNECT_SECONDS: &str = "10";

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

/// Certificates that Debian and Alpine trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The same place for PostgreSQL's own programs, as variables of their environment: a password is never an argument.
pub fn environment(url: &str) -> Result<Vec<(&'static str, String)>, OpenError> {
    let Place { config, roots } = parse(url)?;
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let ports = config.get_ports().iter().map(u16::to_string);
    let mode = match config.get_ssl_mode() {
        SslMode::Disable => "disable",
        SslMode::Prefer => "prefer",
        _ => "verify-full",
    };
    let roots = roots.map_or_else(|| SYSTEM_ROOTS.to_owned(), |path| path.display().to_string());
    let mut set = vec![
        ("PGHOST", hosts.collect::<Vec<_>>().join(",")),
        ("PGPORT", ports.collect::<Vec<_>>().join(",")),
        ("PGSSLMODE", mode.to_owned()),
        ("PGSSLROOTCERT", roots),
        ("PGCONNECT_TIMEOUT", CONNECT_SECONDS.to_owned()),
    ];
    set.retain(|(_, value)| !value.is_empty());
    set.extend(config.get_user().map(|user| ("PGUSER", user.to_owned())));
    set.extend(config.get_dbname().map(|name| ("PGDATABASE", name.to_owned())));
    set.extend(config.get_password().map(|text| ("PGPASSWORD", String::from_utf8_lossy(text).into_owned())));
    Ok(set)
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
    fn other_programs_are_told_the_same() {
        let told = environment("postgres://u:hunter2@db:6543/x?sslrootcert=/ca.pem").unwrap();
        for pair in [
            ("PGHOST", "db"),
            ("PGPORT", "6543"),
            ("PGUSER", "u"),
            ("PGPASSWORD", "hunter2"),
            ("PGDATABASE", "x"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/ca.pem"),
        ] {
            assert!(told.contains(&(pair.0, pair.1.to_owned())), "{pair:?} in {told:?}");
        }
        let here = environment("postgres://u@/x?host=/run/postgresql").unwrap();
        assert!(here.contains(&("PGHOST", "/run/postgresql".to_owned())), "{here:?}");
        assert!(here.iter().all(|(name, _)| *name != "PGPORT" && *name != "PGPASSWORD"), "{here:?}");
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
