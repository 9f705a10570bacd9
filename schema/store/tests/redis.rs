//! Shared limits on a real Redis: exact for many at once, on every primary of a Cluster, and never trusting what others left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schema_store::redis::{Keys, RedisAddress, RedisFault, SharedLimit};
use servers::{Cluster, Redis, RedisOptions};

fn keys(url: &str) -> Arc<Keys> {
    Arc::new(Keys::new(RedisAddress::parse(url).expect("a URL")))
}

const TEN: SharedLimit = SharedLimit { max: 10, window_ms: 60_000 };

#[tokio::test]
async fn consoles_that_count_at_once_admit_the_limit_and_not_one_more() {
    let redis = Redis::start();
    let consoles: Vec<_> = (0..4).map(|_| keys(&redis.url())).collect();
    let mut tasks = Vec::new();
    for n in 0..40 {
        let console = consoles[n % 4].clone();
        tasks.push(tokio::spawn(async move { console.count("everybody", TEN).await.expect("counts") }));
    }
    let mut admitted = 0;
    for task in tasks {
        match task.await.expect("does not panic") {
            Ok(()) => admitted += 1,
            Err(wait) => assert!((1..=60_000).contains(&wait), "{wait}"),
        }
    }
    // At the turn of a window the older one counts with less than its whole.
    assert!((10..=11).contains(&admitted), "{admitted}");
    assert_eq!(consoles[0].count("somebody else", TEN).await, Ok(Ok(())));
}

#[tokio::test]
async fn what_many_take_at_once_adds_up_to_the_limit() {
    let redis = Redis::start();
    let nodes: Vec<_> = (0..4).map(|_| keys(&redis.url())).collect();
    let limit = SharedLimit { max: 100, window_ms: 1_500 };
    let mut tasks = Vec::new();
    for n in 0..40 {
        let node = nodes[n % 4].clone();
        tasks.push(tokio::spawn(async move { node.take("alice", limit, 7).await.expect("takes") }));
    }
    let (mut granted, mut waits) = (0, Vec::new());
    for task in tasks {
        match task.await.expect("does not panic") {
            Ok(count) => granted += count,
            Err(wait) => waits.push(wait),
        }
    }
    assert_eq!((granted, waits.len()), (100, 25), "fourteen sevens and a two");
    assert_eq!(nodes[0].take("bob", limit, 3).await, Ok(Ok(3)));
    let longest = waits.into_iter().max().expect("25");
    tokio::time::sleep(Duration::from_millis(longest + 500)).await;
    assert_eq!(nodes[1].take("alice", limit, 100).await, Ok(Ok(100)), "all of it has slid away");
    redis.command(&["DEL", "relay:1:m:alice"]);
    redis.command(&["RPUSH", "relay:1:m:alice", "not ours", "1e99 -5"]);
    assert_eq!(nodes[1].take("alice", limit, 100).await, Ok(Ok(100)), "what is no entry counts nothing");
}

#[tokio::test]
async fn it_tells_how_it_does() {
    let mut redis = Redis::start();
    let address = RedisAddress::parse(&redis.url()).expect("a URL");
    redis.command(&["SET", "relay:x", "1"]);
    let before = address.look().await.expect("it answers");
    for key in ["relay:x", "relay:x", "relay:y"] {
        redis.command(&["GET", key]);
    }
    let after = address.look().await.expect("it answers");
    assert_eq!((after.hits - before.hits, after.misses - before.misses, after.servers), (2, 1, 1));
    assert!(after.version.starts_with(char::is_numeric) && after.clients > 0 && after.memory_bytes > 0);
    let cluster = Cluster::start();
    let address = RedisAddress::parse(&cluster.urls()[0]).expect("a URL");
    assert_eq!(address.look().await.expect("it answers").servers, 3, "every primary");
    redis.kill();
    let gone = RedisAddress::parse(&redis.url()).expect("a URL").look().await;
    assert!(matches!(gone, Err(RedisFault::Away(_))), "{gone:?}");
}

#[tokio::test]
async fn a_window_slides_away() {
    let redis = Redis::start();
    let keys = keys(&redis.url());
    let limit = SharedLimit { max: 3, window_ms: 200 };
    while keys.count("x", limit).await.expect("counts").is_ok() {}
    tokio::time::sleep(Duration::from_millis(450)).await;
    for _ in 0..3 {
        assert_eq!(keys.count("x", limit).await, Ok(Ok(())));
    }
    assert!(redis.command(&["PTTL", "relay:1:l:x"]).text().parse::<i64>().expect("a number") <= 400);
}

#[tokio::test]
async fn a_redis_that_is_away_is_an_error_at_once_and_is_found_again() {
    let mut redis = Redis::start();
    let keys = keys(&redis.url());
    assert_eq!(keys.count("x", TEN).await, Ok(Ok(())));
    for paused in [true, false] {
        if paused {
            redis.pause()
        } else {
            redis.kill()
        }
        assert!(keys.count("x", TEN).await.is_err());
        let began = Instant::now();
        assert!(keys.count("x", TEN).await.is_err(), "and is not asked again at once");
        assert!(began.elapsed() < Duration::from_millis(200));
        if paused {
            redis.resume()
        } else {
            redis.start_again()
        }
        let began = Instant::now();
        while keys.count("x", TEN).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "it is back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_others_left_under_a_name_is_no_count() {
    let redis = Redis::start();
    let keys = keys(&redis.url());
    redis.command(&["SET", "relay:1:l:x", "not ours"]);
    assert_eq!(keys.count("x", TEN).await, Err(RedisFault::Answer));
    redis.command(&["DEL", "relay:1:l:x"]);
    redis.command(&["HSET", "relay:1:l:x", "number", "soon", "count", "many"]);
    assert_eq!(keys.count("x", TEN).await, Ok(Ok(())), "what is no number counts nothing");
}

#[tokio::test]
async fn every_primary_of_a_cluster_counts_its_own() {
    let cluster = Cluster::start();
    let keys = keys(&cluster.urls()[0]);
    for n in 0..30 {
        assert_eq!(keys.count(&format!("{n}"), TEN).await, Ok(Ok(())));
    }
    let counted = |node: &Redis| node.command(&["DBSIZE"]).text().parse::<usize>().expect("a number");
    let counts: Vec<usize> = cluster.nodes.iter().map(counted).collect();
    assert_eq!(counts.iter().sum::<usize>(), 30);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[tokio::test]
async fn passwords_and_versions_are_looked_at_before_the_start() {
    let password = Some("correct-horse-battery".to_owned());
    let redis = Redis::start_with(&RedisOptions { password, ..RedisOptions::default() });
    let check = |url: String| async move { RedisAddress::parse(&url).expect("a URL").check().await };
    assert_eq!(check(redis.url()).await, Ok(()));
    assert_eq!(check(format!("redis://:wrong@{}", redis.address())).await, Err(RedisFault::Password));
    assert_eq!(check(format!("redis://{}", redis.address())).await, Err(RedisFault::Password));
    let away = check("redis://127.0.0.1:1".to_owned()).await.expect_err("nobody is there");
    assert!(away.may_pass() && away.to_string().contains("127.0.0.1:1"), "{away}");
}
