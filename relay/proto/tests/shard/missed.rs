//! Missed: the change log forgot what this node had not read. Whoever is here comes again, and gets what the store says now.

use relay_proto::Limits;
use schema_wire::record::Change;
use schema_wire::{Disconnect, Refused, SessionId};

use crate::node::{Node, Said, conversation, user};

/// Alice, Bob and Carol talk; each has a session that follows.
fn three(shards: u16) -> (Node, [SessionId; 3]) {
    let mut node = Node::new(shards, Limits::default());
    for u in 1..=3 {
        node.store.join(conversation(9), user(u));
    }
    let sessions = [1, 2, 3].map(|u| {
        let session = node.attach(u16::from(u) % shards, u, u);
        node.subscribe(session, 9, None);
        session
    });
    for k in 1..=3 {
        node.publish(sessions[0], 9, k);
    }
    (node, sessions)
}

#[test]
fn everybody_comes_again_and_nothing_is_remembered() {
    for shards in 1..=3 {
        let (mut node, sessions) = three(shards);
        node.change(&Change::Missed);
        for session in sessions {
            assert_eq!(node.closed.get(&session), Some(&Disconnect::InternalFault), "{shards} shards");
        }
        for shard in &node.shards {
            let counts = shard.counts();
            let kept = (counts.sessions, counts.feeds, counts.homes, counts.held, counts.standings);
            assert_eq!(kept, (0, 0, 0, 0, 0), "{shards} shards");
        }
    }
}

#[test]
fn who_attaches_meanwhile_is_asked_about_again() {
    let mut node = Node::new(1, Limits::default());
    node.hold_store = true;
    let session = node.attach(0, 1, 1);
    // The answer on its way may be older than what was missed.
    node.change(&Change::Missed);
    assert_eq!(node.closed.get(&session), Some(&Disconnect::InternalFault));
    node.answer_one();
    assert_eq!(node.heard(session, |said| matches!(said, Said::Welcome(_))), 0);
}

#[test]
fn what_was_missed_holds_for_those_who_come_again() {
    for shards in 1..=3 {
        let (mut node, [alice, bob, _]) = three(shards);
        node.publish(bob, 9, 10);
        // None of this is told.
        node.store.logs.get_mut(&conversation(9)).expect("a log").deleted.insert(2);
        node.store.blocks.insert((user(2), user(1)));
        node.store.leave(conversation(9), user(3));
        node.change(&Change::Missed);
        let [alice, bob, carol] = [(alice, 1), (bob, 2), (bob, 3)].map(|(was, u)| {
            let session = node.attach(was.shard().0, u, u);
            node.subscribe(session, 9, Some(0));
            session
        });
        assert_eq!(node.offsets(bob), [1, -2, 3, 4], "{shards} shards");
        assert_eq!(node.refusals(carol), [Refused::NotMember]);
        let typing = schema_wire::v1::Typing {
            conversation: conversation(9).to_bytes(),
            active: true,
            ..Default::default()
        };
        node.say(alice, 0, typing);
        node.pass_ms(1_000);
        assert_eq!(node.heard(bob, |said| matches!(said, Said::TypingEvent(_))), 0, "kept apart");
    }
}
