//! Whose address a request counts against: the socket's, or what trusted proxies say about it.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;
use schema_wire::Network;

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
