//! The HTTP upgrade: any cut of the bytes gets the same verdict, and every verdict is a whole response.

use relay_server::transport::http::HEAD_BYTES_MAX;
use relay_server::transport::websocket::upgrade::{Upgrade, UpgradeRules, Upgrader};

use crate::random::cuts;
use crate::trace;

pub const WORDS: &[&[u8]] = &[
    b"GET /ws HTTP/1.1\r\n",
    b"Host: a\r\n",
    b"Upgrade: websocket\r\n",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"\r\n\r\n",
    b"\r\n",
    b"\n",
    b"Sec-WebSocket-Protocol: relay.v1.json\r\n",
    b"Sec-WebSocket-Protocol: ",
    b"relay.v1.proto, ",
    b"Origin: https://app.example\r\n",
    b"Authorization: Bearer e30.e30.c2ln\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"http://a/ws",
    b"?token=x",
    b"%2e%2e",
    b"\t",
    b"\0",
    b"HEAD ",
    b"POST ",
    b"\x16\x03\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"a: b\r\n",
    b" folded\r\n",
];

/// What a verdict says, comparable.
#[derive(Debug, PartialEq)]
enum Verdict {
    NeedMore,
    Rejected(u16, Vec<u8>),
    Accepted { response: Vec<u8>, subprotocol: &'static str, bearer: Option<String>, leftover: Vec<u8> },
}

pub fn run(data: &[u8]) {
    let open = UpgradeRules { path: "/ws".into(), origins: Vec::new() };
    let listed = UpgradeRules { origins: vec!["https://app.example".into()], ..open.clone() };
    let free = judge(data, &open);
    let strict = judge(data, &listed);
    let both_accept = matches!((&free, &strict), (_, Verdict::Rejected(..) | Verdict::NeedMore))
        || matches!((&free, &strict), (Verdict::Accepted { .. }, Verdict::Accepted { .. }));
    assert!(both_accept, "a list of origins only ever refuses more");
}

fn judge(data: &[u8], rules: &UpgradeRules) -> Verdict {
    let mut verdicts = cuts(data).into_iter().map(|pieces| push(&pieces, rules));
    let whole = verdicts.next().expect("one cut is no cut");
    for verdict in verdicts {
        assert_eq!(verdict, whole, "any cut gets the same verdict");
    }
    check(&whole, data);
    whole
}

fn push(pieces: &[&[u8]], rules: &UpgradeRules) -> Verdict {
    let mut upgrader = Upgrader::default();
    for (at, piece) in pieces.iter().enumerate() {
        match upgrader.push(piece, rules) {
            Upgrade::NeedMore => {}
            Upgrade::Reject(reject) => return Verdict::Rejected(reject.status.code, reject.response),
            Upgrade::Accept(accept) => {
                let unread = pieces[at + 1..].concat();
                return Verdict::Accepted {
                    response: accept.response,
                    subprotocol: accept.subprotocol.name(),
                    bearer: accept.bearer,
                    leftover: [accept.leftover, unread].concat(),
                };
            }
        }
    }
    Verdict::NeedMore
}

fn check(verdict: &Verdict, data: &[u8]) {
    match verdict {
        Verdict::NeedMore => {
            assert!(data.len() <= HEAD_BYTES_MAX, "no head is waited for beyond its bound");
            trace::note("need more", 0);
        }
        Verdict::Rejected(status, response) => {
            trace::note("rejected", u64::from(*status));
            assert!(response.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
            check_response(response);
            let digest = crate::random::digest(response);
            trace::note("response", digest & 0xffff);
        }
        Verdict::Accepted { response, subprotocol, bearer, leftover } => {
            trace::note("accepted", subprotocol.len() as u64 * 2 + u64::from(bearer.is_some()));
            trace::note_size("leftover", leftover.len());
            assert!(response.starts_with(b"HTTP/1.1 101 "));
            check_response(response);
            assert!(data.ends_with(leftover), "what follows the head is handed on as it is");
        }
    }
}

fn check_response(response: &[u8]) {
    assert!(response.len() <= 1_024, "a response is short");
    let ends = response.windows(4).filter(|w| w == b"\r\n\r\n").count();
    assert_eq!(ends, 1, "a response has one head");
    assert!(response.iter().all(|b| b.is_ascii() && *b != 0), "a response is plain text");
}
