//! Presence: whoever is named in Watch is shown as soon and as long as they may be, and what they show last stands.

use relay_proto::Limits;
use schema_wire::record::{Change, StoreFault, StoreRequest};
use schema_wire::v1::{self, PresenceState as P};
use schema_wire::{Offset, SessionId};

use crate::node::{Node, Said, conversation, user};

fn say(node: &mut Node, session: SessionId, state: P) {
    node.say(session, 0, v1::Presence { state: state.into(), ..Default::default() });
}

fn watch(node: &mut Node, session: SessionId, users: &[u8]) {
    let users = users.iter().map(|u| user(*u).to_bytes()).collect();
    let conversations = vec![conversation(9).to_bytes()];
    node.say(session, 2, v1::Watch { conversations, users, ..Default::default() });
}

/// The user's own stream has something new: they joined something, say.
fn joined(node: &mut Node, u: u8) {
    node.change(&Change::UserEvents { user: user(u), head: Offset(0) });
}

/// What a session was shown of a user, oldest first.
fn shown(node: &Node, session: SessionId, u: u8) -> Vec<P> {
    let of = |said: &Said| match said {
        Said::PresenceEvent(event) if event.user == user(u).to_bytes() => event.state.as_known(),
        _ => None,
    };
    node.told.get(&session).into_iter().flatten().filter_map(|(_, said)| of(said)).collect()
}

fn three(shards: u16, limits: Limits) -> (Node, [SessionId; 3]) {
    let mut node = Node::new(shards, limits);
    for u in 1..=3 {
        node.store.join(conversation(9), user(u));
    }
    let sessions = [1, 2, 3].map(|u| node.attach(u16::from(u) % shards, u, u));
    (node, sessions)
}

#[test]
fn what_is_shown_beyond_the_limit_is_shown_a_second_later() {
    let (mut node, [alice, bob, _]) = three(2, Limits { ephemeral_per_s: 3, ..Limits::default() });
    watch(&mut node, bob, &[1]);
    for state in [P::Online, P::Away, P::Online, P::Away, P::Hidden] {
        say(&mut node, alice, state);
    }
    assert_eq!(shown(&node, bob, 1), [P::Offline, P::Online, P::Away, P::Online]);
    node.pass_ms(999);
    assert_eq!(shown(&node, bob, 1).len(), 4, "not before the second is over");
    node.pass_ms(1);
    assert_eq!(shown(&node, bob, 1)[4..], [P::Offline], "and only what was said last");
    say(&mut node, alice, P::Online);
    node.pass_ms(5_000);
    assert_eq!(shown(&node, bob, 1)[5..], [P::Online], "what waited does not come back");
}

#[test]
fn a_question_about_a_shorter_list_does_not_undo_a_longer_one() {
    for shards in 1..=3 {
        let (mut node, [alice, bob, _]) = three(shards, Limits::default());
        watch(&mut node, bob, &[3]);
        node.hold_store = true;
        watch(&mut node, bob, &[1, 3]);
        // Whether bob and carol still share something is looked at, while it is not known yet whether bob may see alice.
        joined(&mut node, 3);
        while !node.waiting.is_empty() {
            node.answer_one();
        }
        node.hold_store = false;
        say(&mut node, alice, P::Online);
        assert_eq!(shown(&node, bob, 1), [P::Offline, P::Online], "{shards} shards");
    }
}

#[test]
fn who_may_be_seen_only_later_is_seen_then() {
    for shards in 1..=3 {
        let (mut node, [alice, bob, _]) = three(shards, Limits::default());
        let dave = node.attach(0, 4, 4);
        watch(&mut node, bob, &[1, 4]);
        watch(&mut node, dave, &[1, 2]);
        for session in [alice, bob, dave] {
            say(&mut node, session, P::Online);
        }
        assert_eq!((shown(&node, bob, 4), shown(&node, dave, 1)), (vec![], vec![]), "strangers");
        node.store.join(conversation(8), user(2));
        node.store.join(conversation(8), user(4));
        joined(&mut node, 4);
        node.pass_ms(500);
        assert_eq!(shown(&node, bob, 4), [P::Online], "{shards} shards");
        assert_eq!(shown(&node, dave, 2), [P::Online], "{shards} shards");
        assert_eq!(shown(&node, dave, 1), [], "still a stranger");
        node.store.leave(conversation(8), user(4));
        joined(&mut node, 4);
        node.pass_ms(500);
        say(&mut node, dave, P::Away);
        assert_eq!(shown(&node, bob, 4), [P::Online], "a stranger again");
        node.store.join(conversation(8), user(4));
        joined(&mut node, 4);
        node.pass_ms(500);
        assert_eq!(shown(&node, bob, 4), [P::Online, P::Away], "and an acquaintance again");
    }
}

#[test]
fn many_changes_ask_the_store_twice_a_second() {
    let (mut node, [_, bob, _]) = three(1, Limits::default());
    watch(&mut node, bob, &[1]);
    node.hold_store = true;
    for turn in 0..4 {
        for _ in 0..50 {
            joined(&mut node, 1);
        }
        let asked =
            node.waiting.iter().filter(|(.., request)| matches!(request, StoreRequest::Acquaintances { .. }));
        assert_eq!(asked.count(), usize::from(turn > 0));
        while !node.waiting.is_empty() {
            node.answer_one();
        }
        node.pass_ms(500);
    }
}

#[test]
fn what_the_store_could_not_say_is_asked_again() {
    let (mut node, [alice, bob, _]) = three(2, Limits { retry_ms: 200, ..Limits::default() });
    node.store.fault = Some(StoreFault::Unavailable);
    watch(&mut node, bob, &[1]);
    assert_eq!(node.heard(bob, |said| matches!(said, Said::Done(_))), 1);
    node.pass_ms(500);
    node.store.fault = None;
    node.pass_ms(500);
    say(&mut node, alice, P::Online);
    let typing = v1::Typing { conversation: conversation(9).to_bytes(), active: true, ..Default::default() };
    node.say(alice, 0, typing);
    node.pass_ms(1_000);
    assert_eq!(shown(&node, bob, 1), [P::Offline, P::Online]);
    assert_eq!(node.heard(bob, |said| matches!(said, Said::TypingEvent(_))), 1);
}

#[test]
fn who_names_somebody_makes_nobody_else_hear_of_them_again() {
    for shards in 1..=2 {
        let (mut node, [alice, bob, carol]) = three(shards, Limits::default());
        say(&mut node, alice, P::Online);
        watch(&mut node, bob, &[1]);
        watch(&mut node, carol, &[1]);
        let later = node.attach(0, 3, 4);
        watch(&mut node, later, &[1, 2]);
        for session in [bob, carol, later] {
            assert_eq!(shown(&node, session, 1), [P::Online], "{shards} shards");
        }
    }
}
