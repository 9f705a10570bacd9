//! For which site keys are: known from configuration, never from what a request says.

use std::net::IpAddr;

/// The site that keys are bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelyingParty {
    /// A domain: a key answers for it and no other.
    pub id: String,
    /// As browsers write it.
    pub origin: String,
}

/// Why there can be no keys, and what to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoParty {
    #[error("security keys need TLS: set CONSOLE_URL to an address that begins with https://")]
    Plain,
    #[error("security keys need a name instead of a number: set CONSOLE_URL to https:// and a host name")]
    Number,
}

impl RelyingParty {
    /// Of the address under which browsers reach the pages.
    ///
    /// # Errors
    /// No browser would use a key there (§5.1.3 steps 8 and 9, and secure contexts).
    pub fn of(url: &str) -> Result<Self, NoParty> {
        let url = url.to_ascii_lowercase();
        let (scheme, rest) = url.split_once("://").ok_or(NoParty::Plain)?;
        let authority = rest.split('/').next().unwrap_or("");
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
            _ => (authority, None),
        };
        if scheme != "https" && host != "localhost" {
            return Err(NoParty::Plain);
        }
        let is_number = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        if is_number || host.is_empty() || host.contains('@') {
            return Err(NoParty::Number);
        }
        let usual = if scheme == "https" { "443" } else { "80" };
        let port = port.filter(|port| *port != usual).map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self { id: host.to_owned(), origin: format!("{scheme}://{host}{port}") })
    }

    /// Where browsers on this machine reach the pages when nobody said otherwise.
    pub fn local(port: u16) -> Self {
        Self { id: "localhost".to_owned(), origin: format!("http://localhost:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_tls_and_a_name() {
        let of = |url| RelyingParty::of(url).map(|party| format!("{} {}", party.id, party.origin));
        for (url, expected) in [
            ("https://Console.Example.org", "console.example.org https://console.example.org"),
            ("https://console.example.org:443/desk", "console.example.org https://console.example.org"),
            ("https://console.example.org:8443", "console.example.org https://console.example.org:8443"),
            ("http://localhost:3010", "localhost http://localhost:3010"),
            ("http://localhost:80", "localhost http://localhost"),
        ] {
            assert_eq!(of(url).as_deref(), Ok(expected), "{url}");
        }
        assert_eq!(RelyingParty::of("http://localhost:9"), Ok(RelyingParty::local(9)));
        assert_eq!(of("http://console.example.org"), Err(NoParty::Plain));
        assert_eq!(of("http://127.0.0.1:3010"), Err(NoParty::Plain));
        for number in
            ["https://192.0.2.7", "https://192.0.2.7:8443", "https://[2001:db8::1]:8443", "https://"]
        {
            assert_eq!(of(number), Err(NoParty::Number), "{number}");
        }
        assert!(NoParty::Plain.to_string().contains("CONSOLE_URL"));
    }
}
