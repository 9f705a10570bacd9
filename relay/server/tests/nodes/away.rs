//! Redis is killed, paused, stopped, flushed, cut off, or brings nothing: what is acked arrives from the store, nobody loses
//! a session, and what is ephemeral flows again by itself. How long it takes is printed, not asserted: heads are compared
//! each second while the bus is not sound, and the rest is the machine's.

use std::time::Duration;

use schema_wire::ConversationId;
use servers::{Proxy, Redis};

use crate::town::{Device, Relay, Town};

struct Pair {
    here: Device,
    there: Device,
    relays: [Relay; 2],
    talk: ConversationId,
}

/// Alice on one relay and Bob on another, who follow one conversation over a bus that works.
async fn pair(town: &mut Town, urls: [&str; 2]) -> Pair {
    let (alice, bob) = (town.person("alice").await, town.person("bob").await);
    let talk = town.talk(alice, bob).await;
    let relays = urls.map(|url| town.relay(url));
    let (here, there) = (relays[0].connect(alice).await, relays[1].connect(bob).await);
    here.follow(talk).await;
    there.follow(talk).await;
    Pair { here, there, relays, talk }
}

impl Pair {
    /// Messages cross one after the other; the longest way.
    async fn talk(&mut self, messages: u32) -> Duration {
        let mut longest = Duration::ZERO;
        for n in 0..messages {
            let offset = self.here.say(self.talk, &format!("{n}")).await;
            longest = longest.max(self.there.hear(self.talk, offset).await);
        }
        longest
    }

    async fn until_sound(&self) {
        for relay in &self.relays {
            relay.until("relay_bus_sound", |sound| sound == 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_from_the_store_while_redis_is_away_and_signals_come_back_with_it() {
    let mut redis = Redis::start();
    let url = redis.url();
    let mut town = Town::new();
    let mut pair = pair(&mut town, [&url, &url]).await;
    pair.there.until_signal(&pair.here, pair.talk).await;
    for way in ["killed", "paused", "stopped"] {
        match way {
            "killed" => redis.kill(),
            "paused" => redis.pause(),
            _ => redis.stop(),
        }
        let longest = pair.talk(5).await;
        println!("Redis {way}: a message took at most {longest:?}");
        pair.relays[1].until("relay_bus_sound", |sound| sound == 0).await;
        if way == "paused" {
            redis.resume()
        } else {
            redis.start_again()
        }
        pair.until_sound().await;
        pair.there.until_signal(&pair.here, pair.talk).await;
    }
    redis.flush();
    pair.talk(3).await;
    pair.there.until_signal(&pair.here, pair.talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_starts_without_redis_and_joins_when_it_comes() {
    let mut redis = Redis::start();
    let url = redis.url();
    redis.stop();
    let mut town = Town::new();
    let mut pair = pair(&mut town, [&url, &url]).await;
    let longest = pair.talk(2).await;
    println!("Redis never came: a message took at most {longest:?}");
    assert_eq!(pair.relays[1].figure("relay_bus_sound"), 0);
    redis.start_again();
    pair.there.until_signal(&pair.here, pair.talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_cut_off_is_missed_by_the_others() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let mut town = Town::new();
    let mut pair = pair(&mut town, [&redis.url_through(proxy.address()), &redis.url()]).await;
    pair.there.until_signal(&pair.here, pair.talk).await;
    for stalled in [true, false] {
        if stalled {
            proxy.stall()
        } else {
            proxy.cut()
        }
        let longest = pair.talk(4).await;
        println!("one relay cut off (stalled: {stalled}): a message took at most {longest:?}");
        pair.relays[1].until("relay_bus_sound", |sound| sound == 0).await;
        proxy.heal();
        pair.until_sound().await;
        pair.there.until_signal(&pair.here, pair.talk).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acked_is_lost_though_redis_loses_everything() {
    // Each relay has a Redis of its own and thinks that all is well.
    let (one, other) = (Redis::start(), Redis::start());
    let mut town = Town::new();
    let mut pair = pair(&mut town, [&one.url(), &other.url()]).await;
    pair.until_sound().await;
    let mut last = 0;
    for n in 0..200 {
        last = pair.here.say(pair.talk, &format!("{n}")).await;
    }
    for offset in 1..=last {
        pair.there.hear(pair.talk, offset).await;
    }
    assert_eq!(pair.relays[1].figure("relay_bus_received_total"), 0, "not one came through Redis");
}
