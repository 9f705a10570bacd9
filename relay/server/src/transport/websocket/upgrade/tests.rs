//! Every wrong upgrade and its status, whole and byte by byte.

use super::*;
use crate::transport::http::{HEAD_BYTES_MAX, REQUEST_LINE_BYTES_MAX};
use crate::transport::seeded::Random;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

fn rules() -> UpgradeRules {
    UpgradeRules { path: "/ws".into(), origins: vec!["https://app.example".into()] }
}

fn push_all(bytes: &[u8]) -> Upgrade {
    Upgrader::default().push(bytes, &rules())
}

/// Pushes one byte at a time until there is an answer.
fn push_bytewise(bytes: &[u8]) -> Upgrade {
    let mut upgrader = Upgrader::default();
    let mut answer = Upgrade::NeedMore;
    for byte in bytes {
        answer = upgrader.push(&[*byte], &rules());
        if !matches!(answer, Upgrade::NeedMore) {
            break;
        }
    }
    answer
}

/// A good request with lines replaced (by field name) or added.
fn request(first: &str, changes: &[&str]) -> Vec<u8> {
    let mut lines = vec![
        "Host: relay.example:8443",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        KEY,
    ];
    for change in changes {
        let name = change.trim_start_matches(['-', '+']).split(':').next().expect("a name");
        if !change.starts_with('+') {
            lines.retain(|line| !line.starts_with(&format!("{name}:")));
        }
        if !change.starts_with('-') {
            lines.push(change.trim_start_matches('+'));
        }
    }
    format!("{first}\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

fn accepted(bytes: &[u8]) -> Accept {
    assert!(matches!(push_bytewise(bytes), Upgrade::Accept(_)));
    match push_all(bytes) {
        Upgrade::Accept(accept) => accept,
        other => panic!("{other:?}"),
    }
}

fn rejected(bytes: &[u8]) -> (u16, String) {
    let (Upgrade::Reject(whole), Upgrade::Reject(bytewise)) = (push_all(bytes), push_bytewise(bytes)) else {
        panic!("not rejected: {}", String::from_utf8_lossy(bytes));
    };
    assert_eq!(whole.response, bytewise.response);
    let text = String::from_utf8(whole.response).unwrap();
    assert!(text.starts_with(&format!("HTTP/1.1 {} ", whole.status.code)), "{text}");
    assert!(text.contains("close\r\n"), "{text}");
    (whole.status.code, text)
}

const GET: &str = "GET /ws HTTP/1.1";

#[test]
fn the_example_of_rfc_6455_section_1_3() {
    let accept = accepted(&request(GET, &[]));
    let response = String::from_utf8(accept.response).unwrap();
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert!(response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
    assert!(!response.contains("Sec-WebSocket-Protocol") && !response.contains("Extensions"), "{response}");
    assert!(response.ends_with("\r\n\r\n"));
    assert_eq!(accept.subprotocol, Subprotocol::Proto);
    assert_eq!(accept.bearer, None);
}

#[test]
fn subprotocols_are_chosen_in_the_clients_order() {
    for (offer, chosen) in [
        ("relay.v1.json", Subprotocol::Json),
        ("relay.v9, relay.v1.proto ,relay.v1.json", Subprotocol::Proto),
        ("relay.v1.json,relay.v1.proto", Subprotocol::Json),
    ] {
        let accept = accepted(&request(GET, &[&format!("Sec-WebSocket-Protocol: {offer}")]));
        assert_eq!(accept.subprotocol, chosen);
        let line = format!("\r\nSec-WebSocket-Protocol: {}\r\n", chosen.name());
        assert!(String::from_utf8(accept.response).unwrap().contains(&line));
    }
    let (status, text) = rejected(&request(GET, &["Sec-WebSocket-Protocol: mqtt, graphql-ws"]));
    assert_eq!(status, 400);
    assert!(text.contains("relay.v1.proto, relay.v1.json") && !text.contains("mqtt"), "{text}");
}

#[test]
fn bearer_tokens_are_taken_and_bounded() {
    let accept = accepted(&request(GET, &["Authorization: bEaReR  aa.bb-_.cc"]));
    assert_eq!(accept.bearer.as_deref(), Some("aa.bb-_.cc"));
    assert_eq!(accepted(&request(GET, &["Authorization: Basic Zm9v"])).bearer, None);
    assert_eq!(accepted(&request(GET, &["Authorization: Bearer  "])).bearer, None);
    let long = format!("Authorization: Bearer {}", "x".repeat(BEARER_BYTES_MAX + 1));
    assert_eq!(rejected(&request(GET, &[&long])).0, 400);
    assert_eq!(rejected(&request(GET, &["Authorization: Bearer a b"])).0, 400);
    assert_eq!(rejected(&request(GET, &["Authorization: Bearer a", "+Authorization: Bearer b"])).0, 400);
}

#[test]
fn bytes_after_the_head_are_handed_on() {
    let mut bytes = request(GET, &[]);
    bytes.extend(b"\x82\x80\x00\x00\x00\x00\x00\n\n");
    match push_all(&bytes) {
        Upgrade::Accept(accept) => assert_eq!(accept.leftover, b"\x82\x80\x00\x00\x00\x00\x00\n\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn queries_and_absolute_targets_reach_the_same_path() {
    accepted(&request("GET /ws?x=/metrics HTTP/1.1", &[]));
    accepted(&request("GET https://relay.example:8443/ws HTTP/1.1", &[]));
}

#[test]
fn other_paths_answer_404_whatever_the_method() {
    let paths =
        ["/", "/health", "/metrics", "/ready", "/hdr", "/ws/", "/WS", "/ws%2f", "//ws", "*", "/x://y/ws"];
    for path in paths {
        for method in ["GET", "POST"] {
            let (status, text) = rejected(&request(&format!("{method} {path} HTTP/1.1"), &[]));
            assert_eq!(status, 404, "{method} {path}");
            assert!(!text.contains("metrics"));
        }
    }
}

#[test]
fn methods_other_than_get_answer_405_with_allow() {
    for method in ["POST", "PUT", "OPTIONS", "CONNECT", "get"] {
        let (status, text) = rejected(&request(&format!("{method} /ws HTTP/1.1"), &[]));
        assert_eq!(status, 405, "{method}");
        assert!(text.contains("\r\nAllow: GET\r\n"), "{text}");
    }
    let (status, text) = rejected(&request("HEAD /ws HTTP/1.1", &[]));
    assert!(status == 405 && text.ends_with("\r\n\r\n"), "a HEAD answer has no body");
}

#[test]
fn what_is_not_an_upgrade_answers_426() {
    for change in [
        "-Upgrade",
        "Upgrade: h2c",
        "-Connection",
        "Connection: keep-alive",
        "-Sec-WebSocket-Version",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Version: 013",
    ] {
        let (status, text) = rejected(&request(GET, &[change]));
        assert_eq!(status, 426, "{change}");
        assert!(text.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{text}");
        assert!(text.contains("\r\nUpgrade: websocket\r\n"), "{text}");
    }
}

#[test]
fn malformed_requests_answer_400() {
    for change in [
        "-Host",
        "Host: ",
        "Host: a b",
        "+Host: other.example",
        "-Sec-WebSocket-Key",
        "Sec-WebSocket-Key: ",
        "Sec-WebSocket-Key: c2hvcnQ=",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSBpcyBsb25n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ?==",
        "+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "+Sec-WebSocket-Version: 13",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Bad Name: x",
        " folded: x",
        "nocolon",
    ] {
        assert_eq!(rejected(&request(GET, &[change])).0, 400, "{change}");
    }
    accepted(&request(GET, &["Content-Length: 0"]));
    for garbage in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"\0",
        b"GET /ws HTTP/1.1\n",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\n",
        b"\xff\xff",
    ] {
        assert_eq!(rejected(garbage).0, 400, "{garbage:x?}");
    }
}

#[test]
fn other_versions_answer_505() {
    for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9"] {
        assert_eq!(rejected(&request(&format!("GET /ws {version}"), &[])).0, 505, "{version}");
    }
    assert_eq!(rejected(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").0, 505);
}

#[test]
fn foreign_origins_answer_403() {
    accepted(&request(GET, &["Origin: https://app.example"]));
    for origin in ["https://evil.example", "null", "http://app.example", "https://app.example.evil"] {
        let (status, text) = rejected(&request(GET, &[&format!("Origin: {origin}")]));
        assert_eq!(status, 403, "{origin}");
        assert!(!text.contains("evil"), "{text}");
    }
    let both = ["Origin: https://app.example", "+Origin: https://evil.example"];
    assert_eq!(rejected(&request(GET, &both)).0, 403);
    let open = UpgradeRules { origins: vec![], ..rules() };
    let answer = Upgrader::default().push(&request(GET, &["Origin: https://evil.example"]), &open);
    assert!(matches!(answer, Upgrade::Accept(_)));
}

#[test]
fn oversized_heads_are_cut_at_the_limit() {
    let mut endless = Upgrader::default();
    assert!(matches!(endless.push(b"GET /ws HTTP/1.1\r\nX: ", &rules()), Upgrade::NeedMore));
    let answer = endless.push(&vec![b'x'; HEAD_BYTES_MAX], &rules());
    assert!(matches!(answer, Upgrade::Reject(Reject { status: Status::TOO_LARGE, .. })));
    let line = format!("GET /{} HTTP/1.1", "x".repeat(REQUEST_LINE_BYTES_MAX));
    assert_eq!(rejected(line.as_bytes()).0, 414);
    let many: Vec<String> = (0..100).map(|i| format!("X-{i}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(rejected(&request(GET, &many)).0, 431);
}

#[test]
fn the_deadline_answers_408() {
    assert_eq!(Upgrader::timed_out().status, Status::REQUEST_TIMEOUT);
}

#[test]
fn chunking_never_changes_the_answer_to_mutated_requests() {
    let mut statuses = std::collections::BTreeSet::new();
    for seed in 0..3_000 {
        let mut random = Random(seed);
        let mut bytes = request(GET, &["Origin: https://app.example", "Authorization: Bearer a.b.c"]);
        random.mutate(&mut bytes);
        let mut upgrader = Upgrader::default();
        let mut chunked = Upgrade::NeedMore;
        for chunk in random.cut_up(&bytes) {
            if matches!(chunked, Upgrade::NeedMore) {
                chunked = upgrader.push(chunk, &rules());
            }
        }
        match (push_all(&bytes), chunked) {
            (Upgrade::NeedMore, Upgrade::NeedMore) => {}
            (Upgrade::Accept(whole), Upgrade::Accept(chunked)) => {
                assert_eq!((whole.response, whole.bearer), (chunked.response, chunked.bearer), "seed {seed}");
            }
            (Upgrade::Reject(whole), Upgrade::Reject(chunked)) => {
                assert_eq!(whole.response, chunked.response, "seed {seed}");
                statuses.insert(whole.status.code);
            }
            (whole, chunked) => panic!("seed {seed}: {whole:?} {chunked:?}"),
        }
    }
    assert!([400, 403, 404, 405, 426, 505].iter().all(|status| statuses.contains(status)), "{statuses:?}");
}
