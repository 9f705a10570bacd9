//! Frames between nodes: bytes of version 1 that must decode for ever, and everything that is not one of them.

use std::sync::Arc;

use bytes::Bytes;
use schema_wire::bus::{BUS_BYTES_MAX, BusFrame, Hint, Life, Subject, Unreadable, VERSION, decode, encode};
use schema_wire::codec::decode_server;
use schema_wire::frame::Lane;
use schema_wire::peer::Ephemeral;
use schema_wire::publication::{Publication, delivery, delivery_frame};
use schema_wire::v1::{PresenceState, ServerFrame, SignalEvent, server_frame};
use schema_wire::{ConversationId, DeviceId, Encoding, Frame, Generation, Offset, PublishKey, UserId};

const LIFE: Life = Life(0x0102_0304_0506_0708);
const TALK: ConversationId = ConversationId([0xc1; 16]);
const USER: UserId = UserId([0xe1; 16]);

fn publication() -> Publication {
    let (from, key) = ((USER, DeviceId([0xd1; 16])), PublishKey([0xaa; 16]));
    let body = Bytes::from_static(b"ciphertext");
    let about = (Some(Offset(41)), Some(1_800_000_060_000));
    let delivery = delivery(TALK, Generation(2), Offset(42), 16, from, 1_800_000_000_000, about, key, body);
    Publication {
        conversation: TALK,
        generation: Generation(2),
        offset: Offset(42),
        kind: 16,
        sender: from.0,
        device: from.1,
        at: 1_800_000_000_000,
        relates_to: about.0,
        expires_at: about.1,
        publish_key: key,
        members_version: 9,
        origin: None,
        frame: delivery_frame(delivery),
    }
}

fn signal() -> Frame {
    let event = SignalEvent {
        conversation: TALK.to_bytes(),
        sender: USER.to_bytes(),
        device: Bytes::from(vec![0xd1; 16]),
        body: Bytes::from_static(b"candidate"),
        ..Default::default()
    };
    let body = Some(server_frame::Body::SignalEvent(event));
    Frame::new(&ServerFrame { body, ..Default::default() }, Lane::Conversation(TALK.spread()))
}

fn signal_of(conversation: ConversationId) -> BusFrame {
    let (serial, members_version, frame) = (1, 9, signal());
    BusFrame::Hint(Hint::Signal { conversation, serial, user: USER, members_version, frame })
}

fn each() -> Vec<(BusFrame, &'static str)> {
    let ephemeral = |event| {
        let hint = Hint::Ephemeral { conversation: TALK, serial: 3, user: USER, members_version: 9, event };
        BusFrame::Hint(hint)
    };
    let presence = Hint::Presence { user: USER, state: PresenceState::Away, seen_at: 1_800_000_000_000 };
    vec![
        (
            ephemeral(Ephemeral::Typing { active: true }),
            "524201020102030405060708 C 0000000000000003 E 0000000000000001 0000000000000009",
        ),
        (
            ephemeral(Ephemeral::Cursor { offset: Offset(42) }),
            "524201030102030405060708 C 0000000000000003 E 000000000000002a 0000000000000009",
        ),
        (BusFrame::Hint(presence), "524201050102030405060708 E 02 000001a3185c5000"),
        (BusFrame::Hint(Hint::PresenceAsked { user: USER }), "524201060102030405060708 E"),
        (
            BusFrame::Beat { sent_us: 5, lost: 6 },
            "524201100102030405060708 0000000000000005 0000000000000006",
        ),
        (BusFrame::Nudge, "524201110102030405060708"),
        (BusFrame::Bye, "524201120102030405060708"),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.replace('C', &"c1".repeat(16)).replace('E', &"e1".repeat(16)).replace(' ', "");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits"))
        .collect()
}

#[test]
fn version_one_stays_as_it_is() {
    for (frame, hex) in each() {
        assert_eq!(encode(LIFE, &frame), bytes(hex), "{frame:?}");
        let (life, again) = decode(&bytes(hex)).unwrap();
        assert_eq!((life, format!("{again:?}")), (LIFE, format!("{frame:?}")));
    }
}

#[test]
fn a_publication_is_what_its_recipients_get() {
    let sent = publication();
    let bytes = encode(LIFE, &BusFrame::Hint(Hint::Publication(Arc::new(sent.clone()))));
    let Ok((_, BusFrame::Hint(Hint::Publication(got)))) = decode(&bytes) else { panic!("a publication") };
    assert_eq!(got.frame.body(), sent.frame.body());
    assert_eq!((got.frame.lane(), got.origin), (sent.frame.lane(), None));
    let fields = |p: &Publication| {
        (
            (p.conversation, p.generation, p.offset, p.kind, p.sender, p.device),
            (p.at, p.relates_to, p.expires_at, p.publish_key, p.members_version),
        )
    };
    assert_eq!(fields(&got), fields(&sent));
    assert_eq!(
        Subject::Conversation(TALK).channel(),
        "relay:1:c:c1c1c1c1-c1c1-c1c1-c1c1-c1c1c1c1c1c1",
        "both releases meet on one channel"
    );
}

#[test]
fn a_signal_is_of_the_conversation_it_says() {
    let Ok((_, BusFrame::Hint(hint))) = decode(&encode(LIFE, &signal_of(TALK))) else { panic!("a signal") };
    assert_eq!(hint.subject(), Subject::Conversation(TALK));
    let Hint::Signal { user, members_version, frame, .. } = hint else { panic!("a signal") };
    assert_eq!((user, members_version), (USER, 9), "whoever its recipients are told");
    assert_eq!(frame.body(), signal().body(), "they get nothing that is said between nodes");
    let astray = encode(LIFE, &signal_of(ConversationId([1; 16])));
    assert_eq!(decode(&astray).unwrap_err(), Unreadable::Malformed);
}

#[test]
fn the_release_before_says_nothing_of_the_membership_and_reads_what_says_it() {
    let BusFrame::Hint(Hint::Signal { frame, .. }) = signal_of(TALK) else { panic!("a signal") };
    let signal = encode(LIFE, &signal_of(TALK));
    let typing = encode(LIFE, &each().remove(0).0);
    for (sent, longer_by) in [(signal.clone(), 10), (typing, 8)] {
        let (_, BusFrame::Hint(hint)) = decode(&sent[..sent.len() - longer_by]).unwrap() else {
            panic!("a hint")
        };
        let version = match &hint {
            Hint::Signal { members_version, .. } | Hint::Ephemeral { members_version, .. } => members_version,
            _ => panic!("{hint:?}"),
        };
        assert_eq!(*version, 0);
    }
    // It takes everything behind the serial for the frame of its recipients.
    let body = &signal[12 + 16 + 8..];
    let read = decode_server(body, Encoding::Proto).unwrap();
    let plain = decode_server(&frame.body(), Encoding::Proto).unwrap();
    assert_eq!((read.answers, read.body), (plain.answers, plain.body));
}

#[test]
fn what_comes_later_is_passed_over_and_what_is_unknown_refused() {
    let mut longer = encode(LIFE, &BusFrame::Beat { sent_us: 1, lost: 2 });
    longer.extend_from_slice(b"a field of the next release");
    assert!(matches!(decode(&longer), Ok((_, BusFrame::Beat { sent_us: 1, lost: 2 }))));
    let mut newer = longer.clone();
    newer[2] = VERSION + 1;
    assert_eq!(decode(&newer).unwrap_err(), Unreadable::Version);
    let mut other = longer.clone();
    other[3] = 200;
    assert_eq!(decode(&other).unwrap_err(), Unreadable::Kind);
    assert_eq!(decode(b"{\"json\":true}").unwrap_err(), Unreadable::Foreign);
    let mut large = encode(LIFE, &BusFrame::Nudge);
    large.resize(BUS_BYTES_MAX + 1, 0);
    assert_eq!(decode(&large).unwrap_err(), Unreadable::Malformed);
}

#[test]
fn no_cut_and_no_flipped_byte_is_more_than_refused() {
    let whole = [BusFrame::Hint(Hint::Publication(Arc::new(publication())))];
    for frame in whole.into_iter().chain([signal_of(TALK)]).chain(each().into_iter().map(|(frame, _)| frame))
    {
        let good = encode(LIFE, &frame);
        // Without the last field it is a frame of the release before.
        let before = match &frame {
            BusFrame::Hint(Hint::Signal { .. }) => Some(good.len() - 10),
            BusFrame::Hint(Hint::Ephemeral { .. }) => Some(good.len() - 8),
            _ => None,
        };
        for cut in (0..good.len()).filter(|cut| Some(*cut) != before) {
            assert!(decode(&good[..cut]).is_err(), "{cut} bytes of {frame:?}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            if let Ok((_, BusFrame::Hint(Hint::Publication(got)))) = decode(&bad) {
                let json = got.frame.websocket(schema_wire::Encoding::Json);
                assert!(!json.is_empty(), "what was let in can be shown in every form");
            }
        }
    }
}
