//! Frames in both encodings: what decodes also encodes, to a frame that is equal, and JSON says what protobuf says. Frames
//! between nodes: what decodes encodes to bytes that decode to the same.

use buffa::Message as _;
use schema_wire::frame::Lane;
use schema_wire::v1::{ClientFrame, ServerFrame};
use schema_wire::{Encoding, Frame, UserId, bus, codec};

use crate::trace;

pub const WORDS: &[&[u8]] = &[
    b"\"request\":\"1\"",
    b"\"hello\":{",
    b"\"versions\":[1]",
    b"\"publish\":",
    b"\"body\":\"AAAA\"",
    b"null",
    b"{}",
    b"\"conversation\":\"wcHBwcHBwcHBwcHBwcHBwQ==\"",
    b"\"notify\":\"NOTIFY_SILENT\"",
    b"\"kind\":4294967295",
    b"\"kind\":-1",
    b"1e3",
    b"\"18446744073709551615\"",
    b"\\ud800",
    b"\\u0000",
    b"[[[[[[[[",
    b"\"subscribe\":{}",
    b"\"signal\":{}",
    b"\x72\x00",
    b"\x12\x00",
    b"\x1a\x00",
    b"\x22\x00",
    b"\x0b\x0c",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x00",
    b"\xf8\x7f\x01",
    b"\xfa\x7f\x02\x08\x01",
    b"\x08\x00",
    b"\x52\x04\x1a\x02\x0a\x00",
    b"RB\x01\x01",
    b"RB\x01\x04",
];

/// How much longer JSON may be than the protobuf it says the same as: field names for empty fields.
const JSON_FACTOR: usize = 64;

pub fn run(data: &[u8]) {
    for encoding in [Encoding::Proto, Encoding::Json] {
        let label = if encoding == Encoding::Proto { "proto" } else { "json" };
        let client = codec::decode_client(data, encoding);
        let server = codec::decode_server(data, encoding);
        trace::note(label, u64::from(client.is_ok()) << 1 | u64::from(server.is_ok()));
        if let Ok(frame) = client {
            assert!(data.len() <= codec::FRAME_BYTES_MAX, "a frame over the limit is refused");
            assert!(frame.body.is_some(), "a client frame has a body");
            check_client(&frame);
        }
        if let Ok(frame) = server {
            check_server(&frame);
        }
    }
    match bus::decode(data) {
        Ok((life, frame)) => {
            trace::note("bus", 16);
            let bytes = bus::encode(life, &frame);
            let again = bus::decode(&bytes).expect("what was let in decodes again");
            assert_eq!(bus::encode(again.0, &again.1), bytes, "and says the same");
        }
        Err(reason) => trace::note("bus", reason as u64),
    }
    if let Some(id) = core::str::from_utf8(data).ok().and_then(UserId::parse) {
        assert_eq!(UserId::parse(&id.to_string()), Some(id), "the text form of an id goes both ways");
        trace::note("id", 0);
    }
}

fn check_client(frame: &ClientFrame) {
    let binary = codec::encode_client(frame, Encoding::Proto);
    note_tags(&binary, 3);
    let json = codec::encode_client(frame, Encoding::Json);
    assert!(json.len() <= JSON_FACTOR * (binary.len() + 1), "JSON grows within bounds");
    if binary.len() <= codec::FRAME_BYTES_MAX {
        let again = codec::decode_client(&binary, Encoding::Proto);
        assert_eq!(again.as_ref(), Ok(frame), "protobuf goes both ways");
    }
    if json.len() > codec::FRAME_BYTES_MAX {
        return;
    }
    let told = codec::decode_client(&json, Encoding::Json);
    let told = told.unwrap_or_else(|_| panic!("JSON decodes: {}", String::from_utf8_lossy(&json)));
    check_same(frame == &told, &binary, &codec::encode_client(&told, Encoding::Proto));
    assert_eq!(codec::encode_client(&told, Encoding::Json), json, "JSON is stable");
}

fn check_server(frame: &ServerFrame) {
    let binary = frame.encode_to_vec();
    note_tags(&binary, 4);
    let again = codec::decode_server(&binary, Encoding::Proto);
    assert_eq!(again.as_ref(), Ok(frame), "protobuf goes both ways");
    let shared = Frame::new(frame, Lane::Control);
    assert_eq!(shared.body(), binary, "the shared frame holds the same bytes");
    assert!(shared.quic().ends_with(&binary) && shared.quic().len() <= binary.len() + 8);
    let json = payload(shared.websocket(Encoding::Json));
    assert!(json.len() <= JSON_FACTOR * (binary.len() + 1), "JSON grows within bounds");
    let told = codec::decode_server(json, Encoding::Json);
    let told = told.unwrap_or_else(|_| panic!("JSON decodes: {}", String::from_utf8_lossy(json)));
    check_same(frame == &told, &binary, &told.encode_to_vec());
}

/// JSON has no place for unknown fields: without them both say the same, with them JSON is what is left.
fn check_same(equal: bool, binary: &[u8], told: &[u8]) {
    assert!(equal || told.len() < binary.len(), "JSON and protobuf say the same");
    trace::note("unknown fields", u64::from(!equal));
}

/// The payload of an unmasked WebSocket frame.
fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[header..]
}

/// Which fields the frame has, down to a depth: its shape is what is new about it.
fn note_tags(mut bytes: &[u8], depth: u32) {
    while let Some((tag, rest)) = varint(bytes) {
        trace::note("tag", tag << 3 | u64::from(depth));
        let Some(length) = (match tag & 7 {
            0 => varint(rest).map(|(value, after)| {
                trace::note("value bits", u64::from(64 - value.leading_zeros()) / 8);
                rest.len() - after.len()
            }),
            1 => Some(8),
            5 => Some(4),
            2 => varint(rest).and_then(|(length, after)| {
                let inner = after.get(..usize::try_from(length).ok()?)?;
                if depth > 1 {
                    note_tags(inner, depth - 1);
                }
                Some(rest.len() - after.len() + inner.len())
            }),
            _ => None,
        }) else {
            return;
        };
        let Some(next) = rest.get(length..) else { return };
        bytes = next;
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}
