//! Typing, presence and shared cursors: only to those who watch.

use bytes::Bytes;
use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{ConversationId, Refused, UserId};
use wire_tests::{After, Carrier, Session, World, scenarios};

scenarios!(
    typing_and_cursors_come_to_those_who_watch,
    presence_follows_the_sessions_of_a_user,
    watch_lists_have_bounds,
);

fn watch(conversations: &[ConversationId], users: &[UserId]) -> Watch {
    let conversations = conversations.iter().map(|c| c.to_bytes()).collect();
    Watch { conversations, users: users.iter().map(|u| u.to_bytes()).collect(), ..Default::default() }
}

/// The next ephemeral event; anything else is passed over.
async fn ephemeral(session: &mut Session) -> Body {
    loop {
        let body = session.next().await;
        if matches!(body, Body::TypingEvent(_) | Body::CursorEvent(_) | Body::PresenceEvent(_)) {
            return body;
        }
    }
}

async fn typing_and_cursors_come_to_those_who_watch(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let group = world.group(ada, &[bob]).await;
    let mut typist = Session::open(&world, carrier, ada).await;
    let mut watcher = Session::open(&world, carrier, bob).await;
    let mut indifferent = Session::open(&world, carrier, world.device(bob.user).await).await;
    let mut stranger = Session::open(&world, carrier, eve).await;
    indifferent.subscribe(group, After::Now).await;
    watcher.done(watch(&[group], &[])).await;
    stranger.done(watch(&[group], &[ada.user])).await;
    // A watch takes effect soon after Done: typing goes on until it shows.
    let typing = |active| Typing { conversation: group.to_bytes(), active, ..Default::default() };
    let seen = wire_tests::eventually("typing to show", async || {
        typist.send(typing(true)).await;
        let shown =
            tokio::time::timeout(std::time::Duration::from_millis(400), ephemeral(&mut watcher)).await;
        shown.ok()
    })
    .await;
    match seen {
        Body::TypingEvent(t) => assert_eq!(
            (t.conversation, t.user, t.active, t.count),
            (group.to_bytes(), ada.user.to_bytes(), true, 0)
        ),
        other => panic!("instead of typing: {other:?}"),
    }
    typist.publish(group, "typed").await;
    let cursor = |share| Cursor { conversation: group.to_bytes(), offset: 1, share, ..Default::default() };
    typist.done(cursor(true)).await;
    loop {
        match ephemeral(&mut watcher).await {
            Body::TypingEvent(_) => {}
            Body::CursorEvent(c) => {
                assert_eq!((c.conversation, c.user, c.offset), (group.to_bytes(), ada.user.to_bytes(), 1));
                break;
            }
            other => panic!("instead of a cursor: {other:?}"),
        }
    }
    // Those who did not ask, or may not, got the message or nothing at all.
    assert_eq!(indifferent.deliveries(1).await, [(1, "typed".to_owned())]);
    assert_eq!(nothing_but_user_events(&mut stranger).await, 0);
}

/// How many other things came before the answer to a ping.
async fn nothing_but_user_events(session: &mut Session) -> usize {
    let request = session.send(Ping { payload: Bytes::from_static(b"fence"), ..Default::default() }).await;
    let mut others = 0;
    loop {
        match session.link.next().await {
            wire_tests::Incoming::Frame(frame) if frame.answers == request => return others,
            wire_tests::Incoming::Frame(frame) => {
                others += usize::from(!matches!(frame.body, Some(Body::UserEvent(_))));
            }
            closed => panic!("{closed:?}"),
        }
    }
}

async fn presence_follows_the_sessions_of_a_user(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.group(ada, &[bob]).await;
    let mut watcher = Session::open(&world, carrier, bob).await;
    watcher.done(watch(&[], &[ada.user])).await;
    assert_presence(&mut watcher, ada.user, PresenceState::Offline).await;
    // Being connected shows nothing yet: each device says what it shows.
    let mut watched = Session::open(&world, carrier, ada).await;
    watched.send(Presence { state: PresenceState::Online.into(), ..Default::default() }).await;
    assert_presence(&mut watcher, ada.user, PresenceState::Online).await;
    watched.send(Presence { state: PresenceState::Away.into(), ..Default::default() }).await;
    assert_presence(&mut watcher, ada.user, PresenceState::Away).await;
    watched.send(Presence { state: PresenceState::Hidden.into(), ..Default::default() }).await;
    assert_presence(&mut watcher, ada.user, PresenceState::Offline).await;
    watched.send(Presence { state: PresenceState::Online.into(), ..Default::default() }).await;
    assert_presence(&mut watcher, ada.user, PresenceState::Online).await;
    drop(watched);
    assert_presence(&mut watcher, ada.user, PresenceState::Offline).await;
}

async fn assert_presence(watcher: &mut Session, user: UserId, state: PresenceState) {
    let mut repeated = None;
    loop {
        let Body::PresenceEvent(p) = ephemeral(watcher).await else { panic!("instead of presence") };
        assert_eq!(p.user, user.to_bytes());
        let shown = p.state.as_known();
        if shown == Some(state) {
            return;
        }
        // What was shown before may be said again.
        assert!(repeated.is_none_or(|before| before == shown), "{shown:?} on the way to {state:?}");
        repeated = Some(shown);
    }
}

async fn watch_lists_have_bounds(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let mut session = Session::open(&world, carrier, ada).await;
    let conversations: Vec<_> = (0..65).map(|n| ConversationId([n; 16])).collect();
    assert_eq!(session.refused(watch(&conversations, &[])).await.0, Refused::TooMany);
    session.done(watch(&conversations[..64], &[])).await;
    let crooked = Watch { users: vec![Bytes::from_static(b"short")], ..Default::default() };
    assert_eq!(session.refused(crooked).await.0, Refused::Malformed);
}
