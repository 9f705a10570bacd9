//! The internal listener: any cut of pipelined requests gets the same answers, and each answer is a whole response.

use std::sync::Arc;

use relay_server::access::Secret;
use relay_server::internal::{Exchange, Inbound, NodeState, REQUESTS_PER_CONNECTION_MAX, accepted, respond};
use relay_server::transport::http::HEAD_BYTES_MAX;

use crate::random::{cuts, digest};
use crate::trace;

pub const WORDS: &[&[u8]] = &[
    b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n",
    b"GET /ready HTTP/1.1\r\n",
    b"/hdr",
    b"HEAD /hdr HTTP/1.1\r\n",
    b"Host: a\r\n",
    b"Connection: close\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n\r\nhello",
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\r\n\r\n",
    b"POST ",
    b"http://a/ready",
    b"?x=1",
    b"HTTP/1.0",
    b"\n",
    b"\0",
    b"DELETE /health HTTP/1.1\r\n",
    b"//health",
    b"/..",
    b"POST /control/drain HTTP/1.1\r\n",
    b"POST /control/disconnect?user=01920000-0000-7000-8000-00000000000a HTTP/1.1\r\n",
    b"Authorization: Bearer 7d1f6c0be2a94835b6c0f1d2e3a49586\r\n",
];

const SECRET: &str = "7d1f6c0be2a94835b6c0f1d2e3a49586";

pub fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let metrics_enabled = choice & 1 == 0;
    let mut answers = cuts(bytes).into_iter().map(|pieces| talk(metrics_enabled, &pieces));
    let whole = answers.next().expect("one cut is no cut");
    for other in answers {
        assert_eq!(other, whole, "any cut gets the same answers");
    }
    assert!(whole.len() <= bytes.len() / 16 + 1, "an answer needs a request");
    assert!(whole.len() <= REQUESTS_PER_CONNECTION_MAX as usize, "no connection lives forever");
    let state = NodeState { version: "0", obstacles: vec!["draining".into()], ..NodeState::default() };
    for inbound in &whole {
        match inbound {
            Inbound::NeedMore => unreachable!("not collected"),
            Inbound::Refused { response, keeps_open } => {
                check(response, *keeps_open);
                trace::note("refused", digest(response) & 0xffff);
            }
            Inbound::Order { keeps_open, .. } => {
                check(&accepted(*keeps_open), *keeps_open);
                trace::note("order", u64::from(*keeps_open));
            }
            Inbound::Request(request) => {
                assert!(metrics_enabled || !request.route.needs_snapshots(), "what is off is not found");
                trace::note("route", request.route as u64 * 2 + u64::from(request.keeps_open));
                check(&respond(*request, &state), request.keeps_open);
            }
        }
    }
}

fn talk(metrics_enabled: bool, pieces: &[&[u8]]) -> Vec<Inbound> {
    let secret = Secret::new(SECRET).expect("it is long and mixed");
    let mut exchange = Exchange::new(metrics_enabled).controlled(Some(Arc::new(secret)));
    let (mut answers, mut waiting) = (Vec::new(), 0);
    for piece in pieces {
        waiting += piece.len();
        let mut inbound = exchange.push(piece);
        while inbound != Inbound::NeedMore {
            let keeps_open = match &inbound {
                Inbound::Request(request) => request.keeps_open,
                Inbound::Refused { keeps_open, .. } | Inbound::Order { keeps_open, .. } => *keeps_open,
                Inbound::NeedMore => unreachable!("checked above"),
            };
            answers.push(inbound);
            waiting = 0;
            if !keeps_open {
                return answers;
            }
            inbound = exchange.push(&[]);
        }
        assert!(waiting <= HEAD_BYTES_MAX, "no head is waited for beyond its bound");
    }
    answers
}

fn check(response: &[u8], keeps_open: bool) {
    let text = core::str::from_utf8(response).expect("a response is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a response has a head");
    assert!(head.starts_with("HTTP/1.1 "));
    assert_eq!(
        head.contains("\r\nConnection: close"),
        !keeps_open,
        "the response says whether it is the last"
    );
    let announced = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let announced: usize = announced.and_then(|n| n.parse().ok()).expect("a response has a length");
    assert!(body.is_empty() || body.len() == announced, "the body has the length it says");
}
