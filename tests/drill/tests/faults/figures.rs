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
    let (client, mut hop) = (postgres.connect().await, Hop::open(&redis).await?);
    let (commit, id) = (client.prepare(COMMIT).await?, scene.conversation.to_string());
    let mut times = [const { Vec::new() }; 4];
    for n in 0..MESSAGES {
        let key = scene.random.key();
        let began = Instant::now();
        let request = scene.alice.ask(message(scene.conversation, key, Bytes::from_static(&BODY))).await?;
        loop {
            match other.next().await?.body {
                Some(Body::Delivery(there)) if there.publish_key[..] == key[..] => break,
                _ => {}
            }
        }
        times[0].push(began.elapsed());
        scene.alice.answer(request).await?;
        let began = Instant::now();
        scene.publish_acked().await?;
        times[1].push(began.elapsed());
        let (key, offset) = (format!("{n:032x}"), 1_000_000_000 + n as i64);
        let began = Instant::now();
        client.execute(&commit, &[&id, &key, &offset, &&BODY[..]]).await?;
        times[2].push(began.elapsed());
        times[3].push(hop.one().await?);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let [way, ack, commit, hops] = times.map(middle);
    println!(
        "publish to delivery on another node p50 {way:.2?}, to the ack {ack:.2?}; one commit of the same rows {commit:.2?} + two Redis \
         hops {hops:.2?} = {:.2?}: {:.2} of it, and {:.2} of the commit to the ack; load {}",
        commit + hops,
        way.as_secs_f64() / (commit + hops).as_secs_f64(),
        ack.as_secs_f64() / commit.as_secs_f64(),
        load(),
    );
    drop(other);
    anyhow::ensure!(
        tokio::task::block_in_place(|| second.drain())?.success(),
        "the second node ends in order"
    );
    scene.close().await
}

/// How long is published before the CPU is read, and how often.
const SLICE: Duration = Duration::from_secs(2);
const TURNS: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn of_what_a_copy_to_another_node_costs() -> Result<()> {
    let (postgres, redis) = (earnest(), Redis::start());
    let env = [
        ("DATABASE_URL", &*postgres.url("postgres")),
        ("REDIS_URL", &redis.url()),
        ("RELAY_QUIC_SECRET", QUIC_SECRET),
    ];
    let mut scene = Scene::open("figures-copies", &env).await?;
    let first = scene.server.pid();
    scene.publish_until(tokio::time::sleep(SLICE)).await?;
    let ([alone], sent_alone) = spent(&mut scene, async || Ok([cpu_of(first)?])).await?;
    let (second, mut other) = scene.beside().await?;
    let there = tokio::spawn(async move { while other.next().await.is_ok() {} });
    scene.publish_until(tokio::time::sleep(SLICE)).await?;
    let pid = second.pid();
    let of_all = async || Ok([cpu_of(first)?, cpu_of(pid)?, cpu_of_redis(&redis).await?]);
    let ([here, beyond, between], sent) = spent(&mut scene, of_all).await?;
    let each = |all: Duration, of: u32| all.as_secs_f64() * 1e6 / f64::from(of);
    println!(
        "a copy to another node costs that node {:.1} us of CPU, its one delivery included, and Redis {:.1} us; the node of the \
         publisher spends {:.1} us a message with it and {:.1} us without; {sent} and {sent_alone} messages; load {}",
        each(beyond, sent),
        each(between, sent),
        each(here, sent),
        each(alone, sent_alone),
        load(),
    );
    there.abort();
    anyhow::ensure!(
        tokio::task::block_in_place(|| second.drain())?.success(),
        "the second node ends in order"
    );
    scene.close().await
}

/// What some processes spend while alice publishes, and on how many messages.
async fn spent<const N: usize>(
    scene: &mut Scene,
    read: impl AsyncFn() -> Result<[Duration; N]>,
) -> Result<([Duration; N], u32)> {
    let (before, mut acked) = (read().await?, 0);
    for _ in 0..TURNS {
        acked += scene.publish_until(tokio::time::sleep(SLICE)).await?.0;
    }
    let after = read().await?;
    Ok((std::array::from_fn(|n| after[n] - before[n]), u32::try_from(acked)?))
}

/// User and system time of a process.
fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a process's name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // SAFETY: asks for a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

async fn cpu_of_redis(redis: &Redis) -> Result<Duration> {
    let (mut stream, mut answer) = (TcpStream::connect(redis.address()).await?, String::new());
    stream.write_all(b"INFO cpu\r\nQUIT\r\n").await?;
    stream.read_to_string(&mut answer).await?;
    let of = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    let (user, system) = (of("used_cpu_user:"), of("used_cpu_sys:"));
    Ok(Duration::from_secs_f64(user.context("user time")? + system.context("system time")?))
}

/// One message's rows, written by a statement that knows everything.
const COMMIT: &str =
    "WITH k AS (INSERT INTO publish_keys (sender_id, publish_key, conversation_id, log_offset, generation)
       VALUES ($1::text::uuid, $2::text::uuid, $1::text::uuid, $3, 0)),
     c AS (UPDATE conversations SET last_at = now() WHERE id = $1::text::uuid)
     INSERT INTO messages (conversation_id, log_offset, generation, kind, sender_id, device_id, created_at, publish_key,
       members_version, body)
     VALUES ($1::text::uuid, $3, 0, 0, $1::text::uuid, $1::text::uuid, now(), $2::text::uuid, 0, $4)";

/// From one plain connection over Redis to another.
struct Hop {
    from: TcpStream,
    to: TcpStream,
}

impl Hop {
    async fn open(redis: &Redis) -> Result<Self> {
        let (from, mut to) =
            (TcpStream::connect(redis.address()).await?, TcpStream::connect(redis.address()).await?);
        from.set_nodelay(true)?;
        to.write_all(b"SUBSCRIBE hop\r\n").await?;
        let mut bytes = vec![0; 4096];
        while to.read(&mut bytes).await? == bytes.len() {}
        Ok(Self { from, to })
    }

    async fn one(&mut self) -> Result<Duration> {
        let (mut bytes, publish) = (vec![0; 4096], [b"PUBLISH hop ", &BODY[..], b"\r\n"].concat());
        let began = Instant::now();
        self.from.write_all(&publish).await?;
        let mut got = 0;
        while got < BODY.len() {
            got += self.to.read(&mut bytes).await?;
        }
        let took = began.elapsed();
        anyhow::ensure!(self.from.read(&mut bytes).await? > 0, "Redis says how many got it");
        Ok(took)
    }
}
