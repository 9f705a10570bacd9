//! What appending on PostgreSQL costs beside writing the same rows, how long an ack takes at half of that, and what a
//! conversation that all nodes write to costs the others. `postgres_figures URL` on an empty database whose contents
//! may go.

mod half_load;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use schema_store::postgres::{Options, migrate};
use schema_store::{PostgresStore, Store};
use schema_wire::record::{Append, Appended};
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};
use tokio_postgres::{Client, NoTls};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const LASTS: Duration = Duration::from_secs(8);
const NODES: u64 = 8;
const CONVERSATIONS: u64 = 1_000;
/// Messages of 64 that go to the conversation all share.
const HOT: u64 = 8;
const BODY: [u8; 256] = [7; 256];

static KEYS: AtomicU64 = AtomicU64::new(0);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).ok_or("usage: postgres_figures URL")?;
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    migrate(&mut client).await?;
    seed(&client).await?;
    println!("load {}", load());
    for size in [64, 512] {
        let (floor, commits) = plain(&client, size).await?;
        let mut most = 0.0;
        for lanes in [1, 4] {
            let store = PostgresStore::open(&url, Options::default()).await?;
            most = stored(&store, lanes, size).await;
            println!("batch {size:3}: floor {floor:7.0}/s, {lanes} lanes {most:7.0}/s = {:.2}", most / floor);
        }
        let store = PostgresStore::open(&url, Options::default()).await?;
        let [ack50, ack99] = half_load::spread(half_load::waits(&store, 4, size, most / 2.0).await);
        let [commit50, commit99] = half_load::spread(commits);
        println!(
            "batch {size:3}: at {:.0}/s an ack takes {ack50:.2?}, p99 {ack99:.2?}; one commit of {size} rows alone {commit50:.2?}, \
             p99 {commit99:.2?}; p99 to p50 {:.2}, p99 to p99 {:.2}",
            most / 2.0,
            ack99.as_secs_f64() / commit50.as_secs_f64(),
            ack99.as_secs_f64() / commit99.as_secs_f64(),
        );
    }
    for shared in [false, true, false, true] {
        let rate = nodes(&url, shared).await?;
        let [others, hot] = rate;
        let how = if shared { "shared" } else { "apart " };
        println!("{NODES} nodes, hot {how}: {others:7.0}/s on the others, {hot:6.0}/s on it");
    }
    println!("load {}", load());
    Ok(())
}

/// The machine's load averages.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

async fn seed(client: &Client) -> Outcome<()> {
    client
        .batch_execute(&format!(
            "INSERT INTO users (id, name, status) VALUES ('{:032x}', 'one', 'ACTIVE') ON CONFLICT DO NOTHING;
             INSERT INTO conversations (id, kind, last_at) SELECT lpad(to_hex(n), 32, '0')::uuid, 'GROUP', 'epoch'
               FROM generate_series(0, {}) n ON CONFLICT DO NOTHING;
             INSERT INTO conversation_members (conversation_id, user_id, joined_version, members_version,
                 joined_offset, joined_at, role)
               SELECT c.id, u.id, 1, 1, 1, now(), 1 FROM conversations c, users u ON CONFLICT DO NOTHING; ANALYZE",
            1,
            CONVERSATIONS * (NODES + 2)
        ))
        .await?;
    Ok(())
}

fn message(conversation: u64) -> Append {
    let number = |n: u64| u128::from(n).to_be_bytes();
    Append {
        conversation: ConversationId(number(conversation)),
        publish_key: PublishKey(number(KEYS.fetch_add(1, Ordering::Relaxed) << 8 | 1)),
        sender: UserId(number(1)),
        device: DeviceId(number(1)),
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::from_static(&BODY),
        commitment: None,
    }
}

/// The same rows by one connection that knows all offsets: keys, messages, counters. How many a second, and how long
/// each commit took.
async fn plain(client: &Client, size: u64) -> Outcome<(f64, Vec<Duration>)> {
    let write = client
        .prepare(
            "WITH k AS (INSERT INTO publish_keys (sender_id, publish_key, conversation_id, log_offset, generation)
               SELECT $1::text::uuid, n::text::uuid, $1::text::uuid, o, 0 FROM unnest($2::text[], $3::bigint[]) a (n, o)),
             c AS (UPDATE conversations SET next_offset = 1 WHERE id = ANY ($5::text[]::uuid[]))
             INSERT INTO messages (conversation_id, log_offset, generation, kind, sender_id, device_id, created_at,
               publish_key, members_version, body)
             SELECT i::uuid, o, 0, 0, $1::text::uuid, $1::text::uuid, now(), n::uuid, 0, b
             FROM unnest($2::text[], $3::bigint[], $4::bytea[], $5::text[]) a (n, o, b, i)",
        )
        .await?;
    let (began, mut rows, mut commits) = (Instant::now(), 0, Vec::new());
    let user = format!("{:032x}", 1);
    while began.elapsed() < LASTS {
        let first = KEYS.fetch_add(size, Ordering::Relaxed);
        let keys: Vec<_> =
            (first..first + size).map(|n| format!("{:032x}", u128::from(n) << 64 | 2)).collect();
        let offsets: Vec<_> = (first..first + size).map(|n| n as i64).collect();
        let places: Vec<_> = (0..size).map(|n| format!("{:032x}", n % CONVERSATIONS)).collect();
        let bodies = vec![&BODY[..]; size as usize];
        let asked = Instant::now();
        client.execute(&write, &[&user, &keys, &offsets, &bodies, &places]).await?;
        commits.push(asked.elapsed());
        rows += size;
    }
    let rate = rows as f64 / began.elapsed().as_secs_f64();
    client.batch_execute("TRUNCATE messages, publish_keys").await?;
    client.batch_execute("VACUUM conversations").await?;
    Ok((rate, commits))
}

/// Batches over as many lanes, each with conversations of its own.
async fn stored(store: &PostgresStore, lanes: u64, size: u64) -> f64 {
    let (began, acked) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let lane = |lane: u64| {
        let (store, acked) = (store.clone(), acked.clone());
        tokio::spawn(async move {
            while began.elapsed() < LASTS {
                let each = CONVERSATIONS / lanes;
                let batch = (0..size).map(|n| message(lane * each + n % each)).collect();
                if let Ok(done) = store.try_append(batch).await {
                    let stored = done.iter().filter(|o| matches!(o, Ok(Appended::Stored { .. }))).count();
                    acked.fetch_add(stored as u64, Ordering::Relaxed);
                }
            }
        })
    };
    for lane in (0..lanes).map(lane).collect::<Vec<_>>() {
        let _ = lane.await;
    }
    acked.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// Nodes that write to conversations of their own and, in each batch, to one: the same for all, or one each.
async fn nodes(url: &str, shared: bool) -> Outcome<[f64; 2]> {
    let (began, ends) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let acked: Arc<[AtomicU64; 2]> = Arc::default();
    let mut running = Vec::new();
    for node in 1..=NODES {
        let store = PostgresStore::open(url, Options { pool_size: 4, ..Options::default() }).await?;
        let (acked, ends) = (acked.clone(), ends.clone());
        let hot = if shared { CONVERSATIONS * (NODES + 1) } else { CONVERSATIONS * (NODES + 1) + node };
        running.push(tokio::spawn(write(store, node, hot, acked, ends)));
    }
    tokio::time::sleep(LASTS).await;
    let rate = [0, 1].map(|n: usize| acked[n].load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64());
    ends.store(true, Ordering::Relaxed);
    for node in running {
        let _ = node.await;
    }
    Ok(rate)
}

/// As the relay does it: one batch at a time of what nobody else holds, the rest in a lane of its own.
async fn write(store: PostgresStore, node: u64, hot: u64, acked: Arc<[AtomicU64; 2]>, ends: Arc<AtomicBool>) {
    let mut own: Option<tokio::task::JoinHandle<()>> = None;
    while !ends.load(Ordering::Relaxed) {
        let idle = own.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
        let first = if idle { 0 } else { HOT };
        let place = |n| if n < HOT { hot } else { node * CONVERSATIONS + n };
        let batch = (first..64).map(|n| message(place(n))).collect();
        let Ok(done) = store.try_append(batch).await else { continue };
        let held: Vec<_> = done.into_iter().filter_map(Result::err).collect();
        acked[0].fetch_add(64 - HOT, Ordering::Relaxed);
        if held.is_empty() {
            acked[1].fetch_add(HOT - first, Ordering::Relaxed);
            continue;
        }
        let (store, acked) = (store.clone(), acked.clone());
        own = Some(tokio::spawn(async move {
            let stored = store.append(held).await.map_or(0, |done| done.len() as u64);
            acked[1].fetch_add(stored, Ordering::Relaxed);
        }));
    }
    if let Some(own) = own {
        let _ = own.await;
    }
}
