//! What appending on PostgreSQL costs beside writing the same rows, how long an ack takes at half of that, and what a
//! conversation that all nodes write to costs the others. `postgres_figures URL` on an empty database whose contents
//! may go.

mod half_load;
mod hot;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use schema_store::postgres::{Options, migrate};
use schema_store::{PostgresStore, Store};
use schema_wire::record::{Append, Appended};
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};
use tokio_postgres::{Client, NoTls};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Everything is measured in slices that take turns with its floor's; medians count, so that what else the machine does
/// meets both.
const SLICE: Duration = Duration::from_secs(2);
const TURNS: usize = 5;
const NODES: u64 = 8;
const CONVERSATIONS: u64 = 1_000;
const BODY: [u8; 256] = [7; 256];

/// Batches under way at once in a relay.
const LANES: u64 = 4;

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
        rates(&client, &url, size).await?;
    }
    hot::compare(&url).await?;
    println!("load {}", load());
    Ok(())
}

/// How many a second beside the floor, and how long acks take at half of it beside one commit.
async fn rates(client: &Client, url: &str, size: u64) -> Outcome<()> {
    let store = PostgresStore::open(url, Options::default()).await?;
    let (mut floors, mut commits, mut ones, mut fours) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (floor, took) = plain(client, size).await?;
        floors.push(floor);
        commits.extend(took);
        empty(client).await?;
        ones.push(stored(&store, 1, size).await);
        empty(client).await?;
        fours.push(stored(&store, LANES, size).await);
        empty(client).await?;
    }
    let [floor, one, four] = [floors, ones, fours].map(middle);
    let [commit50, commit99] = half_load::spread(commits);
    println!(
        "batch {size:3}: floor {floor:7.0}/s, 1 lane {one:7.0}/s = {:.2}, {LANES} lanes {four:7.0}/s = {:.2}",
        one / floor,
        four / floor,
    );
    let mut waits = Vec::new();
    let mut commits = Vec::new();
    for _ in 0..TURNS {
        waits.extend(half_load::waits(&store, LANES as usize, size, four / 2.0).await);
        empty(client).await?;
        commits.extend(plain(client, size).await?.1);
        empty(client).await?;
    }
    let ([ack50, ack99], [beside50, beside99]) = (half_load::spread(waits), half_load::spread(commits));
    println!(
        "batch {size:3}: at {:.0}/s an ack takes {ack50:.2?}, p99 {ack99:.2?}; one commit of {size} rows in between {beside50:.2?}, \
         p99 {beside99:.2?} (before: {commit50:.2?}, {commit99:.2?}); p99 to p50 {:.2}, p99 to p99 {:.2}",
        four / 2.0,
        ack99.as_secs_f64() / beside50.as_secs_f64(),
        ack99.as_secs_f64() / beside99.as_secs_f64(),
    );
    Ok(())
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// What was written goes, so that every slice finds the same.
async fn empty(client: &Client) -> Outcome<()> {
    client.batch_execute("TRUNCATE messages, publish_keys").await?;
    client.batch_execute("VACUUM conversations").await?;
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
    while began.elapsed() < SLICE {
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
    Ok((rows as f64 / began.elapsed().as_secs_f64(), commits))
}

/// Batches over as many lanes, each with conversations of its own.
async fn stored(store: &PostgresStore, lanes: u64, size: u64) -> f64 {
    let (began, acked) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let lane = |lane: u64| {
        let (store, acked) = (store.clone(), acked.clone());
        tokio::spawn(async move {
            while began.elapsed() < SLICE {
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
