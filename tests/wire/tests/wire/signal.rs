//! Signals: to everybody who is subscribed at that moment and nobody else, within bounds.

use std::time::Duration;

use bytes::Bytes;
use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{ConversationId, Refused};
use wire_tests::{After, Carrier, Incoming, Session, Settings, World, scenarios, within};

scenarios!(
    a_signal_reaches_subscribers_and_nobody_else,
    a_signal_that_is_too_large_is_refused,
    signals_over_the_rate_are_dropped_and_the_session_lives_on,
);

fn signal(conversation: ConversationId, body: impl Into<Bytes>) -> Signal {
    Signal { conversation: conversation.to_bytes(), body: body.into(), ..Default::default() }
}

/// The next signal; anything else is passed over.
async fn next_signal(session: &mut Session) -> SignalEvent {
    loop {
        if let Body::SignalEvent(event) = session.next().await {
            return event;
        }
    }
}

/// How many signals came until nothing came for a while.
async fn signals_so_far(session: &mut Session) -> usize {
    let mut count = 0;
    while let Ok(body) = tokio::time::timeout(Duration::from_millis(500), session.next()).await {
        count += usize::from(matches!(body, Body::SignalEvent(_)));
    }
    count
}

async fn a_signal_reaches_subscribers_and_nobody_else(carrier: Carrier) {
    let world = World::start_with(Settings::default().env("RELAY_SHARDS", 2)).await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let group = world.group(ada, &[bob]).await;
    let mut sender = Session::open(&world, carrier, ada).await;
    let mut reader = Session::open(&world, carrier, bob).await;
    let mut tablet = Session::open(&world, carrier, world.device(ada.user).await).await;
    let mut idle = Session::open(&world, carrier, world.device(bob.user).await).await;
    let mut stranger = Session::open(&world, carrier, eve).await;
    // The sender itself may follow or not.
    sender.subscribe(group, After::Now).await;
    for session in [&mut reader, &mut tablet] {
        session.subscribe(group, After::Now).await;
    }
    sender.publish(group, "a message").await;
    stranger.send(signal(group, "from outside")).await;
    idle.send(signal(group, "from a member who does not follow")).await;
    for session in [&mut reader, &mut tablet, &mut sender] {
        assert_eq!(&next_signal(session).await.body[..], b"from a member who does not follow");
    }
    for number in 0..10u8 {
        sender.send(signal(group, vec![number; 1_000])).await;
    }
    for session in [&mut reader, &mut tablet] {
        for number in 0..10u8 {
            let event = next_signal(session).await;
            assert_eq!((event.conversation, event.sender), (group.to_bytes(), ada.user.to_bytes()));
            assert_eq!((event.device, event.body), (ada.device.to_bytes(), vec![number; 1_000].into()));
        }
    }
    for session in [&mut sender, &mut idle, &mut stranger] {
        assert_eq!(signals_so_far(session).await, 0);
    }
    // Nothing was stored.
    assert_eq!(sender.subscribe(group, After::Now).await.head, 1);
}

async fn a_signal_that_is_too_large_is_refused(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut sender = Session::open(&world, carrier, ada).await;
    let mut reader = Session::open(&world, carrier, bob).await;
    reader.subscribe(group, After::Now).await;
    let (code, refusal) = sender.refused(signal(group, vec![7; 16_385])).await;
    assert_eq!((code, refusal.conversation), (Refused::TooLarge, group.to_bytes()));
    assert!(refusal.message.contains("16384"), "{}", refusal.message);
    sender.send(signal(group, vec![8; 16_384])).await;
    assert_eq!(next_signal(&mut reader).await.body, Bytes::from(vec![8; 16_384]));
}

async fn signals_over_the_rate_are_dropped_and_the_session_lives_on(carrier: Carrier) {
    let world = World::start_with(Settings::default().env("RELAY_EPHEMERAL_PER_S", 5)).await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut sender = Session::open(&world, carrier, ada).await;
    let mut reader = Session::open(&world, carrier, bob).await;
    reader.subscribe(group, After::Now).await;
    for _ in 0..200 {
        sender.send(signal(group, "burst")).await;
    }
    let pong = sender.send(Ping::default()).await;
    // No refusal came before the answer.
    loop {
        match within("an answer", sender.link.next()).await {
            Incoming::Frame(frame) if frame.answers == pong => break,
            Incoming::Frame(frame) => assert!(matches!(frame.body, Some(Body::UserEvent(_))), "{frame:?}"),
            closed => panic!("{closed:?}"),
        }
    }
    let came = signals_so_far(&mut reader).await;
    // A burst may stretch over a few seconds on a busy machine.
    assert!((5..=30).contains(&came), "{came} of 200");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    sender.send(signal(group, "later")).await;
    assert_eq!(&next_signal(&mut reader).await.body[..], b"later");
}
