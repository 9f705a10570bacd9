//! Figures of whole nodes on PostgreSQL, each beside its floor in the same run. They mean something on a quiet machine
//! and with an optimised build only: `cargo nextest run --release -p drill --test faults figures --run-ignored only
//! --no-capture`, after `cargo build --release -p messenger`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use drill::fleet::QUIC_SECRET;
use drill::raw::message;
use schema_wire::v1::server_frame::Body;
use servers::{Options, Postgres, Redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::{BODY, Scene};

const MISSED: usize = 10_000;
/// Of as many runs the middle one counts.
const RUNS: usize = 7;
/// Messages whose way is measured, one at a time.
const MESSAGES: usize = 500;

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

fn earnest() -> Postgres {
    Postgres::start_with(Options { fsync: true, ..Options::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn of_a_client_that_missed_10_000_messages() -> Result<()> {
    let postgres = earnest();
    let mut scene = Scene::open("figures-missed", &[("DATABASE_URL", &postgres.url("postgres"))]).await?;
    while scene.acked.len() < MISSED {
        scene.publish_until(tokio::time::sleep(Duration::from_millis(100))).await?;
    }
    // Behind all that was still under way.
    scene.publish_acked().await?;
    // A device is not told what it said itself.
    scene.log_in().await?;
    let generation = scene.acked.values().map(|(generation, _)| *generation).max().context("acked")?;
    let head = scene.acked.values().map(|(_, offset)| *offset).max().context("acked")?;
    let behind = head - MISSED as u64;
    let client = postgres.connect().await;
    let id = scene.conversation.to_string();
    let (mut plain, mut caught_up) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let began = Instant::now();
        let rows = client
            .query(
                "SELECT log_offset, generation, kind, sender_id::text, device_id::text, created_at::text,
                   publish_key::text, body FROM messages
                 WHERE conversation_id = $1::text::uuid AND log_offset > $2 ORDER BY log_offset",
                &[&id, &(behind as i64)],
            )
            .await?;
        plain.push(began.elapsed());
        anyhow::ensure!(rows.len() == MISSED, "{} rows", rows.len());
        scene.reconnect().await?;
        let began = Instant::now();
        scene.subscribe(generation, behind).await?;
        while scene.alice.deliveries < MISSED as u64 {
            let frame = scene.alice.next().await?;
            scene.alice.deliveries += u64::from(matches!(frame.body, Some(Body::Delivery(_))));
        }
        caught_up.push(began.elapsed());
    }
    let (plain, caught_up) = (middle(plain), middle(caught_up));
    println!(
        "a client that missed {MISSED} messages of {} B has them in {caught_up:.2?}; a plain query of these rows takes {plain:.2?}: \
         {:.2} of its speed; load {}",
        BODY.len(),
        plain.as_secs_f64() / caught_up.as_secs_f64(),
        load(),
    );
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn of_a_message_to_another_node() -> Result<()> {
    let (postgres, redis) = (earnest(), Redis::start());
    let env = [
        ("DATABASE_URL", &*postgres.url("postgres")),
        ("REDIS_URL", &redis.url()),
        ("RELAY_QUIC_SECRET", QUIC_SECRET),
    ];
    let mut scene = Scene::open("figures-nodes", &env).await?;
    let (second, mut other) = scene.beside().await?;
    let (mut ways, mut acks) = (Vec::new(), Vec::new());
    for _ in 0..MESSAGES {
        let key = scene.random.key();
        let began = Instant::now();
        let request = scene.alice.ask(message(scene.conversation, key, Bytes::from_static(&BODY))).await?;
        loop {
            match other.next().await?.body {
                Some(Body::Delivery(there)) if there.publish_key[..] == key[..] => break,
                _ => {}
            }
        }
        ways.push(began.elapsed());
        scene.alice.answer(request).await?;
        let began = Instant::now();
        scene.publish_acked().await?;
        acks.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (commit, hops) = (commits(&postgres, &scene).await?, hops(&redis).await?);
    let (way, ack) = (middle(ways), middle(acks));
    println!(
        "publish to delivery on another node p50 {way:.2?}, to the ack {ack:.2?}; one commit of the same rows {commit:.2?} + two Redis \
         hops {hops:.2?} = {:.2?}: {:.2} of it; load {}",
        commit + hops,
        way.as_secs_f64() / (commit + hops).as_secs_f64(),
        load(),
    );
    drop(other);
    anyhow::ensure!(
        tokio::task::block_in_place(|| second.drain())?.success(),
        "the second node ends in order"
    );
    scene.close().await
}

/// One message's rows, written and committed by a statement that knows everything.
async fn commits(postgres: &Postgres, scene: &Scene) -> Result<Duration> {
    let client = postgres.connect().await;
    let write = client
        .prepare(
            "WITH k AS (INSERT INTO publish_keys (sender_id, publish_key, conversation_id, log_offset, generation)
               VALUES ($1::text::uuid, $2::text::uuid, $1::text::uuid, $3, 0)),
             c AS (UPDATE conversations SET last_at = now() WHERE id = $1::text::uuid)
             INSERT INTO messages (conversation_id, log_offset, generation, kind, sender_id, device_id, created_at,
               publish_key, members_version, body)
             VALUES ($1::text::uuid, $3, 0, 0, $1::text::uuid, $1::text::uuid, now(), $2::text::uuid, 0, $4)",
        )
        .await?;
    let (id, mut times) = (scene.conversation.to_string(), Vec::new());
    for n in 0..MESSAGES {
        let (key, offset) = (format!("{n:032x}"), 1_000_000_000 + n as i64);
        let began = Instant::now();
        client.execute(&write, &[&id, &key, &offset, &&BODY[..]]).await?;
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(middle(times))
}

/// From one plain connection over Redis to another.
async fn hops(redis: &Redis) -> Result<Duration> {
    let (mut from, mut to) =
        (TcpStream::connect(redis.address()).await?, TcpStream::connect(redis.address()).await?);
    from.set_nodelay(true)?;
    let (mut bytes, mut times) = (vec![0; 4096], Vec::new());
    to.write_all(b"SUBSCRIBE hop\r\n").await?;
    while to.read(&mut bytes).await? == bytes.len() {}
    let publish = [b"PUBLISH hop ", &BODY[..], b"\r\n"].concat();
    for _ in 0..MESSAGES {
        let began = Instant::now();
        from.write_all(&publish).await?;
        let mut got = 0;
        while got < BODY.len() {
            got += to.read(&mut bytes).await?;
        }
        times.push(began.elapsed());
        anyhow::ensure!(from.read(&mut bytes).await? > 0, "Redis says how many got it");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(middle(times))
}
