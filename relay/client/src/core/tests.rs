//! The mind against scripts on a virtual clock: order, gaps, rewinds, paging, draining, tokens, heartbeat.

use std::time::Duration;

use schema_wire::v1::{self, client_frame, server_frame};
use schema_wire::{ConversationId, Offset, Refused};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;
use crate::error::ConnectError;
use crate::limits;

const C: ConversationId = ConversationId([1; 16]);
const SECOND: Duration = Duration::from_secs(1);

/// A mind, its clock, and the relay's lines.
struct Scene {
    core: Core,
    now: Instant,
}

impl Scene {
    /// Welcomed, nothing asked yet.
    fn new() -> Self {
        let mut scene = Self { core: Core::new(Identity::default()), now: Instant::now() };
        scene.greeted();
        scene.events();
        scene
    }

    fn greeted(&mut self) -> v1::Hello {
        self.core.greet(self.now, "token".to_owned(), false);
        let (request, client_frame::Body::Hello(hello)) = self.one() else { panic!("not a Hello") };
        let user = vec![2; 16].into();
        let device = vec![3; 16].into();
        let (now, token_expires_at) = (1_000_000, 1_900);
        let welcome = v1::Welcome {
            version: 1,
            user,
            device,
            generation: 1,
            now,
            token_expires_at,
            ..Default::default()
        };
        self.answer(request, welcome);
        hello
    }

    /// Following C after `offset` of generation 1, up to date.
    fn following(offset: u64) -> Self {
        let mut scene = Self::new();
        let (request, _) = scene.subscribe(offset);
        scene.answer(request, subscribed(offset));
        scene
    }

    fn subscribe(
        &mut self,
        offset: u64,
    ) -> (u64, oneshot::Receiver<Result<crate::request::Subscription, Error>>) {
        let (reply, answer) = oneshot::channel();
        let generation = schema_wire::Generation(1);
        let after = After::Position(Position { generation, offset: Offset(offset) });
        self.core.command(self.now, Command::Subscribe { conversation: C, after, reply });
        (self.subscribed_after().0, answer)
    }

    /// The request and the offset of the one Subscribe sent.
    fn subscribed_after(&mut self) -> (u64, u64) {
        match self.sent().as_slice() {
            [(request, client_frame::Body::Subscribe(s))] => (*request, s.after.offset),
            other => panic!("not one Subscribe: {other:?}"),
        }
    }

    fn sent(&mut self) -> Vec<(u64, client_frame::Body)> {
        self.core.out.drain(..).map(|f| (f.request, f.body.expect("a body"))).collect()
    }

    /// The only frame sent.
    fn one(&mut self) -> (u64, client_frame::Body) {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn events(&mut self) -> Vec<Event> {
        self.core.events.drain(..).collect()
    }

    /// What reached the program: offsets, negative where they are gone.
    fn seen(&mut self) -> Vec<i64> {
        let place = |event| match event {
            Event::Delivery(d) => vec![d.position.offset.0 as i64],
            Event::Gone(g) => (g.from.0..=g.to.0).map(|o| -(o as i64)).collect(),
            other => panic!("neither a delivery nor a gap: {other:?}"),
        };
        self.events().into_iter().flat_map(place).collect()
    }

    fn answer(&mut self, answers: u64, body: impl Into<server_frame::Body>) {
        let frame = v1::ServerFrame { answers, body: Some(body.into()), ..Default::default() };
        self.core.frame(self.now, frame).expect("a good frame");
    }

    fn tell(&mut self, body: impl Into<server_frame::Body>) {
        self.answer(0, body);
    }

    /// Lets time pass until the mind wants to be woken.
    fn wait(&mut self) -> Result<Duration, ConnectError> {
        let at = self.core.next_timeout(self.now).expect("something is waited for");
        let waited = at - self.now;
        self.now = at;
        self.core.timeout(self.now).map(|()| waited)
    }
}

fn subscribed(head: u64) -> v1::Subscribed {
    v1::Subscribed { conversation: C.to_bytes(), generation: 1, head, first: 1, ..Default::default() }
}

fn delivery(generation: u32, offset: u64) -> v1::Delivery {
    v1::Delivery {
        conversation: C.to_bytes(),
        generation,
        offset,
        sender: vec![9; 16].into(),
        device: vec![9; 16].into(),
        publish_key: vec![offset as u8; 16].into(),
        ..Default::default()
    }
}

fn gone(from: u64, to: u64) -> v1::Gone {
    v1::Gone { conversation: C.to_bytes(), generation: 1, from, to, ..Default::default() }
}

fn publish(scene: &mut Scene, key: u8) -> oneshot::Receiver<Result<crate::request::Ack, Error>> {
    let (reply, answer) = oneshot::channel();
    let body =
        v1::Publish { conversation: C.to_bytes(), publish_key: vec![key; 16].into(), ..Default::default() };
    let key = schema_wire::PublishKey([key; 16]);
    let outgoing = Outgoing { conversation: C, key, body: body.into(), reply: Some(reply), permit: None };
    scene.core.command(scene.now, Command::Publish(outgoing));
    answer
}

fn ack(key: u8, generation: u32, offset: u64) -> v1::PublishAck {
    let (conversation, publish_key) = (C.to_bytes(), vec![key; 16].into());
    v1::PublishAck { conversation, publish_key, generation, offset, ..Default::default() }
}

#[test]
fn deliveries_come_out_once_and_in_order_whatever_order_they_came_in() {
    let mut scene = Scene::following(5);
    for offset in [6, 9, 8, 6, 7, 7, 10, 9] {
        scene.tell(delivery(1, offset));
    }
    assert_eq!(scene.seen(), [6, 7, 8, 9, 10]);
}

#[test]
fn a_named_gap_takes_the_place_of_what_it_covers() {
    let mut scene = Scene::following(5);
    scene.tell(delivery(1, 9));
    scene.tell(gone(6, 8));
    scene.tell(gone(7, 7));
    assert_eq!(scene.seen(), [-6, -7, -8, 9, -7], "the last one tells that an earlier message went");
}

#[test]
fn a_gap_that_stays_is_subscribed_again_from_the_last_position() {
    let mut scene = Scene::following(5);
    scene.tell(delivery(1, 8));
    assert_eq!(scene.wait().expect("no reason to leave"), limits::GAP);
    let (request, after) = scene.subscribed_after();
    assert_eq!(after, 5);
    scene.answer(request, subscribed(8));
    for offset in 6..=8 {
        scene.tell(delivery(1, offset));
    }
    assert_eq!(scene.seen(), [6, 7, 8]);
    assert!(scene.wait().expect("no reason to leave") > 5 * SECOND, "nothing is missing any more");
}

#[test]
fn deliveries_before_the_answer_wait_for_it() {
    let mut scene = Scene::new();
    let (reply, mut answer) = oneshot::channel();
    scene.core.command(scene.now, Command::Subscribe { conversation: C, after: After::Now, reply });
    let (request, _) = scene.subscribed_after();
    scene.tell(delivery(1, 8));
    scene.tell(delivery(1, 7));
    assert!(scene.seen().is_empty());
    scene.answer(request, subscribed(6));
    assert_eq!(scene.seen(), [7, 8]);
    assert_eq!(answer.try_recv().expect("answered").expect("subscribed").head, Offset(6));
}

#[test]
fn own_messages_take_their_place_also_when_they_were_acked_before_the_subscription() {
    let mut scene = Scene::new();
    let mut acked = publish(&mut scene, 0xaa);
    let (request, _) = scene.sent()[0].clone();
    scene.answer(request, ack(0xaa, 1, 2));
    assert!(acked.try_recv().expect("answered").is_ok());
    let (request, _) = scene.subscribe(0);
    scene.answer(request, subscribed(3));
    scene.tell(delivery(1, 1));
    scene.tell(delivery(1, 3));
    assert_eq!(scene.seen(), [1, 2, 3], "the relay leaves out what this session published");
}

#[test]
fn a_rewind_truncates_and_publishes_own_lost_messages_again() {
    let mut scene = Scene::following(5);
    let mut acked = publish(&mut scene, 0xaa);
    let (request, _) = scene.sent()[0].clone();
    scene.answer(request, ack(0xaa, 1, 6));
    assert!(acked.try_recv().expect("answered").is_ok());
    scene.tell(delivery(1, 7));
    assert_eq!(scene.seen(), [6, 7]);
    // A message of the new life overtakes the notice.
    scene.tell(delivery(2, 6));
    assert!(scene.seen().is_empty());
    let (request, after) = scene.subscribed_after();
    assert_eq!(after, 7);
    scene.answer(
        request,
        v1::Rewound { conversation: C.to_bytes(), generation: 2, head: 5, ..Default::default() },
    );
    let events = scene.events();
    assert!(matches!(events[0], Event::Rewound { head: Offset(5), .. }), "{events:?}");
    assert!(matches!(&events[1], Event::Delivery(d) if d.position.offset == Offset(6)), "{events:?}");
    scene.answer(request, v1::Subscribed { generation: 2, ..subscribed(6) });
    let sent = scene.sent();
    let again = sent.iter().find_map(|(request, body)| match body {
        client_frame::Body::Publish(p) if p.publish_key[0] == 0xaa => Some(*request),
        _ => None,
    });
    scene.answer(again.expect("published again"), ack(0xaa, 2, 7));
    assert_eq!(scene.seen(), [7]);
}

/// The request of the Publish with that key among what was sent.
fn published(scene: &mut Scene, key: u8) -> Option<u64> {
    let sent = scene.sent();
    sent.iter().find_map(|(request, body)| match body {
        client_frame::Body::Publish(p) if p.publish_key[0] == key => Some(*request),
        _ => None,
    })
}

/// Following C after 5, and an own message was acked at 7, which is beyond the position.
fn acked_beyond() -> Scene {
    let mut scene = Scene::following(5);
    drop(publish(&mut scene, 0xaa));
    let request = published(&mut scene, 0xaa).expect("published");
    scene.answer(request, ack(0xaa, 1, 7));
    assert!(scene.seen().is_empty(), "6 is missing");
    scene
}

#[test]
fn an_ack_of_an_older_life_beyond_the_position_is_void_though_nobody_says_so() {
    let mut scene = acked_beyond();
    scene.tell(delivery(2, 6));
    assert_eq!(scene.seen(), [6]);
    let again = published(&mut scene, 0xaa).expect("published again");
    scene.tell(delivery(2, 7));
    scene.answer(again, ack(0xaa, 2, 8));
    assert_eq!(scene.seen(), [7, 8], "somebody else's message stands where the own one was acked");
}

#[test]
fn so_it_is_when_a_new_link_or_a_gap_tells_of_the_newer_life() {
    let mut scene = acked_beyond();
    scene.core.link_lost(scene.now);
    let hello = scene.greeted();
    assert_eq!(hello.resume[0].after.offset, 5);
    scene.tell(v1::Subscribed { generation: 2, ..subscribed(5) });
    assert!(published(&mut scene, 0xaa).is_some(), "published again");
    let mut scene = acked_beyond();
    scene.tell(v1::Gone { generation: 2, ..gone(6, 7) });
    assert_eq!(scene.seen(), [-6, -7]);
    assert!(published(&mut scene, 0xaa).is_some(), "published again");
}

#[test]
fn an_ack_that_comes_late_from_an_older_life_is_void_too() {
    let mut scene = Scene::following(5);
    drop(publish(&mut scene, 0xaa));
    let request = published(&mut scene, 0xaa).expect("published");
    scene.tell(delivery(2, 6));
    scene.answer(request, ack(0xaa, 1, 7));
    assert_eq!(scene.seen(), [6]);
    let again = published(&mut scene, 0xaa).expect("published again");
    scene.answer(again, ack(0xaa, 2, 7));
    assert_eq!(scene.seen(), [7]);
}

#[test]
fn too_far_behind_fetches_pages_then_subscribes() {
    let mut scene = Scene::new();
    let (request, mut answer) = scene.subscribe(1);
    let code = Refused::TooFarBehind.code();
    scene.answer(request, v1::Refusal { code, head: 4, conversation: C.to_bytes(), ..Default::default() });
    for (from, items, next) in [(2, vec![2, 3], 4), (4, vec![4], 0)] {
        let (request, client_frame::Body::Recover(recover)) = scene.one() else { panic!("not a Recover") };
        assert_eq!((recover.from, recover.backwards), (from, false));
        let item = |o| v1::HistoryItem { item: Some(delivery(1, o).into()), ..Default::default() };
        let items = items.into_iter().map(item).collect();
        let page = v1::HistoryPage {
            conversation: C.to_bytes(),
            generation: 1,
            items,
            head: 4,
            next,
            ..Default::default()
        };
        scene.answer(request, page);
    }
    let (request, after) = scene.subscribed_after();
    assert_eq!(after, 4);
    scene.answer(request, subscribed(5));
    scene.tell(delivery(1, 5));
    assert_eq!(scene.seen(), [2, 3, 4, 5]);
    assert!(answer.try_recv().expect("answered").is_ok());
}

#[test]
fn a_lost_link_resumes_each_conversation_after_its_position() {
    let mut scene = Scene::following(5);
    scene.tell(delivery(1, 6));
    scene.tell(delivery(1, 8));
    scene.core.link_lost(scene.now);
    scene.events();
    let hello = scene.greeted();
    assert_eq!(hello.resume.iter().map(|r| r.after.offset).collect::<Vec<_>>(), [6]);
    assert!(hello.user_position.is_set());
    scene.events();
    scene.tell(delivery(1, 7));
    scene.tell(delivery(1, 8));
    assert_eq!(scene.seen(), [7, 8]);
}

#[test]
fn a_refused_resume_ends_the_subscription_and_says_why() {
    let mut scene = Scene::following(5);
    scene.core.link_lost(scene.now);
    scene.core.greet(scene.now, String::new(), false);
    let (hello, _) = scene.sent()[0].clone();
    scene.core.session.as_mut().expect("greeted").welcomed = true;
    let refusal =
        v1::Refusal { code: Refused::NotMember.code(), conversation: C.to_bytes(), ..Default::default() };
    scene.answer(hello, refusal);
    let events = scene.events();
    assert!(
        matches!(&events[..], [Event::Unsubscribed { refusal: Some(r), .. }] if r.code == 300),
        "{events:?}"
    );
}

#[test]
fn the_end_of_a_subscription_given_up_leaves_the_one_after_it() {
    let mut scene = Scene::following(5);
    let gone = || v1::Unsubscribed { conversation: C.to_bytes(), ..Default::default() };
    scene.answer(777, gone());
    assert!(scene.events().is_empty(), "an answer to an earlier request ends nothing");
    scene.tell(delivery(1, 6));
    assert_eq!(scene.seen(), [6]);
    scene.tell(v1::Unsubscribed { code: Refused::NotMember.code(), ..gone() });
    assert!(matches!(&scene.events()[..], [Event::Unsubscribed { .. }]), "the relay itself may end it");
}

#[test]
fn a_draining_relay_is_left_after_the_time_it_asked_for() {
    let mut scene = Scene::new();
    let draining = v1::Draining { reconnect_after_ms: 1_000, ..Default::default() };
    scene.tell(v1::Notice { notice: Some(draining.into()), ..Default::default() });
    let _answer = publish(&mut scene, 1);
    assert_eq!(scene.sent().len(), 0, "nothing is published on the way out");
    let began = scene.now;
    let why = scene.wait().expect_err("it is time to go");
    assert!(matches!(why, ConnectError::Disconnected(schema_wire::Disconnect::Draining)));
    assert!((SECOND..=SECOND * 3 / 2).contains(&(scene.now - began)));
    scene.core.link_lost(scene.now);
    scene.greeted();
    assert!(
        matches!(scene.sent()[..], [(_, client_frame::Body::Publish(_))]),
        "it goes out on the next link"
    );
}

#[test]
fn a_fresh_token_is_asked_for_before_the_old_one_runs_out() {
    let mut scene = Scene::new();
    while !scene.core.wants_token(scene.now) {
        scene.wait().expect("the relay answers");
        for (request, body) in scene.sent() {
            assert!(matches!(body, client_frame::Body::Ping(_)));
            scene.core.said(scene.now);
            scene.answer(request, v1::Pong::default());
        }
    }
    assert!(!scene.core.wants_token(scene.now), "once");
    scene.core.refresh(scene.now, Some("fresh".to_owned()));
    let (request, body) = scene.sent().remove(0);
    assert!(matches!(&body, client_frame::Body::Refresh(r) if r.token == "fresh"));
    scene.answer(request, v1::Refreshed { token_expires_at: 2_800, ..Default::default() });
    let began = scene.now;
    while !scene.core.wants_token(scene.now) {
        scene.wait().expect("the relay answers");
        scene.core.said(scene.now);
        scene.tell(v1::Pong::default());
    }
    assert!(scene.now - began > 10 * 60 * SECOND, "the new token holds long");
}

#[test]
fn a_silent_relay_is_left() {
    let mut scene = Scene::new();
    assert_eq!(scene.wait().expect("a ping goes out"), limits::PING_EVERY);
    assert!(matches!(scene.sent()[..], [(_, client_frame::Body::Ping(_))]));
    assert!(matches!(scene.wait(), Err(ConnectError::Timeout(..))));
}

#[test]
fn calls_outlive_a_lost_link_and_get_their_own_answers() {
    let mut scene = Scene::new();
    let (reply, mut answer) = oneshot::channel();
    let cursor = v1::Cursor { conversation: C.to_bytes(), offset: 3, ..Default::default() };
    scene.core.command(scene.now, Command::Call { body: cursor.into(), reply: CallReply::Done(reply) });
    scene.sent();
    scene.core.link_lost(scene.now);
    scene.greeted();
    let (request, _) = scene.sent()[0].clone();
    scene.answer(request + 1, v1::Done::default());
    assert!(answer.try_recv().is_err(), "somebody else's answer");
    scene.answer(request, v1::Done::default());
    assert!(answer.try_recv().expect("answered").is_ok());
}

#[test]
fn watch_and_presence_are_said_again_to_a_new_session() {
    let mut scene = Scene::new();
    let (reply, _answer) = oneshot::channel();
    let watch = v1::Watch { conversations: vec![C.to_bytes()], ..Default::default() };
    scene.core.command(scene.now, Command::Watch { watch, reply: CallReply::Done(reply) });
    scene.core.command(scene.now, Command::Presence(v1::PresenceState::PRESENCE_STATE_ONLINE));
    let (request, _) = scene.sent()[0].clone();
    scene.answer(request, v1::Done::default());
    scene.core.link_lost(scene.now);
    scene.greeted();
    let again = scene.sent();
    assert!(
        matches!(again[..], [(_, client_frame::Body::Watch(_)), (_, client_frame::Body::Presence(_))]),
        "{again:?}"
    );
}

#[test]
fn signals_come_out_of_conversations_that_are_followed() {
    let mut scene = Scene::following(5);
    let signal = |conversation: ConversationId| v1::SignalEvent {
        conversation: conversation.to_bytes(),
        body: vec![7; 3].into(),
        ..Default::default()
    };
    scene.tell(signal(C));
    scene.tell(signal(ConversationId([9; 16])));
    assert!(matches!(&scene.events()[..], [Event::Signal(s)] if s.body.len() == 3));
    for _ in 0..2 * limits::EVENTS_EPHEMERAL {
        scene.tell(signal(C));
    }
    assert_eq!(
        scene.events().len(),
        limits::EVENTS_EPHEMERAL,
        "a program that does not read them loses some"
    );
    let mut signal = signal(C);
    signal.conversation = vec![1; 15].into();
    let frame = v1::ServerFrame { body: Some(signal.into()), ..Default::default() };
    assert!(matches!(scene.core.frame(scene.now, frame), Err(ConnectError::Protocol(_))));
}

#[test]
fn a_hole_in_the_users_stream_leaves_the_link_and_resumes_before_it() {
    let mut scene = Scene::new();
    let event = |offset| v1::UserEvent { offset, generation: 1, ..Default::default() };
    scene.tell(event(1));
    scene.tell(event(1));
    assert_eq!(scene.events().len(), 1);
    let frame = v1::ServerFrame { body: Some(event(3).into()), ..Default::default() };
    assert!(matches!(scene.core.frame(scene.now, frame), Err(ConnectError::Protocol(_))));
    scene.core.link_lost(scene.now);
    assert_eq!(scene.greeted().user_position.offset, 1);
}

#[test]
fn frames_of_a_later_version_and_broken_ones_do_no_harm() {
    let mut scene = Scene::following(5);
    scene.core.frame(scene.now, v1::ServerFrame::default()).expect("an unknown body is skipped");
    let broken = [
        server_frame::Body::from(v1::Delivery { conversation: vec![1; 15].into(), ..delivery(1, 6) }),
        delivery(1, 0).into(),
        delivery(1, u64::MAX).into(),
        gone(7, 6).into(),
        v1::PublishAck::default().into(),
        v1::Welcome::default().into(),
    ];
    for body in broken {
        let frame = v1::ServerFrame { body: Some(body), ..Default::default() };
        assert!(scene.core.frame(scene.now, frame).is_err());
    }
    scene.tell(gone(1, u64::MAX - 1));
    scene.tell(delivery(1, u64::MAX - 1));
}

#[test]
fn a_flood_of_early_deliveries_stays_within_its_bound() {
    let mut scene = Scene::following(5);
    for offset in 7..7 + 3 * limits::EARLY as u64 {
        scene.tell(delivery(1, offset));
    }
    scene.tell(delivery(1, 6));
    assert_eq!(scene.seen().len(), 1 + limits::EARLY);
    scene.wait().expect("no reason to leave");
    assert_eq!(scene.subscribed_after().1, 6 + limits::EARLY as u64, "the rest is asked for again");
}
