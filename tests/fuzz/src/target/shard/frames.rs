//! What a script can say: frames of clients, of other shards and nodes, changes and controls. Few names, so that
//! they meet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use relay_proto::event::Control;
use schema_wire::bus::{Hint, Subject};
use schema_wire::frame::Lane;
use schema_wire::peer::{Ephemeral, PeerFrame, Sender};
use schema_wire::publication::{Publication, Shared, delivery, delivery_frame};
use schema_wire::record::{Append, Appended, Change, StoreFault};
use schema_wire::v1::{self, ClientFrame, PresenceState};
use schema_wire::{
    ConversationId, DeviceId, Disconnect, Frame, Generation, Offset, PublishKey, Refused, SessionId, ShardId,
    UserId,
};

use super::store;
use crate::script::Script;

/// One of three users.
pub fn user(n: u8) -> UserId {
    UserId([1 + n % 3; 16])
}

/// One of two devices.
pub fn device(n: u8) -> DeviceId {
    DeviceId([1 + (n >> 2) % 2; 16])
}

/// One of four conversations.
pub fn conversation(n: u8) -> ConversationId {
    ConversationId([1 + n % 4; 16])
}

/// The first field of an encoded frame after the request: what kind it is.
pub fn kind(body: &[u8]) -> u64 {
    let at = if body.first() == Some(&8) {
        1 + body[1..].iter().take_while(|b| **b & 0x80 != 0).count() + 1
    } else {
        0
    };
    u64::from(body.get(at).copied().unwrap_or(0))
}

fn offset(script: &mut Script<'_>) -> u64 {
    match script.byte() {
        255 => u64::MAX,
        254 => u64::from(u32::MAX),
        n => u64::from(n & 31),
    }
}

fn position(script: &mut Script<'_>) -> v1::Position {
    let (generation, offset) = (u32::from(script.byte() & 3), offset(script));
    v1::Position { generation, offset, ..Default::default() }
}

/// An id that is right, or of a wrong length.
fn id(script: &mut Script<'_>, right: impl FnOnce(u8) -> [u8; 16]) -> Bytes {
    match script.byte() {
        255 => Bytes::new(),
        254 => Bytes::from_static(b"short"),
        n => Bytes::copy_from_slice(&right(n)),
    }
}

/// A client's frame.
pub fn client(script: &mut Script<'_>) -> ClientFrame {
    let choice = script.byte();
    let request = u64::from(script.byte());
    let talk = |script: &mut Script<'_>| id(script, |n| conversation(n).0);
    let body = match choice % 13 {
        0 => hello(script).into(),
        1 => publish(script).into(),
        2 => {
            let (conversation, choice) = (talk(script), script.byte());
            let after = (choice & 1 == 1).then(|| position(script)).into();
            v1::Subscribe { conversation, after, ..Default::default() }.into()
        }
        3 => v1::Unsubscribe { conversation: talk(script), ..Default::default() }.into(),
        4 => {
            let (conversation, from) = (talk(script), offset(script));
            let (limit, backwards) = (u32::from(script.byte()), script.byte() & 1 == 1);
            v1::Recover { conversation, from, limit, backwards, ..Default::default() }.into()
        }
        5 => {
            let (conversation, offset, share) = (talk(script), offset(script), script.byte() & 1 == 1);
            v1::Cursor { conversation, offset, share, ..Default::default() }.into()
        }
        6 => v1::Typing { conversation: talk(script), active: script.byte() & 1 == 1, ..Default::default() }
            .into(),
        7 => {
            let state = i32::from(script.byte() % 7).into();
            v1::Presence { state, ..Default::default() }.into()
        }
        8 => {
            let conversations = (0..script.byte() % 4).map(|_| talk(script)).collect();
            let users = (0..script.byte() % 4).map(|_| id(script, |n| user(n).0)).collect();
            v1::Watch { conversations, users, ..Default::default() }.into()
        }
        9 => {
            let (conversation, publish_key) = (talk(script), id(script, |n| [n; 16]));
            let body = Bytes::copy_from_slice(script.bytes());
            v1::Ring { conversation, publish_key, body, ..Default::default() }.into()
        }
        10 => v1::Refresh { token: "token".into(), ..Default::default() }.into(),
        11 => v1::Ping { payload: Bytes::copy_from_slice(script.bytes()), ..Default::default() }.into(),
        // Half of what has no place among the others, so that older inputs keep their meaning.
        _ if choice >= 128 => {
            let (conversation, body) = (talk(script), Bytes::copy_from_slice(script.bytes()));
            v1::Signal { conversation, body, ..Default::default() }.into()
        }
        _ => return ClientFrame { request, body: None, ..Default::default() },
    };
    ClientFrame { request, body: Some(body), ..Default::default() }
}

fn hello(script: &mut Script<'_>) -> v1::Hello {
    let choice = script.byte();
    let resume = (0..choice & 7).map(|_| {
        let conversation = id(script, |n| conversation(n).0);
        v1::Resume { conversation, after: position(script).into(), ..Default::default() }
    });
    v1::Hello {
        resume: resume.collect(),
        versions: if choice & 8 == 0 { vec![1] } else { vec![2, 99] },
        token: if choice & 16 == 0 { "token".into() } else { String::new() },
        device: if choice & 32 == 0 { Bytes::new() } else { id(script, |n| device(n).0) },
        user_position: (choice & 64 != 0).then(|| position(script)).into(),
        ..Default::default()
    }
}

fn publish(script: &mut Script<'_>) -> v1::Publish {
    let conversation = id(script, |n| conversation(n).0);
    let publish_key = id(script, |n| [n; 16]);
    let choice = script.byte();
    v1::Publish {
        conversation,
        publish_key,
        kind: u32::from(choice & 3) + u32::from(choice & 4) * 4,
        relates_to: (choice & 8 != 0).then(|| offset(script)),
        expires_in: (choice & 16 != 0).then(|| u32::from(script.byte())),
        expected_epoch: (choice & 32 != 0).then(|| u64::from(script.byte() & 1)),
        notify: i32::from(choice >> 6).into(),
        body: Bytes::copy_from_slice(script.bytes()),
        ..Default::default()
    }
}

/// A stored message as another node or shard would tell it.
pub fn publication(script: &mut Script<'_>) -> Shared {
    let choice = script.byte();
    let (conversation, generation) = (conversation(choice), Generation(u32::from(choice >> 2 & 3)));
    let (offset, relates_to) = (Offset(offset(script)), (choice & 16 != 0).then(|| Offset(offset(script))));
    let (kind, publish_key) = (u32::from(choice >> 6 & 1), PublishKey([choice; 16]));
    let from = (user(choice), device(choice));
    let body = Bytes::copy_from_slice(script.bytes());
    let at = 1_800_000_000_000;
    let delivery =
        delivery(conversation, generation, offset, kind, from, at, (relates_to, None), publish_key, body);
    Arc::new(Publication {
        conversation,
        generation,
        offset,
        kind,
        sender: from.0,
        device: from.1,
        at,
        relates_to,
        expires_at: None,
        publish_key,
        members_version: u64::from(script.byte() & 3),
        origin: None,
        frame: delivery_frame(delivery),
    })
}

/// A frame of another shard.
pub fn peer(
    script: &mut Script<'_>,
    from: ShardId,
    own: ShardId,
    sessions: &BTreeMap<SessionId, bool>,
) -> PeerFrame {
    let choice = script.byte();
    let (talk, someone) = (conversation(choice >> 4), user(choice >> 4));
    let ours =
        sessions.keys().rev().nth(usize::from(choice >> 4)).copied().unwrap_or(SessionId::new(own, 99));
    let theirs = SessionId::new(from, u64::from(choice >> 6));
    let state = || {
        [PresenceState::PRESENCE_STATE_ONLINE, PresenceState::PRESENCE_STATE_AWAY][usize::from(choice >> 7)]
    };
    match choice % 13 {
        0 => PeerFrame::Append { session: theirs, request: 1, append: append(script, talk) },
        1 => PeerFrame::Appended {
            session: ours,
            request: u64::from(script.byte()),
            conversation: talk,
            publish_key: PublishKey([script.byte(); 16]),
            outcome: outcome(script),
        },
        2 => PeerFrame::Follow { conversation: talk },
        3 => PeerFrame::Unfollow { conversation: talk },
        4 => {
            let (generation, next) = (Generation(u32::from(script.byte() & 3)), Offset(offset(script)));
            PeerFrame::Following { conversation: talk, generation, next }
        }
        5 => PeerFrame::Publication(publication(script)),
        6 => {
            let offset = Offset(offset(script));
            let typing = Ephemeral::Typing { active: choice >> 7 == 1 };
            let event = if offset.0 & 1 == 0 { typing } else { Ephemeral::Cursor { offset } };
            PeerFrame::Ephemeral { conversation: talk, sender: sender(script, theirs, someone), event }
        }
        7 => {
            let state = (script.byte() & 1 == 0).then(state);
            PeerFrame::Present { user: someone, device: device(choice), session: theirs, state }
        }
        8 => PeerFrame::Close { session: ours, with: disconnect(script) },
        9 => PeerFrame::WatchUser { user: someone, watching: script.byte() & 1 == 0 },
        10 => PeerFrame::PresenceOf { user: someone, state: state(), seen_at: 1_800_000_000_000 },
        11 => {
            let allowance = (script.byte() & 1 == 0).then(|| u32::from(script.byte()));
            PeerFrame::Share { user: someone, allowance }
        }
        _ if choice >= 128 => PeerFrame::Signal {
            conversation: talk,
            sender: sender(script, theirs, someone),
            frame: signal(script, talk, someone),
        },
        _ => PeerFrame::Spent { user: someone, spent: u32::from(script.byte()) },
    }
}

fn sender(script: &mut Script<'_>, session: SessionId, user: UserId) -> Sender {
    Sender { session, user, members_version: u64::from(script.byte() & 3) }
}

fn signal(script: &mut Script<'_>, talk: ConversationId, someone: UserId) -> Frame {
    let (conversation, sender) = (talk.to_bytes(), someone.to_bytes());
    let body = Bytes::copy_from_slice(script.bytes());
    let event = v1::SignalEvent { conversation, sender, body, ..Default::default() };
    let frame = v1::ServerFrame { body: Some(event.into()), ..Default::default() };
    Frame::new(&frame, Lane::Conversation(talk.spread()))
}

/// What another node tells about a conversation or a user.
pub fn hint(script: &mut Script<'_>) -> Hint {
    let choice = script.byte();
    let (talk, someone) = (conversation(choice >> 4), user(choice >> 4));
    let serial = u64::from(script.byte());
    match choice % 5 {
        0 => Hint::Publication(publication(script)),
        1 => {
            let offset = Offset(offset(script));
            let typing = Ephemeral::Typing { active: choice >> 7 == 1 };
            let event = if offset.0 & 1 == 0 { typing } else { Ephemeral::Cursor { offset } };
            let members_version = u64::from(script.byte() & 3);
            Hint::Ephemeral { conversation: talk, serial, user: someone, members_version, event }
        }
        2 => Hint::Signal {
            conversation: talk,
            serial,
            user: someone,
            members_version: u64::from(script.byte() & 3),
            frame: signal(script, talk, someone),
        },
        3 => {
            type State = PresenceState;
            let states = [State::Online, State::Away, State::Offline, State::Hidden];
            let state = states[usize::from(script.byte() & 3)];
            Hint::Presence { user: someone, state, seen_at: u64::from(serial as u32) }
        }
        _ => Hint::PresenceAsked { user: someone },
    }
}

/// What the bus may be asked about.
pub fn subject(script: &mut Script<'_>) -> Subject {
    match script.byte() {
        choice @ 0..128 => Subject::Conversation(conversation(choice)),
        choice @ 128..224 => Subject::User(user(choice)),
        _ => Subject::Nodes,
    }
}

fn append(script: &mut Script<'_>, conversation: ConversationId) -> Append {
    let choice = script.byte();
    Append {
        conversation,
        publish_key: PublishKey([choice; 16]),
        sender: user(choice),
        device: device(choice),
        kind: u32::from(choice >> 7),
        relates_to: (choice >> 7 == 1).then_some(Offset(1)),
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::copy_from_slice(script.bytes()),
        commitment: None,
    }
}

fn outcome(script: &mut Script<'_>) -> Result<Appended, StoreFault> {
    let (generation, offset, at) = (Generation(u32::from(script.byte() & 3)), Offset(offset(script)), 7);
    match script.byte() % 5 {
        0 => Err(StoreFault::Unavailable),
        1 => Err(StoreFault::Full),
        2 => Ok(Appended::Duplicate { generation, offset, at }),
        3 => Ok(Appended::Refused { refused: Refused::NotMember, retry_after_ms: 0 }),
        _ => Ok(Appended::Stored { generation, offset, at, expires_at: None, members_version: 1 }),
    }
}

fn disconnect(script: &mut Script<'_>) -> Disconnect {
    Disconnect::ALL[script.below(Disconnect::ALL.len())]
}

/// An entry of the change log.
pub fn change(script: &mut Script<'_>) -> Change {
    let choice = script.byte();
    let (user, device, conversation) = (user(choice >> 4), device(choice >> 4), conversation(choice >> 4));
    match choice % 8 {
        0 => Change::UserStatus { user, status: store::status(script) },
        1 => Change::DeviceRevoked { user, device },
        2 => Change::TokensRevoked { user, not_before: u64::from(script.byte()) << 23 },
        3 => Change::Members { conversation, version: u64::from(script.byte() & 7) },
        4 => Change::UserEvents { user, head: Offset(offset(script)) },
        5 => Change::Erased { conversation },
        6 => Change::Generation { generation: Generation(u32::from(script.byte() & 3)) },
        _ if choice >= 192 => {
            Change::Block { user, other: self::user(choice >> 5), stands: choice & 32 != 0 }
        }
        _ if choice == 127 => Change::Missed,
        _ => Change::AddressBanned { network: IpAddr::from([192, 0, 2, choice >> 6]).into() },
    }
}

/// What an operator asks for.
pub fn control(script: &mut Script<'_>) -> Control {
    let choice = script.byte();
    let user = user(choice >> 4);
    match choice % 4 {
        0 => Control::DisconnectUser { user, with: disconnect(script) },
        1 => Control::DisconnectDevice { user, device: device(choice >> 4), with: disconnect(script) },
        2 => Control::Drain {
            reconnect_after_ms: u32::from(script.byte()),
            alternate: String::new(),
            deadline_ms: u32::from(script.byte()) * 100,
        },
        _ if choice >= 192 => {
            Control::MessageLimit { max: u32::from(script.byte()), window_s: u32::from(script.byte() & 15) }
        }
        _ => Control::Forget { conversation: conversation(choice >> 4) },
    }
}
