//! Lists of IP networks: decides which peers are proxies of ours and may speak for others.

use std::net::IpAddr;
use std::str::FromStr;

use schema_wire::Network;

/// Most networks of one list.
pub const NETWORKS_MAX: usize = 256;

/// A CIDR list such as `10.0.0.0/8, fd00::/8, 192.0.2.7`. Addresses mapped from IPv4 (`::ffff:a.b.c.d`)
/// count as IPv4, on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// Why a list is refused; each message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    /// Not an address.
    #[error("{0:?} is no network: write an address or a CIDR such as 10.0.0.0/8 or fd00::/8")]
    Address(String),
    /// The prefix is no number, or longer than the address.
    #[error("{0:?} has no valid prefix: 0 to 32 bits for IPv4, 0 to 128 for IPv6")]
    Prefix(String),
    /// Bits are set beyond the prefix, so that the writer may have meant another network.
    #[error("{0:?} has bits set beyond its prefix: write {1}")]
    HostBits(String, String),
    /// Over [`NETWORKS_MAX`].
    #[error("more than {NETWORKS_MAX} networks: merge neighbours into larger ones")]
    TooMany,
}

impl Networks {
    /// Whether the list names nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address belongs to one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromStr for Networks {
    type Err = NetworksError;

    /// Parses a list separated by commas; empty items are skipped.
    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let networks = items.map(parse).collect::<Result<Vec<_>, _>>()?;
        if networks.len() > NETWORKS_MAX {
            return Err(NetworksError::TooMany);
        }
        Ok(Self(networks))
    }
}

fn parse(item: &str) -> Result<Network, NetworksError> {
    let (address, prefix) = match item.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (item, None),
    };
    let written: IpAddr = address.parse().map_err(|_| NetworksError::Address(item.into()))?;
    let bits_max = if written.is_ipv4() { 32 } else { 128 };
    let wrong_prefix = || NetworksError::Prefix(item.into());
    let bits: u8 = prefix.map_or(Ok(bits_max), str::parse).map_err(|_| wrong_prefix())?;
    let network = Network::around(written, bits).ok_or_else(wrong_prefix)?;
    if network.first() != written.to_canonical() {
        return Err(NetworksError::HostBits(item.into(), network.to_string()));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, address: &str) -> bool {
        list.parse::<Networks>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_belong_to_their_networks_only() {
        let list = "10.0.0.0/8, 192.0.2.7,fd00::/8 ,, ::1";
        for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "fdff::1", "::1", "::ffff:10.1.2.3"] {
            assert!(contains(list, inside), "{inside}");
        }
        for outside in ["11.0.0.0", "9.255.255.255", "192.0.2.6", "fe00::", "::2", "::ffff:11.0.0.0"] {
            assert!(!contains(list, outside), "{outside}");
        }
    }

    #[test]
    fn the_widest_and_the_mapped_networks() {
        assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1") && !contains("::/0", "203.0.113.9"));
        assert!(contains("::ffff:10.0.0.0/104", "10.9.9.9") && !contains("::ffff:10.0.0.0/104", "11.0.0.1"));
        assert!("".parse::<Networks>().unwrap().is_empty());
        assert!(!contains("", "127.0.0.1"));
    }

    #[test]
    fn wrong_lists_say_what_to_write() {
        let error = |list: &str| list.parse::<Networks>().unwrap_err();
        assert_eq!(error("10.0.0.1/8"), NetworksError::HostBits("10.0.0.1/8".into(), "10.0.0.0/8".into()));
        for list in ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.0/256"] {
            assert!(matches!(error(list), NetworksError::Prefix(_)), "{list}");
        }
        for list in ["localhost", "10.0.0/8", "10.0.0.0 ::1", "/8"] {
            assert!(matches!(error(list), NetworksError::Address(_)), "{list}");
        }
        assert_eq!(error(&"::1,".repeat(NETWORKS_MAX + 1)), NetworksError::TooMany);
    }
}
