//! The categories of the Autobahn suite as unit tests, then seeded chunking and mutation.

use super::*;
use crate::transport::seeded::Random;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMIT: usize = 100_000;

/// A masked client frame; `first` is the whole first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    let start = bytes.len();
    bytes.extend(payload);
    unmask(&mut bytes[start..], KEY, 0);
    bytes
}

fn decode_chunks<'a>(
    kind: DataKind,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, Option<Violation>) {
    let mut decoder = Decoder::new(kind, LIMIT);
    let mut events = Vec::new();
    for mut chunk in chunks {
        loop {
            let decoded = decoder.decode(&mut chunk);
            assert!(decoder.retained_bytes() <= LIMIT + CONTROL_PAYLOAD_BYTES_MAX, "bounded memory");
            match decoded {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(violation) => {
                    assert_eq!(decoder.retained_bytes(), 0, "a dead connection holds nothing");
                    assert_eq!(decoder.decode(&mut chunk), Ok(None), "and ignores what follows");
                    return (events, Some(violation));
                }
            }
        }
        assert!(chunk.is_empty());
    }
    (events, None)
}

fn decode(kind: DataKind, bytes: &[u8]) -> (Vec<Event>, Option<Violation>) {
    decode_chunks(kind, [bytes])
}

fn refused(kind: DataKind, bytes: &[u8]) -> Violation {
    let (events, violation) = decode(kind, bytes);
    assert_eq!(events, []);
    violation.expect("a violation")
}

fn text(payload: &str) -> Event {
    Event::Message { text: true, payload: payload.as_bytes().to_vec().into() }
}

fn binary(payload: &[u8]) -> Event {
    Event::Message { text: false, payload: payload.to_vec().into() }
}

#[test]
fn the_example_of_rfc_6455_section_5_7() {
    let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(DataKind::Text, &bytes), (vec![text("Hello")], None));
}

#[test]
fn lengths_at_every_encoding_boundary() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, LIMIT] {
        let payload = vec![0xfe; length];
        let events = vec![binary(&payload)];
        assert_eq!(decode(DataKind::Binary, &frame(0x82, &payload)), (events, None), "{length}");
    }
}

#[test]
fn pings_and_pongs_up_to_125_bytes_are_events() {
    let full = [7; 125];
    let bytes = [frame(0x89, b""), frame(0x89, &full), frame(0x8a, b"unasked")].concat();
    let events = vec![
        Event::Ping(bytes::Bytes::new()),
        Event::Ping(full.to_vec().into()),
        Event::Pong(b"unasked".to_vec().into()),
    ];
    assert_eq!(decode(DataKind::Binary, &bytes), (events, None));
}

#[test]
fn headers_are_refused_at_their_first_wrong_byte() {
    use Violation::*;
    for rsv in [0x40, 0x20, 0x10, 0x70] {
        assert_eq!(refused(DataKind::Binary, &[0x82 | rsv]), ReservedBit);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(refused(DataKind::Binary, &[0x80 | opcode]), ReservedOpcode);
    }
    for opcode in [0x8, 0x9, 0xa] {
        assert_eq!(refused(DataKind::Binary, &[opcode]), ControlFragmented);
        for length in [126, 127] {
            assert_eq!(refused(DataKind::Binary, &[0x80 | opcode, 0x80 | length]), ControlTooLong);
        }
    }
    assert_eq!(refused(DataKind::Binary, &[0x82, 0x05]), Unmasked);
    let long = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &KEY].concat();
    assert_eq!(refused(DataKind::Binary, &[&[0x82, 0xfe, 0, 125][..], &KEY].concat()), LengthNotMinimal);
    assert_eq!(refused(DataKind::Binary, &long(65_535)), LengthNotMinimal);
    assert_eq!(refused(DataKind::Binary, &long(1 << 63)), LengthOutOfRange);
    assert_eq!(refused(DataKind::Binary, &long(u64::MAX >> 1)), TooBig);
}

#[test]
fn fragments_are_joined_with_control_frames_between() {
    let bytes = [
        frame(0x01, b"ab"),
        frame(0x89, b"1"),
        frame(0x00, b""),
        frame(0x8a, b"2"),
        frame(0x80, b"cd"),
        frame(0x81, b"next"),
    ]
    .concat();
    let events = vec![
        Event::Ping(b"1".to_vec().into()),
        Event::Pong(b"2".to_vec().into()),
        text("abcd"),
        text("next"),
    ];
    assert_eq!(decode(DataKind::Text, &bytes), (events, None));
}

#[test]
fn fragments_out_of_order_are_refused() {
    assert_eq!(refused(DataKind::Binary, &frame(0x80, b"x")), Violation::UnexpectedContinuation);
    assert_eq!(refused(DataKind::Binary, &frame(0x00, b"x")), Violation::UnexpectedContinuation);
    let nested = [frame(0x02, b"a"), frame(0x82, b"b")].concat();
    assert_eq!(refused(DataKind::Binary, &nested), Violation::ExpectedContinuation);
    let after = [frame(0x82, b"a"), frame(0x80, b"b")].concat();
    let outcome = (vec![binary(b"a")], Some(Violation::UnexpectedContinuation));
    assert_eq!(decode(DataKind::Binary, &after), outcome);
}

#[test]
fn the_limit_holds_for_the_whole_message_and_before_its_bytes() {
    let announced = frame(0x82, &vec![0; LIMIT + 1]);
    let mut decoder = Decoder::new(DataKind::Binary, LIMIT);
    assert_eq!(decoder.decode(&mut &announced[..14]), Err(Violation::TooBig));
    let pieces = [frame(0x02, &vec![0; LIMIT - 1]), frame(0x80, b"xy")].concat();
    assert_eq!(refused(DataKind::Binary, &pieces), Violation::TooBig);
    assert_eq!(Violation::TooBig.close_code().0, 1009);
}

#[test]
fn announced_bytes_cost_nothing_until_they_come() {
    let whole = frame(0x82, &vec![0; LIMIT]);
    let mut decoder = Decoder::new(DataKind::Binary, LIMIT);
    assert_eq!(decoder.decode(&mut &whole[..14 + 10]), Ok(None));
    assert!(decoder.retained_bytes() <= 16 && decoder.is_mid_message());
    assert!(matches!(decoder.decode(&mut &whole[24..]), Ok(Some(Event::Message { .. }))));
    assert_eq!((decoder.retained_bytes(), decoder.is_mid_message()), (0, false));
}

#[test]
fn the_other_kind_of_data_is_refused_with_1003() {
    assert_eq!(refused(DataKind::Binary, &frame(0x81, b"x")), Violation::WrongKind);
    assert_eq!(refused(DataKind::Text, &frame(0x82, b"x")), Violation::WrongKind);
    assert_eq!(Violation::WrongKind.close_code().0, 1003);
}

#[test]
fn text_across_fragments_within_a_character() {
    let word = "κόσμε 𐍈 한";
    for cut in 0..=word.len() {
        let bytes = [frame(0x01, &word.as_bytes()[..cut]), frame(0x80, &word.as_bytes()[cut..])].concat();
        assert_eq!(decode(DataKind::Text, &bytes), (vec![text(word)], None), "{cut}");
    }
}

#[test]
fn invalid_text_is_refused_at_its_first_wrong_byte() {
    let wrong: [&[u8]; 9] = [
        b"\xce\xba\xed\xa0",
        b"\xf4\x90",
        b"\xc0",
        b"\xc1",
        b"\xf5",
        b"\xfe",
        b"\x80",
        b"\xe0\x80",
        b"\xce\xbaa\xff",
    ];
    for prefix in wrong {
        let mut whole = prefix.to_vec();
        whole.resize(2_000, b'x');
        let bytes = frame(0x01, &whole);
        let cut = bytes.len() - whole.len() + prefix.len();
        assert_eq!(refused(DataKind::Text, &bytes[..cut]), Violation::NotUtf8, "{prefix:x?}");
    }
    assert_eq!(refused(DataKind::Text, &frame(0x81, b"\xce")), Violation::NotUtf8);
    assert_eq!(refused(DataKind::Text, &frame(0x81, b"ab\xf0\x9f\x98")), Violation::NotUtf8);
    assert_eq!(Violation::NotUtf8.close_code().0, 1007);
}

#[test]
fn binary_may_hold_anything() {
    assert_eq!(decode(DataKind::Binary, &frame(0x82, b"\xff\xfe")), (vec![binary(b"\xff\xfe")], None));
}

fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

#[test]
fn close_codes_are_validated() {
    let allowed = (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]);
    for code in allowed {
        let expected = Close { code: Some(CloseCode(code)), reason: "ta-ta".into() };
        let outcome = decode(DataKind::Binary, &frame(0x88, &close_payload(code, b"ta-ta")));
        assert_eq!(outcome, (vec![Event::Close(expected)], None), "{code}");
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let bytes = frame(0x88, &close_payload(code, b""));
        assert_eq!(refused(DataKind::Binary, &bytes), Violation::CloseCodeRefused, "{code}");
    }
}

#[test]
fn close_payloads_are_validated_and_end_the_stream() {
    assert_eq!(refused(DataKind::Binary, &frame(0x88, b"\x03")), Violation::ClosePayload);
    let not_utf8 = frame(0x88, &close_payload(1000, b"\xce\xba\xff"));
    assert_eq!(refused(DataKind::Binary, &not_utf8), Violation::NotUtf8);
    let empty = Event::Close(Close { code: None, reason: "".into() });
    let bytes = [frame(0x88, b""), frame(0x82, b"late"), vec![0xff; 9]].concat();
    assert_eq!(decode(DataKind::Binary, &bytes), (vec![empty], None));
    let inside = [frame(0x02, b"half"), frame(0x88, &close_payload(1001, &[b'r'; 123]))].concat();
    let (events, violation) = decode(DataKind::Binary, &inside);
    assert!(matches!(&events[..], [Event::Close(close)] if close.reason.len() == 123));
    assert_eq!(violation, None);
}

#[test]
fn server_headers_use_the_shortest_length() {
    let encoded = |length| {
        let (bytes, used) = header(Opcode::Binary, length);
        bytes[..used].to_vec()
    };
    assert_eq!(encoded(0), [0x82, 0]);
    assert_eq!(encoded(125), [0x82, 125]);
    assert_eq!(encoded(126), [0x82, 126, 0, 126]);
    assert_eq!(encoded(65_535), [0x82, 126, 0xff, 0xff]);
    assert_eq!(encoded(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(header(Opcode::Text, 1).0[0], 0x81);
}

#[test]
fn server_control_frames() {
    assert_eq!(ping(b"hi").as_bytes(), b"\x89\x02hi");
    assert_eq!(pong(&[1; 125]).as_bytes()[..2], [0x8a, 125]);
    assert_eq!(close(CloseCode(4000), "bye").as_bytes(), b"\x88\x05\x0f\xa0bye");
    let cut = close(CloseCode::NORMAL, &"é".repeat(100));
    assert_eq!(cut.as_bytes().len(), 2 + 2 + 122);
    let peer = Close { code: Some(CloseCode(3000)), reason: "theirs".into() };
    assert_eq!(close_reply(&peer).as_bytes(), b"\x88\x02\x0b\xb8");
    assert_eq!(close_reply(&Close { code: None, reason: "".into() }).as_bytes(), b"\x88\x00");
}

/// A stream of mostly valid frames.
fn stream(random: &mut Random, kind: DataKind) -> Vec<u8> {
    let first = if kind == DataKind::Text { 0x01 } else { 0x02 };
    let alphabet = ["a", "é", "한", "𐍈"];
    let mut bytes = Vec::new();
    for _ in 0..1 + random.below(6) {
        let size = [3, 60, 130, 700][random.below(4)];
        let payload: String = (0..random.below(size)).map(|_| alphabet[random.below(4)]).collect();
        let cut = random.below(payload.len() + 1);
        bytes.extend(frame(first, &payload.as_bytes()[..cut]));
        if random.below(3) == 0 {
            bytes.extend(frame(0x89, &payload.as_bytes()[..cut.min(125)]));
        }
        bytes.extend(frame(0x80, &payload.as_bytes()[cut..]));
    }
    if random.below(4) == 0 {
        bytes.extend(frame(0x88, &close_payload(1000, b"end")));
    }
    bytes
}

#[test]
fn chunking_and_mutation_never_change_the_outcome() {
    let mut refusals = 0;
    for seed in 0..1_500 {
        let mut random = Random(seed);
        let kind = if seed % 2 == 0 { DataKind::Text } else { DataKind::Binary };
        let mut bytes = stream(&mut random, kind);
        if seed >= 500 {
            random.mutate(&mut bytes);
        }
        let whole = decode(kind, &bytes);
        let chunked = decode_chunks(kind, random.cut_up(&bytes));
        assert_eq!(whole, chunked, "seed {seed}");
        assert!(seed >= 500 || whole.1.is_none(), "seed {seed} is valid");
        refusals += usize::from(whole.1.is_some());
    }
    assert!(refusals > 300, "mutations reach the refusals: {refusals}");
}
