//! Too much, too slow, going away: limits that answer, slow readers that come back, drains that end.

use bytes::Bytes;
use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{Disconnect, Refused};
use wire_tests::session::publish;
use wire_tests::{After, Carrier, Incoming, Session, Settings, World, http, scenarios, within};

scenarios!(
    a_user_over_the_message_limit_is_told_when_to_go_on,
    a_message_limit_that_is_set_holds_without_a_restart,
    a_slow_reader_is_cut_and_resumes_with_nothing_lost,
    a_slow_reader_is_named_to_operators_and_closed_by_them,
    sigterm_drains_and_the_next_start_resumes,
    too_many_requests_at_once_are_refused,
    the_most_refused_client_is_closed_as_abusive,
);

async fn a_user_over_the_message_limit_is_told_when_to_go_on(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let group = world.group(ada, &[]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    for _ in 0..100 {
        author.publish(group, "within").await;
    }
    // The limit is the user's: another device, perhaps on another shard, gets none of its own.
    let mut other = Session::open(&world, carrier, world.device(ada.user).await).await;
    for session in [&mut author, &mut other] {
        let (code, refusal) = session.refused(publish(group, "over")).await;
        assert_eq!(code, Refused::RateLimited);
        // A user on several shards waits a little longer than the window: their parts are dealt anew.
        assert!((1..=65_000).contains(&refusal.retry_after_ms), "{refusal:?}");
        assert_eq!(refusal.conversation, group.to_bytes());
    }
    let bob = world.person("bob").await;
    let own = world.group(bob, &[]).await;
    Session::open(&world, carrier, bob).await.publish(own, "others are not touched").await;
}

async fn a_message_limit_that_is_set_holds_without_a_restart(carrier: Carrier) {
    /// As long as a change may take to hold.
    const TAKEN_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    for _ in 0..5 {
        author.publish(group, "by the limit of the configuration").await;
    }
    let set = async |limit: u32| {
        world.sql(
            "INSERT INTO operator_settings (name, value, changed_at) VALUES ('limit-messages', ?1, 0)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [limit.to_string()],
        );
        let began = std::time::Instant::now();
        while Session::open(&world, carrier, bob).await.welcome.limits.publish_limit != limit {
            assert!(began.elapsed() < TAKEN_WITHIN, "a limit of {limit} was not taken");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    set(8).await;
    // What was published before counts. While a limit is dealt anew, a shard may have a smaller part for a moment.
    let (mut within, began) = (0, std::time::Instant::now());
    while within < 3 {
        assert!(began.elapsed() < TAKEN_WITHIN, "{within} of three");
        match author.ask(publish(group, "by the new one")).await {
            Body::PublishAck(_) => within += 1,
            Body::Refusal(refusal) if refusal.code == Refused::RateLimited.code() => {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            other => panic!("{other:?}"),
        }
    }
    let (code, _) = author.refused(publish(group, "the ninth")).await;
    assert_eq!(code, Refused::RateLimited);
    set(30).await;
    author.publish(group, "wider again, in the same window").await;
}

async fn a_slow_reader_is_cut_and_resumes_with_nothing_lost(carrier: Carrier) {
    /// More than outbox and socket buffers hold.
    const MESSAGES: u64 = 320;
    let world = World::start_with(Settings::default().env("MESSAGE_LIMIT_MAX", 100_000)).await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let mut reader = Session::open(&world, carrier, bob).await;
    reader.subscribe(group, After::Now).await;
    reader.link.pause(true);
    let body = Bytes::from(vec![b'x'; 60_000]);
    let mut requests = std::collections::VecDeque::new();
    for _ in 0..MESSAGES {
        requests.push_back(author.send(Publish { body: body.clone(), ..publish(group, "") }).await);
        if requests.len() >= 16 {
            let request = requests.pop_front().expect("not empty");
            assert!(matches!(author.answer(request).await, Body::PublishAck(_)));
        }
    }
    for request in requests {
        assert!(matches!(author.answer(request).await, Body::PublishAck(_)));
    }
    // Long after the cut: the goodbye waits for whoever comes back late.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    reader.link.pause(false);
    let mut last = 0;
    let closed = loop {
        match within("the slow reader's end", reader.link.next()).await {
            Incoming::Frame(frame) => {
                if let Some(Body::Delivery(d)) = frame.body {
                    assert_eq!(d.offset, last + 1);
                    last = d.offset;
                }
            }
            Incoming::Closed { code, .. } => break code,
        }
    };
    assert_eq!(closed, Some(Disconnect::SlowReader.code()), "after {last} of {MESSAGES}");
    assert!(last < MESSAGES);
    let mut reader = Session::resume(&world, carrier, bob, None, &[(group, last)]).await;
    for offset in last + 1..=MESSAGES {
        assert_eq!(reader.delivery().await.offset, offset);
    }
}

async fn a_slow_reader_is_named_to_operators_and_closed_by_them(carrier: Carrier) {
    const SECRET: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
    let settings = Settings::default().env("MESSAGE_LIMIT_MAX", 100_000).env("RELAY_CONTROL_SECRET", SECRET);
    let world = World::start_with(settings).await;
    let at = world.server.internal();
    let slow = async || {
        let told = http::request(at, "GET", "/control/consumers", Some(SECRET), None).await;
        assert_eq!(told.status, 200);
        told.json()
    };
    assert_eq!(http::get(at, "/control/consumers").await.status, 401, "it names accounts");
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let mut reader = Session::open(&world, carrier, bob).await;
    reader.subscribe(group, After::Now).await;
    assert_eq!(slow().await, serde_json::json!([]), "everybody keeps up");
    reader.link.pause(true);
    let body = Bytes::from(vec![b'x'; 60_000]);
    let mut told = slow().await;
    for _ in 0..300 {
        if !told[0].is_null() {
            // What a socket takes a moment later waits for nobody.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            told = slow().await;
        }
        if !told[0].is_null() {
            break;
        }
        author.publish_as(Publish { body: body.clone(), ..publish(group, "") }).await;
        told = slow().await;
    }
    let worst = &told[0];
    assert_eq!(worst["user"], bob.user.to_string(), "{told}");
    assert!(worst["bytes"].as_u64() > Some(50_000) && worst["frames"].as_u64() > Some(0), "{told}");
    let session = worst["session"].as_str().expect("a number as text");
    let close = async |user: &dyn std::fmt::Display| {
        let path = format!("/control/close?session={session}&user={user}");
        assert_eq!(http::request(at, "POST", &path, Some(SECRET), None).await.status, 202);
    };
    close(&ada.user).await;
    assert_eq!(slow().await[0]["session"], session, "the number alone closes nobody");
    close(&bob.user).await;
    reader.link.pause(false);
    let closed = loop {
        if let Incoming::Closed { code, .. } = within("the slow reader's end", reader.link.next()).await {
            break code;
        }
    };
    assert_eq!(closed, Some(Disconnect::SlowReader.code()), "who may come back and resume");
}

async fn sigterm_drains_and_the_next_start_resumes(carrier: Carrier) {
    let mut world = World::start_with(Settings::default().env("RELAY_DRAIN_DEADLINE", 2)).await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let mut reader = Session::open(&world, carrier, bob).await;
    reader.subscribe(group, After::Now).await;
    author.publish(group, "before").await;
    assert_eq!(reader.deliveries(1).await.len(), 1);
    world.server.terminate();
    for session in [&mut author, &mut reader] {
        loop {
            match session.next().await {
                Body::Notice(notice) => {
                    let Some(notice::Notice::Draining(draining)) = notice.notice else {
                        panic!("{notice:?}")
                    };
                    assert!(draining.reconnect_after_ms > 0);
                    break;
                }
                Body::UserEvent(_) => {}
                other => panic!("instead of a notice: {other:?}"),
            }
        }
    }
    assert_eq!(author.closed().await, Some(Disconnect::Draining));
    assert_eq!(reader.closed().await, Some(Disconnect::Draining));
    assert!(world.server.wait().success());
    world.server.start_again();
    let mut author = Session::open(&world, carrier, ada).await;
    author.publish(group, "after").await;
    let mut reader = Session::resume(&world, carrier, bob, None, &[(group, 1)]).await;
    assert_eq!(reader.deliveries(1).await, [(2, "after".to_owned())]);
}

async fn too_many_requests_at_once_are_refused(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let group = world.group(ada, &[]).await;
    let mut session = Session::open(&world, carrier, ada).await;
    let recover = Recover { conversation: group.to_bytes(), from: 1, ..Default::default() };
    let mut requests = Vec::new();
    for _ in 0..110 {
        requests.push(session.send(recover.clone()).await);
    }
    let mut pages = 0;
    // Answers to different requests come in any order.
    for _ in 0..requests.len() {
        match within("an answer", session.link.next()).await {
            Incoming::Frame(frame) => match frame.body {
                Some(Body::HistoryPage(_)) => pages += 1,
                Some(Body::Refusal(r)) => assert_eq!(r.code, Refused::TooMany.code()),
                _ => {}
            },
            closed => panic!("{closed:?}"),
        }
    }
    assert!(pages >= 64, "the limit itself is allowed: {pages}");
    assert!(matches!(session.ask(Ping::default()).await, Body::Pong(_)), "the session stands");
}

async fn the_most_refused_client_is_closed_as_abusive(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let group = schema_wire::ConversationId([7; 16]);
    let mut session = Session::open(&world, carrier, ada).await;
    for _ in 0..125 {
        session.send(Recover { conversation: group.to_bytes(), from: 1, ..Default::default() }).await;
    }
    assert_eq!(session.closed().await, Some(Disconnect::Abusive));
}
