//! Whose address a request counts against: the socket's, or what trusted proxies say about it.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

/// A block of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// From `ADDRESS/BITS` or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let base: IpAddr = address.trim().parse().ok()?;
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(widest);
        (bits <= widest).then_some(Self { base, bits })
    }

    /// Whether `address` lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                base.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(base), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                base.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// The client's address: the rightmost entry of `X-Forwarded-For` that no trusted proxy stands behind, believed only
/// when the connection itself comes from a trusted proxy. What a client writes into the header itself stands further
/// left and is never reached.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut believed = peer;
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or("")).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Ok(address) = entry.trim().parse::<IpAddr>() else { return believed };
        believed = address.to_canonical();
        if !is_trusted(believed) {
            break;
        }
    }
    believed
}

/// The part of an address that one client holds: all of an IPv4 address, the /64 of an IPv6 one.
pub fn limit_subject(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append("x-forwarded-for", line.parse().unwrap());
        }
        map
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_contain_their_addresses() {
        let ten = Network::parse("10.0.0.0/8").unwrap();
        assert!(ten.contains(ip("10.200.3.4")) && !ten.contains(ip("11.0.0.1")));
        assert!(ten.contains(ip("::ffff:10.1.1.1")), "mapped addresses are IPv4");
        assert!(Network::parse("0.0.0.0/0").unwrap().contains(ip("8.8.8.8")));
        assert!(Network::parse("2001:db8::/32").unwrap().contains(ip("2001:db8:1::1")));
        assert!(Network::parse("127.0.0.1").unwrap().contains(ip("127.0.0.1")));
        for bad in ["10.0.0.0/33", "ten", "10.0.0.0/-1", ""] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_up_to_the_first_stranger() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        let forged = headers(&["1.1.1.1, 203.0.113.9, 10.0.0.2"]);
        assert_eq!(client_address(ip("198.51.100.1"), &forged, &trusted), ip("198.51.100.1"));
        assert_eq!(client_address(ip("10.0.0.1"), &forged, &trusted), ip("203.0.113.9"));
        let two_lines = headers(&["1.1.1.1", "203.0.113.9"]);
        assert_eq!(client_address(ip("10.0.0.1"), &two_lines, &trusted), ip("203.0.113.9"));
        assert_eq!(client_address(ip("10.0.0.1"), &headers(&["garbage"]), &trusted), ip("10.0.0.1"));
        assert_eq!(client_address(ip("10.0.0.1"), &headers(&[]), &trusted), ip("10.0.0.1"));
    }

    #[test]
    fn an_ipv6_client_counts_as_its_network() {
        assert_eq!(limit_subject(ip("2001:db8::1:2:3")), limit_subject(ip("2001:db8::ffff")));
        assert_ne!(limit_subject(ip("192.0.2.1")), limit_subject(ip("192.0.2.2")));
    }
}
