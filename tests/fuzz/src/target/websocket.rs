//! The WebSocket decoder: any cut of the bytes gives the same events, memory follows what came, an end is the end.

use relay_server::transport::websocket::codec::{
    CONTROL_PAYLOAD_BYTES_MAX, DataKind, Decoder, Event, Violation, close_reply, pong,
};

use crate::random::cuts;
use crate::trace;

pub const WORDS: &[&[u8]] = &[
    b"\x81\x80\0\0\0\0",
    b"\x82\x80\0\0\0\0",
    b"\x01\x80\0\0\0\0",
    b"\x02\x81\0\0\0\0a",
    b"\x80\x80\0\0\0\0",
    b"\x00\x82\x01\x02\x03\x04ab",
    b"\x88\x80\0\0\0\0",
    b"\x88\x82\0\0\0\0\x03\xe8",
    b"\x88\x82\0\0\0\0\x03\xed",
    b"\x89\x80\0\0\0\0",
    b"\x8a\x80\0\0\0\0",
    b"\x82\xfe\x00\x7e\0\0\0\0",
    b"\x82\xfe\x00\x7d\0\0\0\0",
    b"\x82\xff\0\0\0\0\0\x01\0\0\0\0\0\0",
    b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    b"\x81\x84\0\0\0\0\xf0\x9f\x98\x80",
    b"\x01\x82\0\0\0\0\xf0\x9f",
    b"\x80\x82\0\0\0\0\x98\x80",
    b"\xed\xa0\x80",
    b"\x89\xfe\x00\x7e\0\0\0\0",
    b"\x09\x80\0\0\0\0",
    b"\xc1\x80\0\0\0\0",
    b"\x83\x80\0\0\0\0",
    b"\x81\x05hello",
];

/// Limits of the connections tried.
const LIMITS: [usize; 4] = [16, 130, 1_000, 70_000];

type Decoded = (Vec<Event>, Option<Violation>);

pub fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let kind = if choice & 1 == 0 { DataKind::Binary } else { DataKind::Text };
    let limit = LIMITS[usize::from(choice >> 1) % LIMITS.len()];
    let mut decoded = cuts(bytes).into_iter().map(|pieces| decode(kind, limit, &pieces));
    let whole = decoded.next().expect("one cut is no cut");
    for other in decoded {
        assert_eq!(other, whole, "any cut gives the same events");
    }
    check(&whole, kind, limit, bytes.len());
}

fn decode(kind: DataKind, limit: usize, pieces: &[&[u8]]) -> Decoded {
    let mut decoder = Decoder::new(kind, limit);
    let (mut events, mut fed) = (Vec::new(), 0);
    for piece in pieces {
        fed += piece.len();
        let mut rest = *piece;
        loop {
            let outcome = decoder.decode(&mut rest);
            let retained = decoder.retained_bytes();
            assert!(
                retained <= limit + CONTROL_PAYLOAD_BYTES_MAX,
                "memory stays within the limit: {retained}"
            );
            assert!(retained <= 2 * fed + 16, "memory follows what came: {retained} for {fed}");
            match outcome {
                Ok(None) => {
                    assert!(rest.is_empty(), "all of a piece is used up");
                    break;
                }
                Ok(Some(event)) => {
                    let is_close = matches!(event, Event::Close(_));
                    events.push(event);
                    if is_close {
                        check_ended(&mut decoder);
                        return (events, None);
                    }
                }
                Err(violation) => {
                    check_ended(&mut decoder);
                    return (events, Some(violation));
                }
            }
        }
    }
    (events, None)
}

fn check_ended(decoder: &mut Decoder) {
    assert_eq!(decoder.retained_bytes(), 0, "an ended decoder holds nothing");
    assert!(!decoder.is_mid_message());
    let mut more: &[u8] = b"\x82\x81\0\0\0\0a\x89\x80\0\0\0\0";
    assert_eq!(decoder.decode(&mut more), Ok(None), "nothing follows the end");
}

fn check((events, violation): &Decoded, kind: DataKind, limit: usize, fed: usize) {
    let mut payload_bytes = 0;
    for event in events {
        match event {
            Event::Message { text, payload } => {
                assert_eq!(*text, kind == DataKind::Text);
                assert!(payload.len() <= limit, "no message over the limit");
                assert!(!text || core::str::from_utf8(payload).is_ok(), "text is UTF-8");
                payload_bytes += payload.len();
                trace::note_size("message", payload.len());
            }
            Event::Ping(payload) | Event::Pong(payload) => {
                assert!(pong(payload).as_bytes().ends_with(payload));
                payload_bytes += payload.len();
                trace::note_size("control", payload.len());
            }
            Event::Close(close) => {
                let reply = close_reply(close);
                assert!(reply.as_bytes().len() <= 4 && reply.as_bytes()[0] == 0x88);
                trace::note("close", close.code.map_or(0, |code| u64::from(code.0)));
            }
        }
    }
    assert!(payload_bytes <= fed, "nothing comes from nothing");
    if let Some(violation) = violation {
        assert!(violation.close_code().is_sendable());
        trace::note("violation", *violation as u64);
    }
}
