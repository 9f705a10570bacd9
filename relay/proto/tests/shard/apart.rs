//! Kept apart: a block reaches live sessions and those that come later, and a first contact is quiet until it is accepted.

use bytes::Bytes;
use relay_proto::Limits;
use schema_wire::bus::Hint;
use schema_wire::frame::Lane;
use schema_wire::peer::Ephemeral;
use schema_wire::record::{Change, StoreFault};
use schema_wire::v1::{self, PresenceState};
use schema_wire::{Frame, SessionId};

use crate::node::{Node, Said, conversation, user};

fn typing() -> v1::Typing {
    v1::Typing { conversation: conversation(9).to_bytes(), active: true, ..Default::default() }
}

fn signal() -> v1::Signal {
    let body = Bytes::from_static(b"candidate");
    v1::Signal { conversation: conversation(9).to_bytes(), body, ..Default::default() }
}

fn online() -> v1::Presence {
    v1::Presence { state: PresenceState::Online.into(), ..Default::default() }
}

/// Somebody in the conversation who follows and watches it, and watches these people.
fn comer(node: &mut Node, shard: u16, u: u8, d: u8, watched: &[u8]) -> SessionId {
    let session = node.attach(shard, u, d);
    node.subscribe(session, 9, None);
    let users = watched.iter().map(|u| user(*u).to_bytes()).collect();
    let conversations = vec![conversation(9).to_bytes()];
    node.say(session, 3, v1::Watch { conversations, users, ..Default::default() });
    session
}

/// How many typing, cursor, signal and presence events of users a session got.
fn seen(node: &Node, session: SessionId) -> [usize; 4] {
    let count = |is: fn(&Said) -> bool| node.heard(session, is);
    [
        count(|said| matches!(said, Said::TypingEvent(_))),
        count(|said| matches!(said, Said::CursorEvent(_))),
        count(|said| matches!(said, Said::SignalEvent(_))),
        count(
            |said| matches!(said, Said::PresenceEvent(e) if e.state.as_known() == Some(PresenceState::Online)),
        ),
    ]
}

/// A session shows everything there is to show, in the conversation whose message `offset` it read.
fn show(node: &mut Node, session: SessionId, offset: u64) {
    node.say(session, 0, typing());
    node.say(session, 0, signal());
    let cursor =
        v1::Cursor { conversation: conversation(9).to_bytes(), offset, share: true, ..Default::default() };
    node.say(session, 8, cursor);
    node.pass_ms(1_000);
}

fn three(shards: u16) -> (Node, [SessionId; 3]) {
    let mut node = Node::new(shards, Limits::default());
    for u in 1..=3 {
        node.store.join(conversation(9), user(u));
    }
    let alice = comer(&mut node, 0, 1, 1, &[2, 3]);
    let bob = comer(&mut node, 1 % shards, 2, 2, &[1, 3]);
    let carol = comer(&mut node, 2 % shards, 3, 3, &[1, 2]);
    for k in 1..=9 {
        node.publish(carol, 9, k);
    }
    (node, [alice, bob, carol])
}

fn block(node: &mut Node, stands: bool) {
    match stands {
        true => node.store.blocks.insert((user(2), user(1))),
        false => node.store.blocks.remove(&(user(2), user(1))),
    };
    node.change(&Change::Block { user: user(2), other: user(1), stands });
}

#[test]
fn neither_side_of_a_block_sees_the_other_and_nobody_else_notices() {
    for shards in 1..=3 {
        let (mut node, [alice, bob, carol]) = three(shards);
        show(&mut node, alice, 1);
        assert_eq!(seen(&node, bob), [1, 1, 1, 0], "{shards} shards");
        block(&mut node, true);
        show(&mut node, alice, 2);
        show(&mut node, bob, 2);
        node.say(alice, 0, online());
        node.say(bob, 0, online());
        assert_eq!(seen(&node, bob), [1, 1, 1, 0]);
        assert_eq!(seen(&node, alice), [0, 0, 0, 0]);
        assert_eq!(seen(&node, carol), [3, 3, 3, 2]);
        assert_eq!(node.offsets(bob).len(), 9, "messages of a group go on");
        let later = comer(&mut node, 0, 2, 7, &[1, 3]);
        show(&mut node, alice, 3);
        assert_eq!(seen(&node, later), [0, 0, 0, 0], "a device that comes later");
        block(&mut node, false);
        show(&mut node, alice, 4);
        assert_eq!(seen(&node, bob), [2, 2, 2, 1], "until the block ends");
        assert_eq!(seen(&node, later), [1, 1, 1, 1]);
        assert_eq!((seen(&node, alice)[3], seen(&node, carol)[3]), (1, 2), "nobody names anybody again");
    }
}

#[test]
fn an_answer_that_is_older_than_the_end_of_a_block_hides_nobody() {
    let mut node = Node::new(1, Limits::default());
    for u in 1..=2 {
        node.store.join(conversation(9), user(u));
    }
    let alice = comer(&mut node, 0, 1, 1, &[]);
    let bob = node.attach(0, 2, 2);
    node.store.blocks.insert((user(2), user(1)));
    node.hold_store = true;
    node.subscribe(bob, 9, None);
    // The store answers before the block ends, and the answer is late.
    let (shard, ticket, request) = node.waiting.pop_front().expect("a request waits");
    let reply = node.store.answer(&request);
    block(&mut node, false);
    node.bring(shard, relay_proto::Event::Stored { ticket, reply });
    node.hold_store = false;
    while !node.waiting.is_empty() {
        node.answer_one();
    }
    node.say(alice, 0, signal());
    assert_eq!(seen(&node, bob)[2], 1);
}

#[test]
fn what_other_nodes_tell_of_a_blocked_one_is_not_shown() {
    let mut node = Node::with_peers(2, Limits::default(), true);
    for u in 1..=3 {
        node.store.join(conversation(9), user(u));
    }
    let bob = comer(&mut node, 0, 2, 2, &[]);
    let carol = comer(&mut node, 1, 3, 3, &[]);
    block(&mut node, true);
    from_afar(&mut node, 1);
    assert_eq!((seen(&node, bob), seen(&node, carol)), ([0; 4], [1, 0, 1, 0]));
}

/// Another node passes on that Alice signals and types, as a member of a membership version.
fn from_afar(node: &mut Node, members_version: u64) {
    let frame = signal_event(1, b"from afar");
    let (conversation, user) = (conversation(9), user(1));
    node.hear(2, &Hint::Signal { conversation, serial: 1, user, members_version, frame });
    let event = Ephemeral::Typing { active: true };
    node.hear(2, &Hint::Ephemeral { conversation, serial: 2, user, members_version, event });
    node.pass_ms(1_000);
}

fn signal_event(u: u8, body: &[u8]) -> Frame {
    let event = v1::SignalEvent {
        conversation: conversation(9).to_bytes(),
        sender: user(u).to_bytes(),
        device: user(u).to_bytes(),
        body: Bytes::copy_from_slice(body),
        ..Default::default()
    };
    let frame = v1::ServerFrame { body: Some(event.into()), ..Default::default() };
    Frame::new(&frame, Lane::Conversation(conversation(9).spread()))
}

/// Bob and Carol follow; Alice, who has a block with Bob from before they came, is added and no shard was told.
fn before_the_newcomer(mut node: Node, shards: u16) -> (Node, [SessionId; 2]) {
    for u in 2..=3 {
        node.store.join(conversation(9), user(u));
    }
    node.store.blocks.insert((user(2), user(1)));
    let bob = comer(&mut node, 0, 2, 2, &[]);
    let carol = comer(&mut node, 1 % shards, 3, 3, &[]);
    for k in 1..=9 {
        node.publish(carol, 9, k);
    }
    node.store.join(conversation(9), user(1));
    (node, [bob, carol])
}

#[test]
fn a_newcomer_is_kept_apart_from_the_first_moment() {
    for shards in 1..=3 {
        let (mut node, [bob, carol]) = before_the_newcomer(Node::new(shards, Limits::default()), shards);
        let alice = comer(&mut node, 2 % shards, 1, 1, &[]);
        show(&mut node, alice, 1);
        assert_eq!((seen(&node, bob), seen(&node, carol)), ([0; 4], [1, 1, 1, 0]), "{shards} shards");
        show(&mut node, bob, 1);
        assert_eq!((seen(&node, alice), seen(&node, carol)), ([0; 4], [2, 2, 2, 0]), "nor the other way");
        block(&mut node, false);
        show(&mut node, alice, 2);
        assert_eq!(seen(&node, bob), [1, 1, 1, 0], "until the block ends");
    }
}

#[test]
fn a_newcomer_of_another_node_waits_until_the_members_are_known() {
    let (mut node, [bob, carol]) = before_the_newcomer(Node::with_peers(2, Limits::default(), true), 2);
    let version = node.store.logs[&conversation(9)].version;
    node.store.fault = Some(StoreFault::Unavailable);
    from_afar(&mut node, version);
    assert_eq!((seen(&node, bob), seen(&node, carol)), ([0; 4], [0; 4]), "nobody can say who may see it");
    node.store.fault = None;
    node.pass_ms(10_000);
    assert_eq!((seen(&node, bob), seen(&node, carol)), ([0; 4], [0; 4]), "what is over is not shown late");
    let (mut node, [bob, carol]) = before_the_newcomer(Node::with_peers(2, Limits::default(), true), 2);
    from_afar(&mut node, version);
    assert_eq!((seen(&node, bob), seen(&node, carol)), ([0; 4], [1, 0, 1, 0]));
}

#[test]
fn more_changes_than_an_answer_carries_end_nobodys_watching() {
    for shards in 1..=2 {
        let (mut node, [bob, carol]) = before_the_newcomer(Node::new(shards, Limits::default()), shards);
        for u in 20..30 {
            node.store.join(conversation(9), user(u));
        }
        node.store.changes_max = 3;
        let alice = comer(&mut node, 0, 1, 1, &[]);
        let version = node.store.logs[&conversation(9)].version;
        node.change(&Change::Members { conversation: conversation(9), version });
        show(&mut node, alice, 1);
        assert_eq!((seen(&node, bob), seen(&node, carol)), ([0; 4], [1, 1, 1, 0]), "{shards} shards");
    }
}

#[test]
fn signals_wait_for_the_members_in_order_and_within_a_bound() {
    let (mut node, [bob, carol]) = before_the_newcomer(Node::with_peers(1, Limits::default(), true), 1);
    let members_version = node.store.logs[&conversation(9)].version;
    node.hold_store = true;
    for n in 0..80u8 {
        let (user, frame) = (user(1 + 2 * (n % 2)), signal_event(1 + 2 * (n % 2), &[n]));
        let (conversation, serial) = (conversation(9), u64::from(n) + 1);
        node.hear(2, &Hint::Signal { conversation, serial, user, members_version, frame });
    }
    assert_eq!((seen(&node, bob)[2], node.waiting.len()), (0, 1), "asked once for all");
    node.answer_one();
    let bodies = |session| -> Vec<u8> {
        let told = node.told[&session].iter();
        told.filter_map(|(_, said)| match said {
            Said::SignalEvent(event) => Some(event.body[0]),
            _ => None,
        })
        .collect()
    };
    assert_eq!(bodies(carol), (0..64).collect::<Vec<_>>());
    assert_eq!(bodies(bob), (0..64).filter(|n| n % 2 == 1).collect::<Vec<_>>(), "nothing of Alice");
}

#[test]
fn more_blocks_than_are_kept_hide_everybody() {
    let (mut node, [alice, bob, carol]) = {
        let mut node = Node::new(1, Limits { apart: 4, ..Limits::default() });
        for u in 1..=3 {
            node.store.join(conversation(9), user(u));
        }
        let sessions = [1, 2, 3].map(|u| comer(&mut node, 0, u, u, &[]));
        (node, sessions)
    };
    for other in 100..105 {
        node.change(&Change::Block { user: user(2), other: user(other), stands: true });
    }
    node.say(alice, 0, signal());
    assert_eq!((seen(&node, bob)[2], seen(&node, carol)[2]), (0, 1));
}

#[test]
fn a_first_contact_is_quiet_until_it_is_accepted() {
    for shards in 1..=2 {
        let mut node = Node::new(shards, Limits::default());
        for u in 1..=2 {
            node.store.join(conversation(9), user(u));
        }
        node.store.logs.get_mut(&conversation(9)).expect("a log").waiting = true;
        let alice = comer(&mut node, 0, 1, 1, &[]);
        let bob = comer(&mut node, 1 % shards, 2, 2, &[]);
        node.publish(alice, 9, 1);
        node.publish(alice, 9, 2);
        for session in [alice, bob] {
            show(&mut node, session, 1);
        }
        assert_eq!((seen(&node, alice), seen(&node, bob)), ([0; 4], [0; 4]), "neither way");
        assert_eq!(node.offsets(bob), [1, 2], "messages come");
        let log = node.store.logs.get_mut(&conversation(9)).expect("a log");
        log.waiting = false;
        log.version += 1;
        let version = log.version;
        node.change(&Change::Members { conversation: conversation(9), version });
        for session in [alice, bob] {
            show(&mut node, session, 2);
        }
        assert_eq!((seen(&node, alice), seen(&node, bob)), ([1, 1, 1, 0], [1, 1, 1, 0]), "{shards} shards");
    }
}
