//! Ephemeral publications: who gets a signal, who does not, and what it may never cost.

use bytes::Bytes;
use relay_proto::{Event, Limits};
use schema_wire::record::Change;
use schema_wire::v1;
use schema_wire::{Disconnect, Refused, SessionId};

use crate::node::{Node, Said, conversation, device, user};

fn signal(c: u8, body: &'static [u8]) -> v1::Signal {
    let conversation = conversation(c).to_bytes();
    v1::Signal { conversation, body: Bytes::from_static(body), ..Default::default() }
}

/// Bodies of the signals a session got, in order.
fn signals(node: &Node, session: SessionId) -> Vec<Bytes> {
    let told = node.told.get(&session).into_iter().flatten();
    let bodies = told.filter_map(|(_, said)| match said {
        Said::SignalEvent(event) => Some(event.body.clone()),
        _ => None,
    });
    bodies.collect()
}

/// Alice, Bob and Carol in one conversation and on three shards; Bob and Carol follow it.
fn three(shards: u16, limits: Limits) -> (Node, [SessionId; 3]) {
    let mut node = Node::new(shards, limits);
    let sessions = [1, 2, 3].map(|u| {
        node.store.join(conversation(9), user(u));
        node.attach(u16::from(u) % shards, u, u)
    });
    node.subscribe(sessions[1], 9, None);
    node.subscribe(sessions[2], 9, None);
    (node, sessions)
}

#[test]
fn a_signal_reaches_every_subscriber_but_its_sender() {
    for shards in 1..=4 {
        let (mut node, [alice, bob, carol]) = three(shards, Limits::default());
        let tablet = node.attach(0, 1, 9);
        node.subscribe(tablet, 9, None);
        let (idle, stranger) = (node.attach(0, 2, 8), node.attach(0, 4, 4));
        node.say(alice, 0, signal(9, b"from afar"));
        node.say(bob, 0, signal(9, b"from within"));
        node.say(stranger, 0, signal(9, b"from outside"));
        assert_eq!(signals(&node, bob), [&b"from afar"[..]]);
        assert_eq!(signals(&node, carol), [&b"from afar"[..], b"from within"]);
        assert_eq!(signals(&node, tablet), signals(&node, carol), "the user's other device");
        assert!([alice, idle, stranger].iter().all(|s| signals(&node, *s).is_empty()), "{shards} shards");
        assert!(node.refusals(stranger).is_empty(), "nothing tells whether the conversation exists");
        let told = node.told[&carol].iter().find_map(|(answers, said)| match said {
            Said::SignalEvent(event) => Some((*answers, event.clone())),
            _ => None,
        });
        let (answers, event) = told.expect("a signal");
        assert_eq!((answers, event.conversation), (0, conversation(9).to_bytes()));
        assert_eq!((event.sender, event.device), (user(1).to_bytes(), device(1).to_bytes()));
    }
}

#[test]
fn the_muted_and_those_who_left_are_left_out() {
    let (mut node, [alice, bob, carol]) = three(3, Limits::default());
    node.store.logs.get_mut(&conversation(9)).expect("a log").muted.insert(user(1), u64::MAX);
    node.say(alice, 0, signal(9, b"muted"));
    assert!(signals(&node, bob).is_empty() && node.refusals(alice).is_empty());
    // Carol leaves; who left is known only when the store has answered.
    let version = node.store.leave(conversation(9), user(3));
    node.hold_store = true;
    node.change(&Change::Members { conversation: conversation(9), version });
    node.say(bob, 0, signal(9, b"while looking"));
    node.hold_store = false;
    while !node.waiting.is_empty() {
        node.answer_one();
    }
    node.say(bob, 0, signal(9, b"after"));
    assert!(signals(&node, carol).is_empty());
    assert_eq!(node.heard(carol, |said| matches!(said, Said::Unsubscribed(_))), 1);
}

#[test]
fn nothing_comes_before_subscribed_or_after_unsubscribed() {
    let (mut node, [alice, bob, carol]) = three(2, Limits::default());
    node.hold_store = true;
    node.subscribe(alice, 9, None);
    node.say(bob, 0, signal(9, b"early"));
    node.answer_one();
    node.hold_store = false;
    assert!(signals(&node, alice).is_empty());
    node.stuck.push(carol);
    node.say(bob, 0, signal(9, b"late"));
    node.say(carol, 3, v1::Unsubscribe { conversation: conversation(9).to_bytes(), ..Default::default() });
    node.unstick(carol);
    assert_eq!(signals(&node, alice), [&b"late"[..]]);
    assert_eq!(signals(&node, carol), [&b"early"[..]], "what waited was dropped");
}

#[test]
fn too_large_is_refused_and_too_many_are_dropped() {
    let limits = Limits { signal_bytes: 4, ephemeral_per_s: 3, ..Limits::default() };
    let (mut node, [alice, bob, _]) = three(3, limits);
    node.say(alice, 7, signal(9, b"12345"));
    assert_eq!(node.refusals(alice), [Refused::TooLarge]);
    assert_eq!(node.told[&alice].last().expect("a refusal").0, 7);
    for _ in 0..9 {
        node.say(alice, 0, signal(9, b"1234"));
    }
    assert_eq!(signals(&node, bob).len(), 2, "the refused one counts as well");
    node.pass_ms(1_000);
    node.say(alice, 0, signal(9, b"more"));
    assert_eq!(signals(&node, bob).len(), 3);
    assert_eq!(node.closed.get(&alice), None);
}

#[test]
fn signals_never_cost_a_message_its_place() {
    let limits = Limits { outbox_bytes: 4_096, ephemeral_per_s: 1_000, ..Limits::default() };
    let (mut node, [alice, bob, carol]) = three(1, limits);
    node.stuck.push(bob);
    for _ in 0..100 {
        node.say(alice, 0, signal(9, &[7; 300]));
    }
    let (frames, bytes) = node.shards[0].waiting(bob).expect("it lives");
    assert!(frames > 0 && bytes <= 1_024, "{frames} frames of {bytes} bytes");
    let mut k = 0;
    while node.shards[0].waiting(bob).expect("it lives").1 < 3_500 {
        k += 1;
        node.publish(alice, 9, k);
    }
    node.say(alice, 0, signal(9, b"dropped"));
    node.unstick(bob);
    assert_eq!(node.offsets(bob), (1..=k as i64).collect::<Vec<_>>());
    assert_eq!(signals(&node, carol).len(), 101);
    assert_eq!(node.closed.get(&bob), None);
}

#[test]
fn a_message_that_needs_the_bytes_takes_them_from_signals() {
    let limits = Limits { outbox_bytes: 4_096, ephemeral_per_s: 1_000, ..Limits::default() };
    let (mut node, [alice, bob, _]) = three(1, limits);
    node.stuck.push(bob);
    for _ in 0..3 {
        node.say(alice, 0, signal(9, &[7; 200]));
    }
    let of_signals = node.shards[0].waiting(bob).expect("it lives").1;
    let mut k = 0;
    loop {
        k += 1;
        let before = node.shards[0].waiting(bob).expect("it lives").1;
        node.publish(alice, 9, k);
        if node.shards[0].waiting(bob).expect("a message never ends it").1 < before {
            break;
        }
    }
    assert!(of_signals > 600);
    node.unstick(bob);
    assert_eq!(node.offsets(bob), (1..=k as i64).collect::<Vec<_>>());
    assert!(signals(&node, bob).is_empty());
}

#[test]
fn what_waits_for_a_standing_is_bounded_and_early_data_is_refused() {
    let limits = Limits { ephemeral_per_s: 1_000, ..Limits::default() };
    let (mut node, [_, bob, _]) = three(1, limits);
    node.store.join(conversation(9), user(5));
    let dave = node.attach(0, 5, 5);
    node.hold_store = true;
    for _ in 0..200 {
        node.say(dave, 0, signal(9, b"patience"));
    }
    node.answer_one();
    assert!(signals(&node, bob).is_empty(), "who came is looked up first");
    node.answer_one();
    assert_eq!(signals(&node, bob).len(), 64);
    let frame = v1::ClientFrame { body: Some(signal(9, b"0-RTT").into()), ..Default::default() };
    node.bring(0, Event::Received { session: dave, frame, early: true });
    assert_eq!(node.refusals(dave), [Refused::NotInEarlyData]);
    assert_ne!(node.closed.get(&bob), Some(&Disconnect::SlowReader));
}
