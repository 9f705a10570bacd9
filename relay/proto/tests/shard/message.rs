//! The life of a message.

use relay_proto::event::Control;
use relay_proto::{Event, Limits};
use schema_wire::bus::{Hint, Life};
use schema_wire::record::{Change, StoreFault, StoreRequest};
use schema_wire::v1;
use schema_wire::{Disconnect, Refused};

use crate::node::{Node, Said, conversation, key, publish, user};

/// Alice and Bob in one conversation, on two shards out of three.
fn pair(limits: Limits) -> (Node, schema_wire::SessionId, schema_wire::SessionId) {
    let mut node = Node::new(3, limits);
    node.store.join(conversation(9), user(1));
    node.store.join(conversation(9), user(2));
    let (alice, bob) = (node.attach(0, 1, 1), node.attach(1, 2, 2));
    (node, alice, bob)
}

#[test]
fn a_message_is_acked_to_its_session_and_delivered_to_all_others() {
    let (mut node, alice, bob) = pair(Limits::default());
    let tablet = node.attach(2, 1, 3);
    for session in [alice, bob, tablet] {
        node.subscribe(session, 9, None);
    }
    for k in 1..=3 {
        node.publish(alice, 9, k);
    }
    assert_eq!(node.acks(alice), [(1, false), (2, false), (3, false)]);
    assert_eq!(node.offsets(alice), [] as [i64; 0]);
    assert_eq!(node.offsets(bob), [1, 2, 3]);
    assert_eq!(node.offsets(tablet), [1, 2, 3]);
}

#[test]
fn nothing_is_said_before_the_store_answered() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.subscribe(bob, 9, None);
    node.publish(alice, 9, 1);
    node.hold_store = true;
    node.publish(alice, 9, 2);
    assert_eq!((node.acks(alice).len(), node.offsets(bob).len()), (1, 1));
    node.answer_one();
    assert_eq!((node.acks(alice).len(), node.offsets(bob).len()), (2, 2));
}

#[test]
fn the_same_key_gets_the_first_offset_and_is_delivered_once() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.subscribe(bob, 9, None);
    for k in [1, 1, 2, 1] {
        node.publish(alice, 9, k);
    }
    assert_eq!(node.acks(alice), [(1, false), (1, true), (2, false), (1, true)]);
    assert_eq!(node.offsets(bob), [1, 2]);
}

#[test]
fn outcomes_out_of_order_are_delivered_in_order() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.subscribe(bob, 9, None);
    node.publish(alice, 9, 1);
    node.hold_store = true;
    node.publish(alice, 9, 2);
    node.publish(alice, 9, 3);
    // The store works in order, but its answers overtake each other.
    let (first, second) = (node.waiting.pop_front().expect("two"), node.waiting.pop_front().expect("two"));
    let (early, late) = (node.store.answer(&first.2), node.store.answer(&second.2));
    node.bring(second.0, Event::Stored { ticket: second.1, reply: late });
    assert_eq!(node.offsets(bob), [1], "3 waits for 2");
    node.bring(first.0, Event::Stored { ticket: first.1, reply: early });
    assert_eq!(node.offsets(bob), [1, 2, 3]);
}

#[test]
fn a_gap_is_read_from_the_store() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.subscribe(bob, 9, None);
    // Another node appends 1; nothing is heard of it.
    let other = schema_wire::record::Append {
        conversation: conversation(9),
        publish_key: key(77),
        sender: user(1),
        device: crate::node::device(1),
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: bytes::Bytes::new(),
        commitment: None,
    };
    node.store.answer(&StoreRequest::Append(other));
    node.publish(alice, 9, 2);
    assert_eq!(node.offsets(bob), [] as [i64; 0]);
    node.pass_ms(200);
    assert_eq!(node.offsets(bob), [1, 2]);
}

#[test]
fn a_failed_store_refuses_and_a_retry_succeeds() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.subscribe(bob, 9, None);
    node.publish(alice, 9, 1);
    node.store.fault = Some(StoreFault::Full);
    node.publish(alice, 9, 2);
    assert_eq!(node.refusals(alice), [Refused::StoreFull]);
    node.store.fault = None;
    node.publish(alice, 9, 2);
    assert_eq!(node.acks(alice), [(1, false), (2, false)]);
    assert_eq!(node.offsets(bob), [1, 2]);
}

#[test]
fn whoever_subscribes_later_gets_everything_once_in_order() {
    let limits = Limits { page: 3, outbox_frames: 8, tail_publications: 4, ..Limits::default() };
    let (mut node, alice, bob) = pair(limits);
    for k in 1..=20 {
        node.publish(alice, 9, k);
    }
    node.stuck.push(bob);
    node.subscribe(bob, 9, Some(0));
    node.unstick(bob);
    for k in 21..=25 {
        node.publish(alice, 9, k);
    }
    assert_eq!(node.offsets(bob), (1..=25).collect::<Vec<i64>>());
    assert_eq!(node.closed.get(&bob), None);
}

#[test]
fn a_slow_reader_is_parted_with_and_others_are_not() {
    let (mut node, alice, bob) = pair(Limits { outbox_frames: 8, publish_limit: 1_000, ..Limits::default() });
    let carol = node.attach(1, 2, 9);
    node.subscribe(bob, 9, None);
    node.subscribe(carol, 9, None);
    node.stuck.push(bob);
    for k in 1..=20 {
        node.publish(alice, 9, k);
    }
    assert_eq!(node.closed.get(&bob), Some(&Disconnect::SlowReader));
    assert_eq!(node.offsets(carol).len(), 20);
    assert_eq!(node.shards[1].waiting(bob), None);
}

#[test]
fn what_a_former_member_may_not_read_is_not_delivered() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.subscribe(bob, 9, None);
    node.publish(alice, 9, 1);
    // The notice is late: the publication itself says that members changed.
    let version = node.store.leave(conversation(9), user(2));
    node.publish(alice, 9, 2);
    assert_eq!(node.offsets(bob), [1]);
    assert_eq!(node.heard(bob, |said| matches!(said, Said::Unsubscribed(u) if u.code == 300)), 1);
    node.change(&Change::Members { conversation: conversation(9), version });
    node.publish(bob, 9, 3);
    assert_eq!(node.refusals(bob), [Refused::NotMember]);
    node.store.join(conversation(9), user(2));
    node.subscribe(bob, 9, Some(1));
    node.publish(alice, 9, 4);
    assert_eq!(node.offsets(bob), [1, -2, 3]);
}

#[test]
fn a_member_who_left_is_let_go_without_another_message() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.subscribe(bob, 9, None);
    node.publish(alice, 9, 1);
    let version = node.store.leave(conversation(9), user(2));
    node.change(&Change::Members { conversation: conversation(9), version });
    assert_eq!(node.heard(bob, |said| matches!(said, Said::Unsubscribed(_))), 1);
    assert_eq!(node.shards[1].counts().subscriptions, 0);
}

#[test]
fn what_was_deleted_or_has_expired_is_gone_from_the_tail() {
    let (mut node, alice, bob) = pair(Limits::default());
    let late = node.attach(1, 2, 9);
    node.subscribe(bob, 9, None);
    node.publish(alice, 9, 1);
    node.say(alice, 5, v1::Publish { expires_in: Some(1), ..publish(9, 2) });
    node.say(alice, 6, v1::Publish { kind: 1, relates_to: Some(1), ..publish(9, 3) });
    assert_eq!(node.offsets(bob), [1, 2, 3]);
    node.pass_ms(1_500);
    node.subscribe(late, 9, Some(0));
    assert_eq!(node.offsets(late), [-1, -2, 3]);
}

#[test]
fn the_message_limit_names_the_exact_wait() {
    let limits = Limits { publish_limit: 2, publish_window_s: 10, ..Limits::default() };
    let (mut node, alice, _) = pair(limits);
    node.publish(alice, 9, 1);
    node.pass_ms(4_000);
    node.publish(alice, 9, 2);
    node.publish(alice, 9, 3);
    let waits: Vec<u32> = node.told[&alice]
        .iter()
        .filter_map(|(_, said)| if let Said::Refusal(r) = said { Some(r.retry_after_ms) } else { None })
        .collect();
    assert_eq!(waits, [6_000]);
    node.pass_ms(6_000);
    node.publish(alice, 9, 3);
    assert_eq!(node.acks(alice).len(), 3);
}

#[test]
fn a_rewound_store_is_told_to_live_subscribers() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.subscribe(bob, 9, None);
    for k in 1..=5 {
        node.publish(alice, 9, k);
    }
    node.store.cut(3);
    node.change(&Change::Generation { generation: schema_wire::Generation(2) });
    let rewound =
        node.heard(bob, |said| matches!(said, Said::Rewound(r) if r.head == 3 && r.generation == 2));
    assert_eq!(rewound, 1);
    node.publish(alice, 9, 5);
    node.publish(alice, 9, 6);
    assert_eq!(node.offsets(bob), [1, 2, 3, 4, 5, 4, 5]);
}

#[test]
fn publications_of_other_nodes_are_merged_by_offset() {
    let mut first = Node::with_peers(1, Limits::default(), true);
    let mut second = Node::with_peers(1, Limits::default(), true);
    for node in [&mut first, &mut second] {
        node.store.join(conversation(9), user(1));
        node.store.join(conversation(9), user(2));
    }
    let alice = first.attach(0, 1, 1);
    let bob = second.attach(0, 2, 2);
    second.subscribe(bob, 9, None);
    for k in 1..=3 {
        first.publish(alice, 9, k);
    }
    second.store.logs = std::mem::take(&mut first.store.logs);
    first.forwarded.retain(|hint| matches!(hint, Hint::Publication(_)));
    let [one, two, three] = &first.forwarded[..] else { panic!("three were forwarded") };
    for hint in [two, one, one, three] {
        second.bring(0, Event::Forwarded { from: Life(2), hint: hint.clone() });
    }
    assert_eq!(second.offsets(bob), [1, 2, 3]);
}

/// Offsets acked per session when three devices on three shards publish as fast as they can.
fn spend(node: &mut Node, sessions: &[schema_wire::SessionId], k: &mut u64) -> usize {
    for _ in 0..12 {
        for session in sessions {
            *k += 1;
            node.publish(*session, 9, *k);
        }
    }
    sessions.iter().map(|s| node.acks(*s).len()).sum()
}

#[test]
fn devices_on_several_shards_share_one_limit() {
    let limits =
        Limits { publish_limit: 10, publish_window_s: 10, refusals_per_min: 10_000, ..Limits::default() };
    let mut node = Node::new(3, limits);
    node.store.join(conversation(9), user(1));
    let first = node.attach(0, 1, 1);
    let mut k = 0;
    for _ in 0..8 {
        k += 1;
        node.publish(first, 9, k);
    }
    let others = [node.attach(1, 1, 2), node.attach(2, 1, 3)];
    let all = [first, others[0], others[1]];
    assert_eq!(spend(&mut node, &all, &mut k), 10, "eight of them before the others came");
    node.bring(0, Event::Disconnected { session: first });
    assert_eq!(spend(&mut node, &all, &mut k), 10, "leaving a shard frees nothing");
    node.pass_ms(11_000);
    assert_eq!(spend(&mut node, &all, &mut k), 20);
    // One device that publishes while the other does not gets most of the limit, by asking for what is left.
    node.pass_ms(11_000);
    for _ in 0..12 {
        k += 1;
        node.publish(others[0], 9, k);
        node.pass_ms(100);
    }
    let total: usize = all.iter().map(|s| node.acks(*s).len()).sum();
    assert!((28..=30).contains(&total), "{total}");
}

#[test]
fn another_message_limit_holds_at_once_on_every_shard() {
    let limits =
        Limits { publish_limit: 30, publish_window_s: 10, refusals_per_min: 10_000, ..Limits::default() };
    let mut node = Node::new(3, limits);
    node.store.join(conversation(9), user(1));
    let all = [node.attach(0, 1, 1), node.attach(1, 1, 2), node.attach(2, 1, 3)];
    let set = |node: &mut Node, max, window_s| {
        for shard in 0..3 {
            node.bring(shard, Event::Control { control: Control::MessageLimit { max, window_s } });
        }
    };
    let mut k = 0;
    set(&mut node, 6, 10);
    assert_eq!(spend(&mut node, &all, &mut k), 6, "lowered, over all shards together");
    set(&mut node, 10, 10);
    assert_eq!(spend(&mut node, &all, &mut k), 10, "raised: what was used still counts");
    set(&mut node, 8, 10);
    assert_eq!(spend(&mut node, &all, &mut k), 10, "below what was used: nothing more");
    node.pass_ms(11_000);
    assert_eq!(spend(&mut node, &all, &mut k), 18, "and no more than it in the next window");
    node.pass_ms(11_000);
    set(&mut node, 8, 2);
    assert_eq!(spend(&mut node, &all, &mut k), 26);
    node.pass_ms(3_000);
    assert_eq!(spend(&mut node, &all, &mut k), 34, "a shorter window");
}

#[test]
fn a_user_who_is_gone_leaves_nothing_behind() {
    let mut node = Node::new(2, Limits::default());
    node.store.join(conversation(9), user(1));
    let session = node.attach(1, 1, 1);
    node.subscribe(session, 9, Some(0));
    node.publish(session, 9, 1);
    node.bring(1, Event::Disconnected { session });
    node.pass_ms(70_000);
    for shard in &node.shards {
        let counts = relay_proto::Counts { standings: 0, ..shard.counts() };
        assert_eq!(counts, relay_proto::Counts::default());
    }
}

#[test]
fn an_ack_of_a_newer_life_of_the_store_hides_nothing_of_the_older_one() {
    let (mut node, alice, bob) = pair(Limits::default());
    node.publish(bob, 9, 1);
    node.subscribe(bob, 9, None);
    node.hold_store = true;
    node.subscribe(alice, 9, Some(0));
    node.answer_one();
    let at = node.waiting.iter().position(|(.., asked)| matches!(asked, StoreRequest::Recover { .. }));
    let (shard, ticket, asked) = node.waiting.remove(at.expect("a page is asked for")).expect("it is there");
    let reply = node.store.answer(&asked);
    // The store goes back while the page is on its way, and Alice's own message takes the place of Bob's.
    node.store.cut(0);
    node.publish(alice, 9, 2);
    let at = node.waiting.iter().position(|(.., asked)| matches!(asked, StoreRequest::Append(_)));
    node.waiting.rotate_left(at.expect("an append is asked for"));
    node.answer_one();
    assert_eq!(node.acks(alice), [(1, false)]);
    node.bring(shard, Event::Stored { ticket, reply });
    let bobs = |said: &Said| matches!(said, Said::Delivery(d) if d.publish_key[..] == key(1).0[..]);
    assert_eq!(node.heard(alice, bobs), 1);
}
