//! Blocks of addresses: what lies in them, and how they are written.
#![allow(clippy::unwrap_used)]

use schema_wire::{AddressSet, Network};

fn network(text: &str) -> Network {
    Network::parse(text).unwrap()
}

#[test]
fn addresses_lie_in_their_blocks_only() {
    for (block, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("2001:db8::/32", "2001:db8:1::1", "2001:db9::"),
        ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("::/0", "2001:db8::1", "203.0.113.9"),
        ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
    ] {
        let set: AddressSet = [network("198.51.100.1"), network(block)].into_iter().collect();
        assert!(network(block).contains(inside.parse().unwrap()), "{inside} in {block}");
        assert!(!network(block).contains(outside.parse().unwrap()), "{outside} in {block}");
        assert!(set.contains(inside.parse().unwrap()) && !set.contains(outside.parse().unwrap()), "{block}");
    }
    assert!(!AddressSet::default().contains("127.0.0.1".parse().unwrap()));
}

#[test]
fn a_block_is_written_as_it_is_read() {
    for (text, written) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1/128", "::1"),
    ] {
        assert_eq!(network(text).to_string(), written);
        assert_eq!(network(written), network(text));
    }
    for bad in
        ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.0/256"]
    {
        assert_eq!(Network::parse(bad), None, "{bad}");
    }
}
