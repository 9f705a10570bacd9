//! What crosses between two relays, and what does not.

use std::time::Duration;

use relay_client::Event;
use schema_store::Accounts;
use schema_wire::v1::PresenceState;
use servers::{Redis, RedisOptions};

use crate::town::{Person, Town};

#[tokio::test(flavor = "multi_thread")]
async fn messages_signals_typing_cursors_and_presence_cross() {
    let redis = Redis::start();
    let mut town = Town::new();
    let (alice, bob) = (town.person("alice").await, town.person("bob").await);
    let talk = town.talk(alice, bob).await;
    let (first, second) = (town.relay(&redis.url()), town.relay(&redis.url()));
    let (mut here, mut there) = (first.connect(alice).await, second.connect(bob).await);
    here.follow(talk).await;
    there.follow(talk).await;
    there.client.watch(&[talk], &[alice.user]).await.expect("watches");
    there.until_signal(&here, talk).await;
    for n in 1..=20 {
        let offset = here.say(talk, &format!("message {n}")).await;
        there.hear(talk, offset).await;
    }
    let answer = there.say(talk, "answer").await;
    here.hear(talk, answer).await;
    here.client.typing(talk, true);
    there.wait("typing", |event| matches!(event, Event::Typing(t) if t.active).then_some(())).await;
    here.client.cursor(talk, schema_wire::Offset(answer), true).await.expect("moves");
    there.wait("cursor", |event| matches!(event, Event::Cursor(c) if c.offset == answer).then_some(())).await;
    here.client.presence(PresenceState::Online).await.expect("is shown");
    let online = |event: &Event| matches!(event, Event::Presence(p) if p.state == PresenceState::Online);
    there.wait("presence", |event| online(event).then_some(())).await;
    here.client.close().await;
    let offline = |event: &Event| matches!(event, Event::Presence(p) if p.state == PresenceState::Offline);
    there.wait("absence", |event| offline(event).then_some(())).await;
    assert!(first.figure("relay_bus_published_total") > 20, "the first tells");
    assert!(second.figure("relay_bus_received_total") > 20, "the second hears");
    assert_eq!(second.figure("relay_bus_nodes"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_reaches_every_node_with_redis_and_without() {
    let mut redis = Redis::start();
    let mut town = Town::new();
    let (alice, bob) = (town.person("alice").await, town.person("bob").await);
    let talk = town.talk(alice, bob).await;
    let (first, second) = (town.relay(&redis.url()), town.relay(&redis.url()));
    let (here, mut there) = (first.connect(alice).await, second.connect(bob).await);
    let mut near = first.connect(Person { device: town.device(bob.user).await, ..bob }).await;
    for device in [&here, &there, &near] {
        device.follow(talk).await;
    }
    there.until_signal(&here, talk).await;
    near.until_signal(&here, talk).await;
    town.store.set_block(alice.user, bob.user, true).await.expect("anybody may");
    let took = there.until_silence(&here, talk).await;
    assert!(took < Duration::from_secs(5), "on the other node after {took:?}");
    near.until_silence(&here, talk).await;
    town.store.set_block(alice.user, bob.user, false).await.expect("anybody may");
    there.until_signal(&here, talk).await;
    redis.kill();
    town.store.set_block(bob.user, alice.user, true).await.expect("anybody may");
    let took = near.until_silence(&here, talk).await;
    assert!(took < Duration::from_secs(5), "without the bus after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_presents_a_wrong_password_does_not_start_and_says_why() {
    let password = Some("correct-horse-battery".to_owned());
    let redis = Redis::start_with(&RedisOptions { password, ..RedisOptions::default() });
    let mut town = Town::new();
    let refused = town.try_relay(&format!("redis://:wrong@{}", redis.address())).map(|_| ()).unwrap_err();
    assert!(refused.contains("password") && !refused.contains("wrong@"), "{refused}");
    let refused = town.try_relay(&format!("redis://{}", redis.address())).map(|_| ()).unwrap_err();
    assert!(refused.contains("password"), "{refused}");
    town.relay(&redis.url()).until("relay_bus_sound", |sound| sound == 1).await;
}

/// The account of the runbook, as its line says.
fn narrow(redis: &Redis) -> String {
    let runbook = include_str!("../../../../ops/runbooks/redis.md");
    let line =
        runbook.lines().find(|line| line.trim().starts_with("ACL SETUSER")).expect("the runbook has it");
    redis.command(&line.split_whitespace().collect::<Vec<_>>());
    format!("redis://messenger:PASSWORD@{}", redis.address())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_of_the_runbook_is_enough() {
    let redis = Redis::start();
    let url = narrow(&redis);
    let mut town = Town::new();
    let (alice, bob) = (town.person("alice").await, town.person("bob").await);
    let talk = town.talk(alice, bob).await;
    let (first, second) = (town.relay(&url), town.relay(&url));
    let (here, mut there) = (first.connect(alice).await, second.connect(bob).await);
    here.follow(talk).await;
    there.follow(talk).await;
    there.until_signal(&here, talk).await;
    let offset = here.say(talk, "hello").await;
    there.hear(talk, offset).await;
    for key in [format!("relay:1:m:{}", alice.user), format!("relay:1:o:{}", alice.user)] {
        here.client.presence(PresenceState::Online).await.expect("is shown");
        let began = std::time::Instant::now();
        while redis.command(&["EXISTS", &key]).text() != "1" {
            assert!(began.elapsed() < crate::town::PATIENCE, "{key} is written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_strangers_and_of_later_releases_are_passed_over_and_counted() {
    let redis = Redis::start();
    let mut town = Town::new();
    let relay = town.relay(&redis.url());
    relay.until("relay_bus_sound", |sound| sound == 1).await;
    for (bytes, reason) in [
        ("{\"another\":\"program\"}", "foreign"),
        ("RB\u{7f}\u{1}of version 127", "version"),
        ("RB\u{1}\u{7e}12345678of a later kind", "kind"),
        ("RB\u{1}\u{1}12345678not a publication", "malformed"),
    ] {
        redis.command(&["SPUBLISH", "relay:1:nodes", bytes]);
        let figure = format!("relay_bus_passed_over_total{{reason=\"{reason}\"}}");
        relay.until(&figure, |count| count == 1).await;
    }
    relay.until("relay_bus_sound", |sound| sound == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_frames_are_not_understood_is_heard_through_the_store() {
    let redis = Redis::start();
    let mut town = Town::new();
    let (alice, bob) = (town.person("alice").await, town.person("bob").await);
    let talk = town.talk(alice, bob).await;
    let (here, there) = (town.relay(&redis.url()), town.relay(""));
    let mut bobs = here.connect(bob).await;
    bobs.follow(talk).await;
    here.until("relay_bus_sound", |sound| sound == 1).await;
    // The other node speaks a version of which this one knows nothing but that it is one.
    let speak = || redis.command(&["SPUBLISH", "relay:1:nodes", "RB\u{2}\u{10}12345678 in another order"]);
    let alices = there.connect(alice).await;
    for n in 1..=3 {
        speak();
        here.until("relay_bus_sound", |sound| sound == 0).await;
        let offset = alices.say(talk, &format!("{n}")).await;
        let told = async {
            loop {
                speak();
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        let longest = tokio::select! {
            took = bobs.hear(talk, offset) => took,
            () = told => unreachable!("it speaks for ever"),
        };
        println!("of a node whose frames are not understood: a message took {longest:?}");
    }
    here.until("relay_bus_sound", |sound| sound == 1).await;
    assert_eq!(here.figure("relay_bus_received_total"), 0, "nothing came over the bus");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_online_is_kept_for_one_lease_and_found_by_who_begins_to_watch() {
    let redis = Redis::start();
    let mut town = Town::new();
    let (alice, bob) = (town.person("alice").await, town.person("bob").await);
    let talk = town.talk(alice, bob).await;
    let (first, second) = (town.relay(&redis.url()), town.relay(&redis.url()));
    let (here, mut there) = (first.connect(alice).await, second.connect(bob).await);
    let key = format!("relay:1:o:{}", alice.user);
    let left = || redis.command(&["PTTL", &key]).text().parse::<i64>().expect("a number");
    here.client.presence(PresenceState::Online).await.expect("is shown");
    let began = std::time::Instant::now();
    while left() < 0 {
        assert!(began.elapsed() < crate::town::PATIENCE, "it is kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(left() <= 30_000);
    there.client.watch(&[talk], &[alice.user]).await.expect("watches");
    let online = |event: &Event| matches!(event, Event::Presence(p) if p.state == PresenceState::Online);
    there.wait("presence", |event| online(event).then_some(())).await;
    second.until("relay_bus_online_hits_total", |hits| hits > 0).await;
    there.client.watch(&[talk], &[bob.user]).await.expect("watches");
    here.client.presence(PresenceState::Hidden).await.expect("is hidden");
    while left() != -2 {
        assert!(began.elapsed() < crate::town::PATIENCE, "who hides is not written down");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_count_one_message_limit_together_and_alone_while_redis_is_away() {
    let mut redis = Redis::start();
    let mut town = Town::new();
    town.limit = 30;
    let (alice, bob) = (town.person("alice").await, town.person("bob").await);
    let talk = town.talk(alice, bob).await;
    let (first, second) = (town.relay(&redis.url()), town.relay(&redis.url()));
    let (here, there) = (first.connect(alice).await, second.connect(alice).await);
    let (mine, theirs) = tokio::join!(here.try_many(talk, 40), there.try_many(talk, 40));
    assert_eq!(mine + theirs, 30, "{mine} on one relay, {theirs} on the other");
    redis.kill();
    let bobs = first.connect(bob).await;
    assert_eq!(bobs.try_many(talk, 40).await, 30, "each relay goes on with its own limit");
}
