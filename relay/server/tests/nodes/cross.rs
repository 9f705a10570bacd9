//! What crosses between two relays, and what does not.

use relay_client::Event;
use schema_wire::v1::PresenceState;
use servers::{Redis, RedisOptions};

use crate::town::Town;

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
    assert_eq!(relay.figure("relay_bus_sound"), 1, "nobody is disturbed");
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
