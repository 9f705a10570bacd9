//! Every route and every wrong request, one connection after another and pipelined.

use super::*;
use crate::metrics::ShardMetrics;
use schema_wire::{ShardId, Step};

fn state() -> NodeState {
    let mut metrics = ShardMetrics::default();
    metrics.step(Step::Ack, 12);
    NodeState { version: "0.1.0", snapshots: vec![metrics.snapshot(ShardId(0))], ..NodeState::default() }
}

fn push(request: &str) -> Inbound {
    Exchange::new(true).push(request.as_bytes())
}

fn get(path: &str, state: &NodeState) -> (u16, String) {
    let Inbound::Request(request) = push(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")) else {
        panic!("{path} is served");
    };
    assert!(request.keeps_open);
    read(&respond(request, state))
}

/// The status and the body, after checking the length.
fn read(response: &[u8]) -> (u16, String) {
    let text = String::from_utf8(response.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (head[9..12].parse().unwrap(), body.into())
}

fn refused(request: &str) -> (u16, bool) {
    match push(request) {
        Inbound::Refused { response, keeps_open } => {
            let text = String::from_utf8(response).unwrap();
            assert_eq!(text.contains("\r\nConnection: close\r\n"), !keeps_open, "{text}");
            (text[9..12].parse().unwrap(), keeps_open)
        }
        other => panic!("{request:?} is answered with {other:?}"),
    }
}

#[test]
fn health_and_readiness_differ() {
    let mut state = state();
    assert_eq!(get("/health", &state).0, 200);
    let (status, body) = get("/ready", &state);
    assert_eq!((status, body.contains(r#""status":"ready""#)), (200, true));
    state.obstacles.push("draining".into());
    assert_eq!(get("/health", &state).0, 200);
    let (status, body) = get("/ready", &state);
    assert_eq!((status, body.contains(r#""reasons":["draining"]"#)), (503, true));
    state.faults.push("shard 1 does not answer".into());
    let (status, body) = get("/health", &state);
    assert_eq!((status, body.contains("failing")), (503, true));
}

#[test]
fn numbers_come_from_the_snapshots() {
    let state = state();
    let (status, body) = get("/metrics?x=1", &state);
    assert_eq!((status, body.contains("\nmessages_sent_total 0\n")), (200, true));
    let (status, body) = get("/hdr", &state);
    assert_eq!((status, body.lines().count()), (200, Step::ALL.len() + 1));
}

#[test]
fn head_answers_without_a_body() {
    let Inbound::Request(request) = push("HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    else {
        panic!("HEAD is served");
    };
    assert!(!request.keeps_open);
    let response = String::from_utf8(respond(request, &state())).unwrap();
    assert!(response.ends_with("Connection: close\r\n\r\n") && !response.contains("Content-Length: 0"));
}

#[test]
fn wrong_requests_and_their_status() {
    for (request, status, keeps_open) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404, true),
        ("POST /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404, true),
        ("GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404, false),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405, true),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 400, false),
        ("GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400, false),
        ("GET /metrics HTTP/1.1\r\n\r\n", 400, false),
        ("GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n", 505, false),
        ("\u{16}", 400, false),
    ] {
        assert_eq!(refused(request), (status, keeps_open), "{request:?}");
    }
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let mut exchange = Exchange::new(true);
    let two = "GET /ready HTTP/1.1\r\nHost: a\r\n\r\nGET /hdr HTTP/1.1\r\nHost: a\r\n\r\nGET /he";
    let route = |inbound| match inbound {
        Inbound::Request(request) => Some(request.route),
        _ => None,
    };
    assert_eq!(route(exchange.push(two.as_bytes())), Some(Route::Ready));
    assert_eq!(route(exchange.push(b"")), Some(Route::Hdr));
    assert_eq!(exchange.push(b""), Inbound::NeedMore);
    assert_eq!(route(exchange.push(b"alth HTTP/1.1\r\nHost: a\r\n\r\n")), Some(Route::Health));
}

#[test]
fn no_connection_lives_forever() {
    let mut exchange = Exchange::new(true);
    let kept = (1..=REQUESTS_PER_CONNECTION_MAX).map(|_| {
        match exchange.push(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n") {
            Inbound::Request(request) => request.keeps_open,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(kept.filter(|kept| *kept).count(), REQUESTS_PER_CONNECTION_MAX as usize - 1);
}

#[test]
fn metrics_can_be_switched_off() {
    for (path, is_served) in [("/metrics", false), ("/hdr", false), ("/health", true), ("/ready", true)] {
        let answer = Exchange::new(false).push(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(matches!(answer, Inbound::Request(_)), is_served, "{path}");
    }
}
