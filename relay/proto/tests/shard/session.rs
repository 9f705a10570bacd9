//! The life of a session.

use relay_proto::event::Control;
use relay_proto::{Event, Limits};
use schema_wire::record::{Change, UserStatus};
use schema_wire::v1::{self, ClientFrame, PresenceState};
use schema_wire::{Disconnect, Offset, Refused};

use crate::node::{Node, Said, conversation, device, publish, user};

#[test]
fn hello_is_first_and_only_once() {
    let mut node = Node::new(1, Limits::default());
    let session = node.connect(0);
    node.say(session, 1, v1::Ping::default());
    assert_eq!(node.refusals(session), [Refused::NotGreeted]);
    let token = node.token(1, 1);
    let hello = v1::Hello { versions: vec![1], token, ..Default::default() };
    node.say(session, 2, hello.clone());
    assert_eq!(node.heard(session, |said| matches!(said, Said::Welcome(w) if w.version == 1)), 1);
    node.say(session, 3, hello);
    assert_eq!(node.refusals(session).len(), 2);
}

#[test]
fn one_session_is_closed_if_it_is_that_users() {
    let mut node = Node::new(2, Limits::default());
    let sessions = [node.attach(0, 1, 1), node.attach(0, 1, 2), node.attach(1, 2, 3)];
    let close =
        |session, u| Control::DisconnectSession { session, user: user(u), with: Disconnect::SlowReader };
    node.control(&close(sessions[0], 2));
    assert!(node.closed.is_empty(), "numbers begin anew when a node does: the number alone is not enough");
    node.control(&close(sessions[0], 1));
    node.control(&close(sessions[2], 2));
    let closed: Vec<_> = sessions.map(|session| node.closed.get(&session).copied()).to_vec();
    assert_eq!(closed, [Some(Disconnect::SlowReader), None, Some(Disconnect::SlowReader)]);
}

#[test]
fn who_may_not_come_in_is_told_why() {
    let mut node = Node::new(1, Limits::default());
    node.store.status.insert(user(2), UserStatus::Banned);
    node.store.revoked.insert(device(3));
    let mut came = |versions: Vec<u32>, token: String, as_device: &[u8]| {
        let session = node.connect(0);
        let device = as_device.to_vec().into();
        node.claims.clear();
        for (u, d) in [(1, 1), (2, 2), (1, 3)] {
            node.token(u, d);
        }
        node.say(session, 1, v1::Hello { versions, token, device, ..Default::default() });
        (node.refusals(session), node.closed[&session])
    };
    let token = |u: u8, d: u8| format!("{u}/{d}/1700000000");
    assert_eq!(
        came(vec![2], token(1, 1), &[]),
        (vec![Refused::VersionUnsupported], Disconnect::VersionUnsupported)
    );
    assert_eq!(
        came(vec![1], "forged".into(), &[]),
        (vec![Refused::TokenInvalid], Disconnect::Unauthenticated)
    );
    assert_eq!(
        came(vec![1], token(1, 1), &[9; 16]),
        (vec![Refused::TokenInvalid], Disconnect::Unauthenticated)
    );
    assert_eq!(came(vec![1], token(2, 2), &[]), (vec![Refused::Banned], Disconnect::Banned));
    assert_eq!(came(vec![1], token(1, 3), &[]), (vec![Refused::DeviceRevoked], Disconnect::DeviceRevoked));
}

#[test]
fn what_was_given_up_is_answered_before_what_is_asked_next() {
    let mut node = Node::new(1, Limits::default());
    node.store.join(conversation(9), user(1));
    let session = node.attach(0, 1, 1);
    let wire = conversation(9).to_bytes();
    let subscribe = || v1::Subscribe { conversation: wire.clone(), ..Default::default() };
    node.hold_store = true;
    node.say(session, 2, subscribe());
    node.say(session, 3, v1::Unsubscribe { conversation: wire.clone(), ..Default::default() });
    node.say(session, 4, subscribe());
    // The store overtakes itself.
    node.waiting.swap(0, 1);
    node.answer_one();
    node.answer_one();
    let about = |said: &Said| matches!(said, Said::Subscribed(_) | Said::Unsubscribed(_));
    let told = node.told[&session].iter().filter(|(_, said)| about(said));
    let told: Vec<(u64, bool)> = told.map(|(to, said)| (*to, matches!(said, Said::Subscribed(_)))).collect();
    assert_eq!(told, [(2, false), (3, false), (4, true)]);
    assert_eq!(node.shards[0].counts().subscriptions, 1);
}

#[test]
fn what_was_given_up_is_not_resumed_later() {
    let mut node = Node::new(1, Limits::default());
    for c in [8, 9] {
        node.store.join(conversation(c), user(1));
    }
    let session = node.connect(0);
    let token = node.token(1, 1);
    let resume =
        [8, 9].map(|c| v1::Resume { conversation: conversation(c).to_bytes(), ..Default::default() });
    node.hold_store = true;
    let hello = v1::Hello { versions: vec![1], token, resume: resume.to_vec(), ..Default::default() };
    node.say(session, 1, hello);
    node.answer_one();
    node.say(session, 2, v1::Unsubscribe { conversation: conversation(9).to_bytes(), ..Default::default() });
    node.hold_store = false;
    while !node.waiting.is_empty() {
        node.answer_one();
    }
    assert_eq!(node.heard(session, |said| matches!(said, Said::Subscribed(s) if s.conversation[0] == 8)), 1);
    assert_eq!(node.heard(session, |said| matches!(said, Said::Subscribed(s) if s.conversation[0] == 9)), 0);
    let answered = node.told[&session].iter().filter(|(_, said)| matches!(said, Said::Unsubscribed(_)));
    assert_eq!(answered.map(|(to, _)| *to).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn hello_resumes_in_order() {
    let mut node = Node::new(2, Limits::default());
    for c in [9, 8] {
        node.store.join(conversation(c), user(1));
    }
    let writer = node.attach(0, 1, 1);
    for k in 1..=3 {
        node.publish(writer, 9, k);
    }
    node.publish(writer, 8, 4);
    let session = node.connect(1);
    let token = node.token(1, 2);
    let resume = [9u8, 7, 8]
        .map(|c| v1::Resume {
            conversation: conversation(c).to_bytes(),
            after: v1::Position { generation: 1, offset: 1, ..Default::default() }.into(),
            ..Default::default()
        })
        .to_vec();
    node.say(session, 1, v1::Hello { versions: vec![1], token, resume, ..Default::default() });
    let answers: Vec<u32> = node.told[&session]
        .iter()
        .filter_map(|(answers, said)| match said {
            Said::Subscribed(s) if *answers == 1 => Some(u32::from(s.conversation[0])),
            Said::Refusal(r) if *answers == 1 => Some(r.code),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [9, Refused::NotMember.code(), 8]);
    assert_eq!(node.offsets(session), [2, 3]);
}

#[test]
fn early_data_changes_nothing() {
    let mut node = Node::new(1, Limits::default());
    node.store.join(conversation(9), user(1));
    let session = node.attach(0, 1, 1);
    let frame = ClientFrame { request: 5, body: Some(publish(9, 1).into()), ..Default::default() };
    node.bring(0, Event::Received { session, frame, early: true });
    assert_eq!(node.refusals(session), [Refused::NotInEarlyData]);
}

#[test]
fn the_same_device_replaces_its_older_session_on_any_shard() {
    let mut node = Node::new(3, Limits::default());
    let older = node.attach(0, 1, 1);
    let other = node.attach(1, 1, 2);
    let newer = node.attach(2, 1, 1);
    assert_eq!(node.closed.get(&older), Some(&Disconnect::Replaced));
    assert_eq!((node.closed.get(&other), node.closed.get(&newer)), (None, None));
}

#[test]
fn changes_cut_live_sessions() {
    let mut node = Node::new(2, Limits::default());
    let sessions: Vec<_> = (1..=5).map(|u| node.attach(u16::from(u % 2), u, u)).collect();
    let now = node.now.unix_ms / 1_000;
    node.change(&Change::UserStatus { user: user(1), status: UserStatus::Suspended { until: None } });
    node.change(&Change::UserStatus { user: user(2), status: UserStatus::Deleted });
    node.change(&Change::DeviceRevoked { user: user(3), device: device(3) });
    node.change(&Change::TokensRevoked { user: user(4), not_before: now + 1 });
    node.change(&Change::DeviceRevoked { user: user(5), device: device(6) });
    let closed: Vec<_> = sessions.iter().map(|s| node.closed.get(s).copied()).collect();
    let expected = [
        Disconnect::Suspended,
        Disconnect::AccountGone,
        Disconnect::DeviceRevoked,
        Disconnect::Unauthenticated,
    ];
    assert_eq!(closed[..4], expected.map(Some));
    assert_eq!(closed[4], None);
}

#[test]
fn a_change_during_attach_is_not_missed() {
    let mut node = Node::new(1, Limits::default());
    node.hold_store = true;
    let session = node.attach(0, 1, 1);
    node.change(&Change::UserStatus { user: user(1), status: UserStatus::Banned });
    assert_eq!(node.closed.get(&session), Some(&Disconnect::Banned));
    node.answer_one();
    assert_eq!(node.heard(session, |said| matches!(said, Said::Welcome(_))), 0);
}

#[test]
fn a_session_ends_with_its_token_unless_refreshed() {
    let mut node = Node::new(1, Limits { idle_ms: 100_000_000, ..Limits::default() });
    let (kept, lost) = (node.attach(0, 1, 1), node.attach(0, 2, 2));
    node.pass_ms(3_000_000);
    let token = node.token(1, 1);
    node.say(kept, 2, v1::Refresh { token, ..Default::default() });
    let foreign = node.token(2, 3);
    node.say(kept, 3, v1::Refresh { token: foreign, ..Default::default() });
    assert_eq!(node.refusals(kept), [Refused::TokenInvalid]);
    node.pass_ms(600_000);
    assert_eq!(node.closed.get(&lost), Some(&Disconnect::TokenExpired));
    assert_eq!(node.closed.get(&kept), None);
    // The wall clock jumps: the next event of the shard finds out.
    node.now.unix_ms += 7_200_000;
    node.pass_ms(10);
    node.bring(0, Event::Timeout);
    node.pass_ms(10);
    assert_eq!(node.closed.get(&kept), Some(&Disconnect::TokenExpired));
}

#[test]
fn silence_and_a_missing_hello_are_cut() {
    let mut node = Node::new(1, Limits::default());
    let silent = node.attach(0, 1, 1);
    let mute = node.connect(0);
    node.pass_ms(10_001);
    assert_eq!(node.closed.get(&mute), Some(&Disconnect::HandshakeTimeout));
    node.pass_ms(50_000);
    node.say(silent, 2, v1::Ping::default());
    node.pass_ms(60_000);
    assert_eq!(node.closed.get(&silent), None);
    node.pass_ms(31_000);
    assert_eq!(node.closed.get(&silent), Some(&Disconnect::IdleTimeout));
}

#[test]
fn user_events_come_in_order_from_the_position() {
    let mut node = Node::new(1, Limits { page: 2, outbox_frames: 6, ..Limits::default() });
    for _ in 0..7 {
        node.store.add_event(user(1));
    }
    let session = node.connect(0);
    let token = node.token(1, 1);
    let user_position = v1::Position { generation: 1, offset: 2, ..Default::default() }.into();
    node.stuck.push(session);
    node.say(session, 1, v1::Hello { versions: vec![1], token, user_position, ..Default::default() });
    node.unstick(session);
    let head = node.store.add_event(user(1));
    node.change(&Change::UserEvents { user: user(1), head: Offset(head) });
    let offsets: Vec<u64> = node.told[&session]
        .iter()
        .filter_map(|(_, said)| if let Said::UserEvent(e) = said { Some(e.offset) } else { None })
        .collect();
    assert_eq!(offsets, [3, 4, 5, 6, 7, 8]);
}

#[test]
fn typing_goes_to_those_who_watch_and_never_back() {
    let mut node = Node::new(2, Limits::default());
    for u in 1..=3 {
        node.store.join(conversation(9), user(u));
    }
    let (alice, bob, carol) = (node.attach(0, 1, 1), node.attach(1, 2, 2), node.attach(0, 3, 3));
    let stranger = node.attach(1, 4, 4);
    let watch = v1::Watch { conversations: vec![conversation(9).to_bytes()], ..Default::default() };
    for session in [alice, bob, stranger] {
        node.say(session, 2, watch.clone());
    }
    node.subscribe(carol, 9, None);
    let typing = v1::Typing { conversation: conversation(9).to_bytes(), active: true, ..Default::default() };
    node.say(alice, 0, typing.clone());
    node.say(stranger, 0, typing);
    node.pass_ms(1_000);
    let heard = |session| node.heard(session, |said| matches!(said, Said::TypingEvent(_)));
    assert_eq!([alice, bob, carol, stranger].map(heard), [0, 1, 0, 0]);
}

#[test]
fn presence_is_shown_to_acquaintances_until_the_last_session_ends() {
    let mut node = Node::new(3, Limits::default());
    node.store.join(conversation(9), user(1));
    node.store.join(conversation(9), user(2));
    let (alice, bob, stranger) = (node.attach(0, 1, 1), node.attach(1, 2, 2), node.attach(2, 3, 3));
    let watch = v1::Watch { users: vec![user(1).to_bytes()], ..Default::default() };
    node.say(bob, 2, watch.clone());
    node.say(stranger, 2, watch);
    node.say(alice, 0, v1::Presence { state: PresenceState::Online.into(), ..Default::default() });
    node.bring(0, Event::Disconnected { session: alice });
    let states: Vec<_> = node.told[&bob]
        .iter()
        .filter_map(|(_, said)| if let Said::PresenceEvent(e) = said { e.state.as_known() } else { None })
        .collect();
    assert_eq!(states, [PresenceState::Offline, PresenceState::Online, PresenceState::Offline]);
    assert_eq!(node.heard(stranger, |said| matches!(said, Said::PresenceEvent(_))), 0);
}

#[test]
fn draining_tells_everybody_finishes_and_ends() {
    let mut node = Node::new(2, Limits::default());
    node.store.join(conversation(9), user(1));
    let sessions = [node.attach(0, 1, 1), node.attach(1, 1, 2)];
    node.publish(sessions[0], 9, 1);
    node.hold_store = true;
    node.publish(sessions[0], 9, 2);
    node.control(&Control::Drain { reconnect_after_ms: 100, alternate: String::new(), deadline_ms: 1_000 });
    node.publish(sessions[0], 9, 3);
    assert_eq!(node.refusals(sessions[0]), [Refused::Draining]);
    node.pass_ms(600);
    assert_eq!(node.drained, 1, "one shard waits for an append");
    node.answer_one();
    assert_eq!(node.acks(sessions[0]), [(1, false), (2, false)]);
    node.pass_ms(600);
    assert_eq!(node.drained, 2);
    assert!(sessions.iter().all(|s| node.closed[s] == Disconnect::Draining));
    assert!(sessions.iter().all(|s| node.heard(*s, |said| matches!(said, Said::Notice(_))) == 1));
    let late = node.connect(0);
    assert_eq!(node.closed.get(&late), Some(&Disconnect::Draining));
}

#[test]
fn those_who_are_sent_away_neither_leave_nor_come_back_at_one_moment() {
    let mut node = Node::new(1, Limits::default());
    let sessions: Vec<_> = (1..=60).map(|n| node.attach(0, n, n)).collect();
    node.control(&Control::Drain { reconnect_after_ms: 1_000, alternate: String::new(), deadline_ms: 6_000 });
    let after = |said: &Said| match said {
        Said::Notice(v1::Notice { notice: Some(v1::notice::Notice::Draining(told)), .. }) => {
            Some(told.reconnect_after_ms)
        }
        _ => None,
    };
    let told = |session| node.told[session].iter().find_map(|(_, said)| after(said)).expect("each is told");
    let mut waits: Vec<u32> = sessions.iter().map(told).collect();
    waits.sort_unstable();
    assert!(waits[0] >= 1_000 && waits[59] <= 1_500, "{waits:?}");
    let crowd = waits.windows(6).map(|six| six[5] - six[0]).min();
    assert!(crowd > Some(5), "six of them within {crowd:?} ms");
    for second in 1..=6 {
        node.pass_ms(1_000);
        let left = node.closed.len();
        assert!(left.abs_diff(second * 10) <= 2, "{left} left within {second} s");
    }
}

#[test]
fn a_client_that_keeps_sending_nonsense_is_parted_with() {
    let mut node = Node::new(1, Limits { refusals_per_min: 3, ..Limits::default() });
    let session = node.attach(0, 1, 1);
    for _ in 0..4 {
        node.bring(0, Event::Undecodable { session });
    }
    assert_eq!(node.closed.get(&session), Some(&Disconnect::Abusive));
}

#[test]
fn cursors_never_go_back_and_are_shared_when_asked() {
    let mut node = Node::new(1, Limits::default());
    node.store.join(conversation(9), user(1));
    node.store.join(conversation(9), user(2));
    let (alice, bob) = (node.attach(0, 1, 1), node.attach(0, 2, 2));
    let watch = v1::Watch { conversations: vec![conversation(9).to_bytes()], ..Default::default() };
    node.say(bob, 2, watch);
    for (offset, share) in [(3, true), (2, true), (5, false), (6, true)] {
        let cursor =
            v1::Cursor { conversation: conversation(9).to_bytes(), offset, share, ..Default::default() };
        node.say(alice, 7, cursor);
        node.pass_ms(500);
    }
    assert_eq!(node.heard(alice, |said| matches!(said, Said::Done(_))), 4);
    let seen: Vec<u64> = node.told[&bob]
        .iter()
        .filter_map(|(_, said)| if let Said::CursorEvent(e) = said { Some(e.offset) } else { None })
        .collect();
    assert_eq!(seen, [3, 6]);
}
