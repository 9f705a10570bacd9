//! Bytes of version 1 that must decode for ever: one committed file per message, binary as hex and as JSON.
//! A missing file is written (commit it); an existing one is never changed.

use std::fmt::Write as _;
use std::path::PathBuf;

use buffa::Message;
use bytes::Bytes;
use schema_wire::frame::Encoding;
use schema_wire::v1::*;
use schema_wire::{Refused, codec};

fn id(fill: u8) -> Bytes {
    Bytes::from(vec![fill; 16])
}

fn position(generation: u32, offset: u64) -> buffa::MessageField<Position, buffa::Inline<Position>> {
    buffa::MessageField::some(Position { generation, offset, ..Default::default() })
}

fn client_frames() -> Vec<(&'static str, client_frame::Body)> {
    use client_frame::Body;
    let hello = Hello {
        versions: vec![1],
        capabilities: vec!["targets".into()],
        token: "e30.e30.c2ln".into(),
        device: id(0xd1),
        user_position: position(1, 7),
        resume: vec![Resume { conversation: id(0xc1), after: position(1, 41), ..Default::default() }],
        agent: "golden/1".into(),
        ..Default::default()
    };
    let publish = Publish {
        conversation: id(0xc1),
        publish_key: id(0xaa),
        kind: 16,
        relates_to: Some(41),
        expires_in: Some(3600),
        expected_epoch: Some(2),
        notify: Notify::Silent.into(),
        targets: vec![id(0xd2)],
        body: Bytes::from_static(b"ciphertext"),
        commitment: Some(Bytes::from(vec![0xcc; 32])),
        ..Default::default()
    };
    let recover =
        Recover { conversation: id(0xc1), from: 100, limit: 50, backwards: true, ..Default::default() };
    let ring = Ring {
        conversation: id(0xc1),
        publish_key: id(0xab),
        body: Bytes::from_static(b"offer"),
        ..Default::default()
    };
    vec![
        ("hello", Body::Hello(hello)),
        ("publish", Body::Publish(publish)),
        (
            "subscribe",
            Body::Subscribe(Subscribe {
                conversation: id(0xc1),
                after: position(1, 41),
                ..Default::default()
            }),
        ),
        ("unsubscribe", Body::Unsubscribe(Unsubscribe { conversation: id(0xc1), ..Default::default() })),
        ("recover", Body::Recover(recover)),
        (
            "cursor",
            Body::Cursor(Cursor { conversation: id(0xc1), offset: 42, share: true, ..Default::default() }),
        ),
        ("typing", Body::Typing(Typing { conversation: id(0xc1), active: true, ..Default::default() })),
        ("presence", Body::Presence(Presence { state: PresenceState::Away.into(), ..Default::default() })),
        (
            "watch",
            Body::Watch(Watch { conversations: vec![id(0xc1)], users: vec![id(0xb1)], ..Default::default() }),
        ),
        ("ring", Body::Ring(ring)),
        ("refresh", Body::Refresh(Refresh { token: "e30.e30.bmV3".into(), ..Default::default() })),
        ("ping", Body::Ping(Ping { payload: Bytes::from_static(b"?"), ..Default::default() })),
        (
            "signal",
            Body::Signal(Signal {
                conversation: id(0xc1),
                body: Bytes::from_static(b"candidate"),
                ..Default::default()
            }),
        ),
    ]
}

fn delivery() -> Delivery {
    Delivery {
        conversation: id(0xc1),
        generation: 1,
        offset: 42,
        kind: 0,
        sender: id(0xb1),
        device: id(0xd1),
        at: 1_790_000_000_000,
        relates_to: Some(41),
        expires_at: Some(1_790_000_060_000),
        stamp: Some(Bytes::from_static(b"stamp")),
        body: Bytes::from_static(b"ciphertext"),
        publish_key: id(0xaa),
        ..Default::default()
    }
}

fn gone() -> Gone {
    Gone {
        conversation: id(0xc1),
        generation: 1,
        from: 3,
        to: 5,
        reason: GoneReason::Deleted.into(),
        ..Default::default()
    }
}

fn answers() -> Vec<(&'static str, server_frame::Body)> {
    use server_frame::Body;
    let limits = Limits {
        max_frame: 81920,
        max_body: 65536,
        max_subscriptions: 1024,
        max_page: 200,
        publish_limit: 100,
        publish_window_s: 60,
        ..Default::default()
    };
    let welcome = Welcome {
        version: 1,
        capabilities: vec!["targets".into()],
        user: id(0xb1),
        device: id(0xd1),
        generation: 1,
        user_head: 9,
        now: 1_790_000_000_000,
        token_expires_at: 1_790_000_900,
        limits: buffa::MessageField::some(limits),
        ..Default::default()
    };
    let ack = PublishAck {
        conversation: id(0xc1),
        publish_key: id(0xaa),
        generation: 1,
        offset: 42,
        at: 1_790_000_000_000,
        duplicate: true,
        ..Default::default()
    };
    let page = HistoryPage {
        conversation: id(0xc1),
        generation: 1,
        items: vec![
            HistoryItem { item: Some(history_item::Item::Gone(gone())), ..Default::default() },
            HistoryItem { item: Some(history_item::Item::Delivery(delivery())), ..Default::default() },
        ],
        head: 42,
        next: 43,
        ..Default::default()
    };
    let refusal = Refusal {
        code: Refused::RateLimited.code(),
        message: Refused::RateLimited.advice().into(),
        retry_after_ms: 1500,
        conversation: id(0xc1),
        publish_key: id(0xaa),
        head: 42,
        ..Default::default()
    };
    let subscribed = Subscribed {
        conversation: id(0xc1),
        generation: 1,
        head: 42,
        first: 1,
        epoch: 2,
        cursor: 40,
        ..Default::default()
    };
    vec![
        ("welcome", Body::Welcome(welcome)),
        ("publish_ack", Body::PublishAck(ack)),
        ("delivery", Body::Delivery(delivery())),
        ("gone", Body::Gone(gone())),
        (
            "rewound",
            Body::Rewound(Rewound { conversation: id(0xc1), generation: 2, head: 40, ..Default::default() }),
        ),
        ("subscribed", Body::Subscribed(subscribed)),
        (
            "unsubscribed",
            Body::Unsubscribed(Unsubscribed { conversation: id(0xc1), code: 300, ..Default::default() }),
        ),
        ("history_page", Body::HistoryPage(page)),
        ("refreshed", Body::Refreshed(Refreshed { token_expires_at: 1_790_001_800, ..Default::default() })),
        ("refusal", Body::Refusal(refusal)),
        ("done", Body::Done(Done::default())),
        ("pong", Body::Pong(Pong { payload: Bytes::from_static(b"?"), ..Default::default() })),
    ]
}

fn unasked() -> Vec<(&'static str, server_frame::Body)> {
    use server_frame::Body;
    let draining =
        Draining { reconnect_after_ms: 750, alternate: "wss://b.example/ws".into(), ..Default::default() };
    let warning = || Warning {
        id: id(0x11),
        at: 1_790_000_000_000,
        text: "Please be kind.".into(),
        ..Default::default()
    };
    let notice = |n| Body::Notice(Notice { notice: Some(n), ..Default::default() });
    vec![
        (
            "cursor_event",
            Body::CursorEvent(CursorEvent {
                conversation: id(0xc1),
                user: id(0xb1),
                offset: 42,
                count: 0,
                ..Default::default()
            }),
        ),
        (
            "typing_event",
            Body::TypingEvent(TypingEvent {
                conversation: id(0xc1),
                user: id(0xb1),
                active: true,
                count: 0,
                ..Default::default()
            }),
        ),
        (
            "presence_event",
            Body::PresenceEvent(PresenceEvent {
                user: id(0xb1),
                state: PresenceState::Online.into(),
                seen_at: 1_790_000_000_000,
                ..Default::default()
            }),
        ),
        (
            "signal_event",
            Body::SignalEvent(SignalEvent {
                conversation: id(0xc1),
                sender: id(0xb1),
                device: id(0xd1),
                body: Bytes::from_static(b"candidate"),
                ..Default::default()
            }),
        ),
        ("notice_draining", notice(notice::Notice::Draining(draining))),
        ("notice_warning", notice(notice::Notice::Warning(warning()))),
        (
            "user_event_added_to",
            event(user_event::Event::AddedTo(AddedTo {
                conversation: id(0xc1),
                by: id(0xb2),
                role: Role::Member.into(),
                first: 43,
                ..Default::default()
            })),
        ),
        (
            "user_event_removed_from",
            event(user_event::Event::RemovedFrom(RemovedFrom {
                conversation: id(0xc1),
                by: id(0xb2),
                last: 42,
                ..Default::default()
            })),
        ),
        (
            "user_event_role_changed",
            event(user_event::Event::RoleChanged(RoleChanged {
                conversation: id(0xc1),
                user: id(0xb1),
                role: Role::Admin.into(),
                ..Default::default()
            })),
        ),
        (
            "user_event_cursor_moved",
            event(user_event::Event::CursorMoved(CursorMoved {
                conversation: id(0xc1),
                offset: 42,
                ..Default::default()
            })),
        ),
        (
            "user_event_device_changed",
            event(user_event::Event::DeviceChanged(DeviceChanged {
                device: id(0xd1),
                revoked: true,
                name: "laptop".into(),
                ..Default::default()
            })),
        ),
        (
            "user_event_keys_changed",
            event(user_event::Event::KeysChanged(KeysChanged {
                user: id(0xb1),
                device: id(0xd1),
                ..Default::default()
            })),
        ),
        (
            "user_event_block_changed",
            event(user_event::Event::BlockChanged(BlockChanged {
                user: id(0xb2),
                blocked: true,
                ..Default::default()
            })),
        ),
        (
            "user_event_setting_changed",
            event(user_event::Event::SettingChanged(SettingChanged {
                name: "receipts".into(),
                value: "off".into(),
                ..Default::default()
            })),
        ),
        (
            "user_event_added_to_request",
            event(user_event::Event::AddedTo(AddedTo {
                conversation: id(0xc1),
                by: id(0xb2),
                role: Role::Member.into(),
                first: 1,
                request: true,
                ..Default::default()
            })),
        ),
        (
            "user_event_invited",
            event(user_event::Event::Invited(Invited {
                conversation: id(0xc1),
                by: id(0xb2),
                name: "Crew".into(),
                ..Default::default()
            })),
        ),
        (
            "user_event_request_answered",
            event(user_event::Event::RequestAnswered(RequestAnswered {
                conversation: id(0xc1),
                answer: RequestAnswer::Accepted.into(),
                ..Default::default()
            })),
        ),
        ("user_event_warning", event(user_event::Event::Warning(warning()))),
        (
            "user_event_conversation_changed",
            event(user_event::Event::ConversationChanged(ConversationChanged {
                conversation: id(0xc1),
                name: "Crew".into(),
                epoch: 3,
                ..Default::default()
            })),
        ),
    ]
}

fn event(event: user_event::Event) -> server_frame::Body {
    server_frame::Body::UserEvent(UserEvent {
        offset: 9,
        generation: 1,
        at: 1_790_000_000_000,
        event: Some(event),
        ..Default::default()
    })
}

/// Compares with the committed file, or writes it when it is new.
fn golden(name: &str, binary: &[u8], json: &str) -> (Vec<u8>, String) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let path = folder.join(format!("{name}.txt"));
    if !path.exists() {
        let mut hex = String::new();
        binary.iter().for_each(|b| write!(hex, "{b:02x}").expect("a string takes it"));
        std::fs::write(&path, format!("{hex}\n{json}\n")).expect("golden folder is writable");
    }
    let text = std::fs::read_to_string(&path).expect("readable");
    let (hex, json) = text.trim_end().split_once('\n').expect("hex, then JSON");
    let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex"));
    (bytes.collect(), json.to_owned())
}

#[test]
fn client_frames_decode_for_ever() {
    for (name, body) in client_frames() {
        let frame = ClientFrame { request: 5, body: Some(body), ..Default::default() };
        let json = serde_json::to_string(&frame).unwrap();
        let (kept, kept_json) = golden(&format!("client_{name}"), &frame.encode_to_vec(), &json);
        assert_eq!(codec::decode_client(&kept, Encoding::Proto), Ok(frame.clone()), "{name} decodes");
        assert_eq!(
            codec::decode_client(kept_json.as_bytes(), Encoding::Json),
            Ok(frame.clone()),
            "{name} decodes from JSON"
        );
        assert_eq!(frame.encode_to_vec(), kept, "{name} encodes to the same bytes");
        assert_eq!(json, kept_json, "{name} encodes to the same JSON");
    }
}

#[test]
fn server_frames_decode_for_ever() {
    let all = answers().into_iter().map(|f| (5, f)).chain(unasked().into_iter().map(|f| (0, f)));
    for (answers, (name, body)) in all {
        let frame = ServerFrame { answers, body: Some(body), ..Default::default() };
        let json = serde_json::to_string(&frame).unwrap();
        let (kept, kept_json) = golden(&format!("server_{name}"), &frame.encode_to_vec(), &json);
        assert_eq!(codec::decode_server(&kept, Encoding::Proto), Ok(frame.clone()), "{name} decodes");
        assert_eq!(
            codec::decode_server(kept_json.as_bytes(), Encoding::Json),
            Ok(frame.clone()),
            "{name} decodes from JSON"
        );
        assert_eq!(frame.encode_to_vec(), kept, "{name} encodes to the same bytes");
        assert_eq!(json, kept_json, "{name} encodes to the same JSON");
    }
}

#[test]
fn unknown_fields_survive() {
    let ping = ClientFrame {
        request: 1,
        body: Some(client_frame::Body::Ping(Ping::default())),
        ..Default::default()
    };
    let mut bytes = ping.encode_to_vec();
    // Field 1000, a varint, as a later version may add it.
    bytes.extend_from_slice(&[0xc0, 0x3e, 0x07]);
    let decoded = codec::decode_client(&bytes, Encoding::Proto).unwrap();
    assert_eq!(decoded.encode_to_vec(), bytes);
}

#[test]
fn hostile_frames_are_refused() {
    for bytes in [&[][..], &[0xff], &[0x08, 0x01], &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        assert!(codec::decode_client(bytes, Encoding::Proto).is_err(), "{bytes:02x?}");
    }
    assert!(codec::decode_client(&vec![0; codec::FRAME_BYTES_MAX + 1], Encoding::Proto).is_err());
    for text in ["", "{}", "[]", "null", "{\"request\":\"1\"}", "{\"ping\":3}"] {
        assert!(codec::decode_client(text.as_bytes(), Encoding::Json).is_err(), "{text}");
    }
}

#[test]
fn a_small_frame_cannot_grow_large_in_memory() {
    // Forty thousand empty entries of `Hello.resume`, two bytes each.
    let entries: Vec<u8> = [0x32, 0x00].repeat(40_000);
    let mut bytes = vec![0x12];
    let mut len = entries.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend_from_slice(&entries);
    assert!(bytes.len() < codec::FRAME_BYTES_MAX);
    assert!(codec::decode_client(&bytes, Encoding::Proto).is_err());
    // Ten thousand unknown fields behind a ping.
    let mut bytes = ClientFrame {
        request: 1,
        body: Some(client_frame::Body::Ping(Ping::default())),
        ..Default::default()
    }
    .encode_to_vec();
    bytes.extend([0xc0, 0x3e, 0x07].repeat(10_000));
    assert!(codec::decode_client(&bytes, Encoding::Proto).is_err());
}
