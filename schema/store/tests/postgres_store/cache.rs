//! What is cached in Redis: nobody reads by it what they may not read, nothing that changed stays, and whatever becomes of
//! Redis, the store answers.

use std::time::{Duration, Instant};

use schema_store::postgres::{OpenError, Options};
use schema_store::redis::{Cache, Lives, RedisAddress};
use schema_store::rows::account::{Origin, ProfileChange};
use schema_store::{Accounts, ChangePosition, PostgresStore, Store};
use schema_wire::Offset;
use schema_wire::record::{Entry, Page};
use schema_wire::v1::GoneReason;
use servers::{Postgres, Redis};

use crate::seed::{conversation, message, page, people, publish, user, world};

/// For what is learned from the change log by a poller that tests do not have.
const PATIENCE: Duration = Duration::from_secs(10);

async fn node(server: &Postgres, redis: &Redis) -> PostgresStore {
    let cache =
        Cache::new(RedisAddress::parse(&redis.url()).unwrap(), Lives::at_most(Duration::from_secs(3_600)));
    let options = Options { cache: Some(cache), ..Options::default() };
    PostgresStore::open(&server.url("postgres"), options).await.unwrap()
}

/// Hits and misses of a kind.
fn counts(store: &PostgresStore, kind: &str) -> [u64; 2] {
    let text = store.cache_metrics()();
    ["hits", "misses"].map(|what| {
        let name = format!("relay_cache_{what}_total{{cache=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).expect("it is counted").parse().unwrap()
    })
}

/// Reads until the cache has answered: what was read is written behind the reader's back.
async fn until_hit<T>(store: &PostgresStore, kind: &str, mut read: impl AsyncFnMut() -> T) -> T {
    let began = Instant::now();
    loop {
        let [hits, _] = counts(store, kind);
        let found = read().await;
        if counts(store, kind)[0] > hits {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{kind} is never cached");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn newest(store: &PostgresStore, reader: u32, of: u32) -> Page {
    store.history(user(reader), conversation(of), Offset(0), 50, true).await.unwrap()
}

fn messages(page: &Page) -> usize {
    page.entries.iter().filter(|entry| matches!(entry, Entry::Message(_))).count()
}

#[tokio::test]
async fn what_one_node_cached_another_reads_and_what_changed_neither() {
    let (server, _) = world().await;
    people(&server, 2, 1);
    let redis = Redis::start();
    let (one, two) = (node(&server, &redis).await, node(&server, &redis).await);
    let profile = async |store: &PostgresStore| store.profile(user(1)).await.unwrap();
    let talk = async |store: &PostgresStore| store.conversation(user(1), conversation(1)).await.unwrap();
    assert_eq!(profile(&one).await.name, "n1");
    assert_eq!(until_hit(&two, "profile", async || profile(&two).await).await, profile(&one).await);
    until_hit(&one, "conversation", async || talk(&one).await).await;
    assert_eq!(talk(&two).await, until_hit(&two, "conversation", async || talk(&two).await).await);
    let mut at = two.changes(ChangePosition::default(), 512).await.unwrap().1;
    let change = ProfileChange { name: Some("alice".to_owned()), about: None };
    one.update_profile(user(1), change, Origin::system()).await.unwrap();
    assert_eq!(profile(&one).await.name, "alice", "who changed it reads it");
    server.sql(
        "UPDATE conversations SET name = 'renamed'; UPDATE users SET about = 'by SQL' WHERE name = 'alice'",
    );
    let began = Instant::now();
    loop {
        at = two.changes(at, 512).await.unwrap().1;
        let (person, place) = (profile(&two).await, talk(&two).await);
        if (&*person.name, &*person.about, &*place.summary.name) == ("alice", "by SQL", "renamed") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{person:?} {place:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.sql("UPDATE users SET status = 'SUSPENDED', suspended_at = now() WHERE name = 'alice'");
    two.changes(at, 512).await.unwrap();
    let seen = profile(&two).await;
    assert!(matches!(seen.status, schema_wire::record::UserStatus::Suspended { .. }), "{seen:?}");
}

#[tokio::test]
async fn no_entry_lets_anybody_read_what_the_store_would_not() {
    let (server, _) = world().await;
    people(&server, 3, 1);
    let redis = Redis::start();
    let store = node(&server, &redis).await;
    for n in 1..=20 {
        publish(&store, message(1 + (n % 2) as u32, 1, n)).await;
    }
    let full = until_hit(&store, "recent", async || newest(&store, 3, 1).await).await;
    assert_eq!((messages(&full), full.head.0), (20, 20));
    assert_eq!(page(&store, 2, 1, 15).await.entries.len(), 6, "a part of it");
    store.remove_member(user(1), conversation(1), user(2)).await.unwrap();
    let [hits, _] = counts(&store, "recent");
    assert_eq!(messages(&newest(&store, 3, 1).await), 20);
    assert!(counts(&store, "recent")[0] > hits, "the entry is there");
    publish(&store, message(1, 1, 21)).await;
    until_hit(&store, "recent", async || newest(&store, 3, 1).await).await;
    let left = newest(&store, 2, 1).await;
    assert_eq!((left.head.0, messages(&left)), (20, 20), "nothing from after they left");
    assert!(!newest(&store, 9, 1).await.readable, "a stranger");
    let wiped = store.erase_account(user(2), "asked".to_owned(), Origin::system()).await.unwrap();
    assert_eq!(wiped.messages, 10);
    let after = newest(&store, 3, 1).await;
    assert_eq!(messages(&after), 11, "what was erased is not read from the cache");
    assert!(after.entries.iter().any(|e| matches!(e, Entry::Gone { reason: GoneReason::Erased, .. })));
    server.sql("INSERT INTO store_generation VALUES (7, 'restored', now())");
    assert_eq!(newest(&store, 3, 1).await.generation.0, 7, "of a generation that is over");
}

#[tokio::test]
async fn what_others_put_there_is_a_miss_and_nothing_can_be_read_from_it() {
    let (server, _) = world().await;
    people(&server, 2, 1);
    let redis = Redis::start();
    let store = node(&server, &redis).await;
    let profile = async |n: u32| store.profile(user(n)).await.unwrap().name;
    until_hit(&store, "profile", async || profile(1).await).await;
    until_hit(&store, "profile", async || profile(2).await).await;
    let key = |n: u32| format!("relay:1:1:p:{}", user(n));
    redis.command(&["COPY", &key(1), &key(2), "REPLACE"]);
    let [hits, _] = counts(&store, "profile");
    assert_eq!(profile(2).await, "n2", "an entry under another's name is none");
    assert_eq!(counts(&store, "profile")[0], hits);
    redis.command(&["SET", &key(1), "\u{1}forged"]);
    assert_eq!(profile(1).await, "n1");
    let other = "redis.call('DEL', KEYS[1]) return redis.call('LPUSH', KEYS[1], 'of another type')";
    redis.command(&["EVAL", other, "1", &key(1)]);
    assert_eq!(profile(1).await, "n1");
    let life = redis.command(&["PTTL", &key(2)]).text().parse::<i64>().unwrap();
    assert!((3_500_000..=3_600_000).contains(&life) || life == -2, "{life}");
    let other = server.database("other");
    schema_store::postgres::migrate(&mut server.connect_to("other").await).await.unwrap();
    let cache =
        Cache::new(RedisAddress::parse(&redis.url()).unwrap(), Lives::at_most(Duration::from_secs(60)));
    let options = Options { cache: Some(cache), ..Options::default() };
    let refused = PostgresStore::open(&other, options).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Redis(_)) && refused.to_string().contains("installation"),
        "{refused}"
    );
}

#[tokio::test]
async fn without_redis_the_store_answers_and_what_changed_meanwhile_is_told_when_it_is_back() {
    let (server, _) = world().await;
    people(&server, 1, 1);
    let mut redis = Redis::start();
    let (one, two) = (node(&server, &redis).await, node(&server, &redis).await);
    let name = async |store: &PostgresStore| store.profile(user(1)).await.unwrap().name;
    until_hit(&two, "profile", async || name(&two).await).await;
    let at = one.changes(ChangePosition::default(), 512).await.unwrap().1;
    redis.pause();
    let change = ProfileChange { name: Some("changed".to_owned()), about: None };
    one.update_profile(user(1), change, Origin::system()).await.unwrap();
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(name(&one).await, "changed");
        assert_eq!(name(&two).await, "changed", "what it cannot look up it asks the store");
    }
    println!("40 reads while Redis hangs took {:?}", began.elapsed());
    redis.resume();
    let began = Instant::now();
    let mut at = at;
    loop {
        at = one.changes(at, 512).await.unwrap().1;
        if redis.command(&["GET", &format!("relay:1:1:p:{}", user(1))]).text().is_empty() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the mark is left once Redis is back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(name(&two).await, "changed");
    redis.kill();
    assert_eq!(name(&two).await, "changed");
    redis.start_again();
    until_hit(&two, "profile", async || name(&two).await).await;
}

/// `cargo nextest run --release -p schema-store --test postgres_store costs --run-ignored only --no-capture`
#[tokio::test]
#[ignore = "prints figures"]
async fn what_a_hit_costs_and_what_the_store_would() {
    let (server, plain) = world().await;
    people(&server, 2, 1);
    let redis = Redis::start();
    let cached = node(&server, &redis).await;
    for n in 1..=50 {
        publish(&plain, message(1, 1, n)).await;
    }
    let direct = plain.create_direct(user(1), user(2)).await.unwrap().0;
    let reads: [(&str, Read); 4] = [
        ("profile", |store| Box::pin(async move { drop(store.profile(user(1)).await.unwrap()) })),
        ("conversation", |store| {
            Box::pin(async move { drop(store.conversation(user(1), conversation(1)).await.unwrap()) })
        }),
        ("recent", |store| Box::pin(async move { drop(newest(&store, 1, 1).await) })),
        ("recent", |store| Box::pin(async move { drop(page(&store, 1, 1, 31).await) })),
    ];
    let pair = cached.conversation(user(1), direct).await.unwrap();
    assert!(pair.summary.peer.is_some());
    for (kind, read) in reads {
        until_hit(&cached, kind, async || read(cached.clone()).await).await;
        for (name, store) in [("store", &plain), ("cache", &cached), ("store", &plain), ("cache", &cached)] {
            let (alone, together) = (alone(store, read).await, together(store, read).await);
            println!("{kind:12} {name}: p50 {alone:?} alone, {together:.0}/s by 32 at once");
        }
    }
}

type Reading = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
type Read = fn(PostgresStore) -> Reading;

/// The middle one of 2,000.
async fn alone(store: &PostgresStore, read: Read) -> Duration {
    let mut took = Vec::new();
    for _ in 0..2_000 {
        let began = Instant::now();
        read(store.clone()).await;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[took.len() / 2]
}

/// Per second.
async fn together(store: &PostgresStore, read: Read) -> f64 {
    const EACH: u32 = 200;
    let began = Instant::now();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    read(store.clone()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    f64::from(32 * EACH) / began.elapsed().as_secs_f64()
}
