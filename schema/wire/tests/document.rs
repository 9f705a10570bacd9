//! wire.md says what the code does: every code, every limit it names, every example.

use schema_wire::{Disconnect, Refused, codec};

fn document() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/wire.md"))
        .expect("wire.md is beside the crate")
}

#[test]
fn every_refusal_is_documented() {
    let document = document();
    for refusal in Refused::ALL {
        let retry = if refusal.retriable() { "yes" } else { "no" };
        let row = document
            .lines()
            .find(|l| l.starts_with(&format!("| {} | `{}` |", refusal.code(), refusal.name())));
        let row = row.unwrap_or_else(|| panic!("{} has no row", refusal.name()));
        assert!(row.ends_with(&format!("| {retry} | {} |", refusal.advice())), "{row}");
    }
    let rows = document
        .lines()
        .filter(|l| l.starts_with("| ") && l.contains(" | `") && !l.starts_with("| 4"))
        .count();
    assert!(rows >= Refused::ALL.iter().filter(|r| r.code() < 400 || r.code() >= 500).count());
}

#[test]
fn every_disconnect_is_documented() {
    let document = document();
    for disconnect in Disconnect::ALL {
        let reconnect = if disconnect.reconnect() { "yes" } else { "no" };
        let row = document
            .lines()
            .find(|l| l.starts_with(&format!("| {} | `{}` |", disconnect.code(), disconnect.name())));
        let row = row.unwrap_or_else(|| panic!("{} has no row", disconnect.name()));
        assert!(row.ends_with(&format!("| {reconnect} | {} |", disconnect.advice())), "{row}");
    }
}

#[test]
fn examples_and_limits_are_those_of_the_code() {
    let document = document();
    for name in
        ["client_subscribe", "client_publish", "server_publish_ack", "server_delivery", "server_refusal"]
    {
        let golden =
            std::fs::read_to_string(format!("{}/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(document.contains(golden.lines().next().unwrap()), "{name} is shown as it is");
    }
    let (thousands, rest) = (codec::FRAME_BYTES_MAX / 1000, codec::FRAME_BYTES_MAX % 1000);
    assert!(document.contains(&format!("| client frame | {thousands},{rest:03} bytes |")));
}
