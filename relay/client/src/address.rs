//! Reads a relay's address: `wss://host:port/path`, `quic://host:port` or `host:port`.

use std::fmt;
use std::str::FromStr;

/// Port when the address names none.
const PORT: u16 = 8443;

/// Where a relay listens: the same host and port for both transports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Name or IP address, without brackets; also what the certificate must name.
    pub host: String,
    /// TCP and UDP port.
    pub port: u16,
    /// Path of the WebSocket upgrade.
    pub path: String,
}

/// An address that is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a relay address; write wss://host:port/ws, quic://host:port or host:port")]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        let rest = match text.split_once("://") {
            Some(("wss" | "quic", rest)) => rest,
            Some(_) => return Err(bad()),
            None => text,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/ws"),
        };
        let (host, port) = split_port(authority).ok_or_else(bad)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(plain) || !path.chars().all(|c| c.is_ascii_graphic()) {
            return Err(bad());
        }
        let path = if path == "/" { "/ws" } else { path };
        Ok(Self { host: host.to_owned(), port, path: path.to_owned() })
    }
}

fn split_port(authority: &str) -> Option<(&str, u16)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, port.parse().ok()?)),
            None if after.is_empty() => Some((host, PORT)),
            None => None,
        };
    }
    match authority.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => None,
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((authority, PORT)),
    }
}

impl Address {
    /// Host and port as they stand in a URL and in the Host header.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_plain_addresses_are_read() {
        let read = |text: &str| text.parse::<Address>().map(|a| (a.authority(), a.path)).ok();
        let some = |authority: &str, path: &str| Some((authority.to_owned(), path.to_owned()));
        assert_eq!(read("wss://127.0.0.1:8443/ws"), some("127.0.0.1:8443", "/ws"));
        assert_eq!(read("wss://relay.example/chat/ws"), some("relay.example:8443", "/chat/ws"));
        assert_eq!(read("quic://relay.example:9"), some("relay.example:9", "/ws"));
        assert_eq!(read("[::1]:9000"), some("[::1]:9000", "/ws"));
        for bad in ["", ":1", "ws://h:1", "https://h", "h:99999", "a b:1", "::1:5", "h\r\n:1", "h:1/\r\nx"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
