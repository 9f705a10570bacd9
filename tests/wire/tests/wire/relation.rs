//! Blocks, first contacts and invitations, as clients on both sides meet them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use schema_store::accounts::Accounts;
use schema_wire::v1::user_event::Event;
use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{ConversationId, Refused, UserId};
use serde_json::{Value, json};
use wire_tests::session::publish;
use wire_tests::{After, Carrier, Login, Session, Settings, World, eventually, http, scenarios};

scenarios!(
    a_first_contact_is_quiet_until_it_is_answered,
    a_request_is_deleted_or_blocked_without_a_word,
    a_block_reaches_live_sessions_of_both_sides,
    a_block_is_known_from_the_first_moment_of_a_newcomer,
    settings_turn_adding_into_inviting,
);

async fn call(world: &World, who: Login, method: &str, path: &str, body: Option<Value>) -> http::Answer {
    let token = world.token(who);
    http::request(world.server.api(), method, path, Some(&token), body.as_ref()).await
}

async fn begin(world: &World, who: Login, peer: Login) -> (ConversationId, Value) {
    let body = json!({"kind": "direct", "peer": peer.user.to_string()});
    let answer = call(world, who, "POST", "/api/v1/conversations", Some(body)).await;
    assert!([200, 201].contains(&answer.status), "{answer:?}");
    let made = answer.json();
    (ConversationId::parse(made["id"].as_str().expect("an id")).expect("an id"), made)
}

fn typing(conversation: ConversationId) -> Typing {
    Typing { conversation: conversation.to_bytes(), active: true, ..Default::default() }
}

fn signal(conversation: ConversationId) -> Signal {
    let body = Bytes::from_static(b"candidate");
    Signal { conversation: conversation.to_bytes(), body, ..Default::default() }
}

fn watch(conversation: ConversationId, user: UserId) -> Watch {
    let (conversations, users) = (vec![conversation.to_bytes()], vec![user.to_bytes()]);
    Watch { conversations, users, ..Default::default() }
}

/// Which of typing, signals and presence of a user came within a while.
async fn ephemeral_of(session: &mut Session, user: UserId) -> [usize; 3] {
    let mut seen = [0; 3];
    while let Ok(body) = tokio::time::timeout(Duration::from_millis(700), session.next()).await {
        match body {
            Body::TypingEvent(e) if e.user == user.to_bytes() => seen[0] += 1,
            Body::SignalEvent(e) if e.sender == user.to_bytes() => seen[1] += 1,
            Body::PresenceEvent(e)
                if e.user == user.to_bytes() && e.state.as_known() == Some(PresenceState::Online) =>
            {
                seen[2] += 1;
            }
            _ => {}
        }
    }
    seen
}

/// The next event of the user's stream that `wanted` knows.
async fn told<T>(session: &mut Session, wanted: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = session.user_event().await.event.as_ref().and_then(&wanted) {
            return found;
        }
    }
}

fn answered(event: &Event) -> Option<RequestAnswer> {
    match event {
        Event::RequestAnswered(e) => e.answer.as_known(),
        _ => None,
    }
}

async fn a_first_contact_is_quiet_until_it_is_answered(carrier: Carrier) {
    let world = World::start_with(Settings::default().env("RELAY_SHARDS", 2)).await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let phone = world.device(bob.user).await;
    let mut theirs = Session::open(&world, carrier, bob).await;
    let mut other_device = Session::open(&world, carrier, phone).await;
    let (direct, made) = begin(&world, ada, bob).await;
    assert_eq!(made["request"], "sent");
    let added = |e: &Event| if let Event::AddedTo(e) = e { Some(e.clone()) } else { None };
    assert!(told(&mut theirs, added).await.request && told(&mut other_device, added).await.request);
    let listed = call(&world, bob, "GET", "/api/v1/conversations", None).await.json();
    assert_eq!(listed["conversations"][0]["request"], "received");
    let mut mine = Session::open(&world, carrier, ada).await;
    for (session, peer) in [(&mut mine, bob), (&mut theirs, ada)] {
        session.subscribe(direct, After::Start).await;
        session.done(watch(direct, peer.user)).await;
    }
    for number in 1..=3 {
        assert_eq!(mine.publish(direct, "hello?").await.offset, number);
    }
    let (code, refusal) = mine.refused(publish(direct, "are you there?")).await;
    assert_eq!((code, refusal.conversation), (Refused::RequestWaiting, direct.to_bytes()));
    theirs.deliveries(3).await;
    let cursor =
        |offset| Cursor { conversation: direct.to_bytes(), offset, share: true, ..Default::default() };
    theirs.done(cursor(3)).await;
    theirs.send(Presence { state: PresenceState::Online.into(), ..Default::default() }).await;
    theirs.send(typing(direct)).await;
    theirs.send(signal(direct)).await;
    assert_eq!(ephemeral_of(&mut mine, bob.user).await, [0; 3], "nothing of whoever was asked");
    theirs.publish(direct, "yes").await;
    assert_eq!(told(&mut mine, answered).await, RequestAnswer::Accepted);
    assert_eq!(told(&mut other_device, answered).await, RequestAnswer::Accepted);
    assert_eq!(mine.publish(direct, "good").await.offset, 5);
    let listed = call(&world, bob, "GET", "/api/v1/conversations", None).await.json();
    assert_eq!(listed["conversations"][0]["request"], Value::Null);
    eventually("presence to show", async || {
        mine.done(watch(direct, bob.user)).await;
        (ephemeral_of(&mut mine, bob.user).await[2] > 0).then_some(())
    })
    .await;
    eventually("typing and signals to pass", async || {
        theirs.send(typing(direct)).await;
        theirs.send(signal(direct)).await;
        let seen = ephemeral_of(&mut mine, bob.user).await;
        (seen[0] > 0 && seen[1] > 0).then_some(())
    })
    .await;
}

async fn a_request_is_deleted_or_blocked_without_a_word(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let mut theirs = Session::open(&world, carrier, world.device(bob.user).await).await;
    let (from_ada, _) = begin(&world, ada, bob).await;
    let (from_eve, _) = begin(&world, eve, bob).await;
    let path = |c: ConversationId| format!("/api/v1/conversations/{c}/request");
    let answer = |word: &str| Some(json!({"answer": word}));
    let own = call(&world, ada, "PUT", &path(from_ada), answer("accept")).await;
    assert_eq!((own.status, own.json()["error"]["code"].as_str()), (403, Some("NOT_ALLOWED")));
    assert_eq!(call(&world, bob, "PUT", &path(from_ada), answer("delete")).await.status, 200);
    assert_eq!(told(&mut theirs, answered).await, RequestAnswer::Deleted);
    let report = json!({"answer": "block", "report": {"reason": "SPAM", "comment": "who is that"}});
    assert_eq!(call(&world, bob, "PUT", &path(from_eve), Some(report)).await.status, 200);
    assert_eq!(told(&mut theirs, answered).await, RequestAnswer::Deleted, "on every device");
    let listed = call(&world, bob, "GET", "/api/v1/conversations", None).await.json();
    assert_eq!(listed["conversations"], json!([]));
    let mut hers = Session::open(&world, carrier, ada).await;
    hers.publish(from_ada, "are you there?").await;
    let mut blocked = Session::open(&world, carrier, eve).await;
    assert_eq!(blocked.refused(publish(from_eve, "?")).await.0, Refused::Blocked);
    let group = json!({"kind": "group", "name": "friends", "members": [bob.user.to_string()]});
    let added = call(&world, eve, "POST", "/api/v1/conversations", Some(group)).await;
    assert_eq!((added.status, added.json()["error"]["code"].as_str()), (403, Some("BLOCKED")));
}

async fn a_block_is_known_from_the_first_moment_of_a_newcomer(carrier: Carrier) {
    let world = World::start_with(Settings::default().env("RELAY_SHARDS", 2)).await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.store.set_block(bob.user, ada.user, true).await.expect("anybody may");
    let group = world.group(eve, &[bob]).await;
    let mut sessions = Vec::new();
    for login in [bob, eve, world.device(bob.user).await] {
        let mut session = Session::open(&world, carrier, login).await;
        session.subscribe(group, After::Now).await;
        session.done(watch(group, ada.user)).await;
        sessions.push(session);
    }
    let [mut his, mut other, mut second] = sessions.try_into().unwrap_or_else(|_| panic!("three"));
    let mut hers = Session::open(&world, carrier, ada).await;
    world.store.add_members(eve.user, group, vec![ada.user]).await.expect("eve may");
    hers.subscribe(group, After::Now).await;
    hers.done(watch(group, bob.user)).await;
    eventually("the newcomer to be seen by those who may", async || {
        hers.send(typing(group)).await;
        hers.send(signal(group)).await;
        his.send(typing(group)).await;
        his.send(signal(group)).await;
        let [typed, signalled, _] = ephemeral_of(&mut other, ada.user).await;
        (typed > 0 && signalled > 0).then_some(())
    })
    .await;
    for (session, apart) in [(&mut his, ada), (&mut second, ada), (&mut hers, bob)] {
        assert_eq!(ephemeral_of(session, apart.user).await, [0; 3]);
    }
}

async fn a_block_reaches_live_sessions_of_both_sides(carrier: Carrier) {
    let world = World::start_with(Settings::default().env("RELAY_SHARDS", 2)).await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let group = world.group(eve, &[ada, bob]).await;
    let mut sessions = Vec::new();
    for (login, peer) in [(ada, bob), (bob, ada)] {
        let mut session = Session::open(&world, carrier, login).await;
        session.subscribe(group, After::Now).await;
        session.done(watch(group, peer.user)).await;
        sessions.push(session);
    }
    let [mut hers, mut his] = sessions.try_into().unwrap_or_else(|_| panic!("two"));
    eventually("typing to show", async || {
        hers.send(typing(group)).await;
        (ephemeral_of(&mut his, ada.user).await[0] > 0).then_some(())
    })
    .await;
    let path = format!("/api/v1/me/blocks/{}", ada.user);
    assert_eq!(call(&world, bob, "PUT", &path, Some(json!({}))).await.status, 200);
    let since = Instant::now();
    loop {
        hers.send(typing(group)).await;
        hers.send(signal(group)).await;
        if ephemeral_of(&mut his, ada.user).await == [0; 3] {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(5), "a block takes effect within five seconds");
    }
    his.send(Presence { state: PresenceState::Online.into(), ..Default::default() }).await;
    his.send(typing(group)).await;
    his.send(signal(group)).await;
    assert_eq!(ephemeral_of(&mut hers, bob.user).await, [0; 3], "either way");
    let mut late = Session::open(&world, carrier, world.device(ada.user).await).await;
    late.subscribe(group, After::Now).await;
    late.done(watch(group, bob.user)).await;
    his.send(typing(group)).await;
    his.send(signal(group)).await;
    assert_eq!(ephemeral_of(&mut late, bob.user).await, [0; 3], "nor to a device that comes later");
    hers.publish(group, "a group goes on").await;
    assert_eq!(his.delivery().await.body, Bytes::from_static(b"a group goes on"));
    let (direct, _) = world.store.create_direct(eve.user, bob.user).await.expect("they may");
    world.store.set_block(bob.user, eve.user, true).await.expect("anybody may");
    assert_eq!(his.refused(publish(direct, "?")).await.0, Refused::Blocked, "nor may whoever blocks write");
    assert_eq!(call(&world, bob, "DELETE", &path, None).await.status, 200);
    eventually("typing to show again", async || {
        hers.send(typing(group)).await;
        (ephemeral_of(&mut his, ada.user).await[0] > 0).then_some(())
    })
    .await;
}

async fn settings_turn_adding_into_inviting(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let mut his = Session::open(&world, carrier, bob).await;
    let setting = |value: &str| Some(json!({"value": value}));
    let at = "/api/v1/me/settings/add_to_groups";
    assert_eq!(call(&world, bob, "PUT", at, setting("friends")).await.status, 422);
    assert_eq!(call(&world, bob, "PUT", at, setting("known")).await.status, 200);
    let group = json!({"kind": "group", "name": "crew", "members": [bob.user.to_string()]});
    let made = call(&world, ada, "POST", "/api/v1/conversations", Some(group)).await.json();
    assert_eq!(
        (&made["member_count"], &made["detail"]["invited"]),
        (&json!(1), &json!([bob.user.to_string()]))
    );
    let invited = told(&mut his, |e| if let Event::Invited(e) = e { Some(e.clone()) } else { None }).await;
    assert_eq!((&*invited.name, invited.by), ("crew", ada.user.to_bytes()));
    let group = ConversationId::from_slice(&invited.conversation).expect("an id");
    let subscribe = Subscribe { conversation: group.to_bytes(), ..Default::default() };
    assert_eq!(his.refused(subscribe).await.0, Refused::NotMember);
    let waiting = call(&world, bob, "GET", "/api/v1/me/invitations", None).await.json();
    assert_eq!(waiting["invitations"][0]["conversation"], group.to_string());
    let path = format!("/api/v1/me/invitations/{group}");
    assert_eq!(call(&world, bob, "PUT", &path, Some(json!({}))).await.status, 200);
    told(&mut his, |e| if let Event::AddedTo(_) = e { Some(()) } else { None }).await;
    his.subscribe(group, After::Now).await;
    his.publish(group, "here I am").await;
    assert_eq!(call(&world, bob, "DELETE", &path, None).await.status, 404, "it was answered");
}
