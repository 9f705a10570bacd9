//! Banned addresses: closed at accept, and refused when a proxy speaks for them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use schema_store::Accounts;
use schema_store::rows::account::Origin;
use schema_wire::Network;

use crate::support::Api;

/// Longer than the pause between two looks, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn set(api: &Api, network: &str, banned: bool) {
    let network = Network::parse(network).unwrap();
    api.run(api.store.set_address_ban(network, banned, "test".into(), Origin::system())).unwrap();
}

fn until(sentence: &str, check: impl Fn() -> bool) {
    let began = Instant::now();
    while !check() {
        assert!(began.elapsed() < SOON, "{sentence}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn whoever_a_proxy_speaks_for_is_refused() {
    let api = Api::with(&[("TRUSTED_PROXIES", "127.0.0.1")]);
    let ask = |from: &str| api.send("GET", "/api/v1/me", None, None, &[("x-forwarded-for", from)]);
    set(&api, "203.0.113.0/24", true);
    until("the ban was not noticed", || ask("203.0.113.9").status == 403);
    ask("203.0.113.9").refused(403, "ADDRESS_BANNED");
    ask("203.0.114.9").refused(401, "TOKEN_MISSING");
    set(&api, "203.0.113.0/24", false);
    until("nobody noticed that it was lifted", || ask("203.0.113.9").status == 401);
}

#[test]
fn whoever_comes_from_there_is_closed_at_accept() {
    let api = Api::start();
    let is_answered = || {
        let mut stream = TcpStream::connect(api.address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        !answer.is_empty()
    };
    assert!(is_answered());
    set(&api, "127.0.0.0/8", true);
    until("the ban was not noticed", || !is_answered());
    set(&api, "127.0.0.0/8", false);
    until("nobody noticed that it was lifted", is_answered);
}
