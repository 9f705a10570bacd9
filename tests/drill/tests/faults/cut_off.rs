//! A node is cut off its PostgreSQL, hangs so long that another takes its number, or is told twice to end: publishes are
//! refused and may be tried again, what nobody keeps goes on, and nothing acked is lost.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use drill::fleet::QUIC_SECRET;
use drill::raw::message;
use schema_wire::Refused;
use schema_wire::v1::server_frame::Body;
use servers::proxy::Way;
use servers::{Options, Postgres, Proxy};

use crate::scene::{BODY, RECOVERY, Scene};

/// After this a node that says nothing has lost its number (15 s), and some.
const SILENCE: Duration = Duration::from_secs(17);
/// How long a node takes that was told to end at once.
const QUICK: Duration = Duration::from_secs(3);
/// Publishes of one session that may wait for their ack, and more that come all the same.
const WAITING: usize = 1_024;
const MORE: usize = 50;
/// When they may come back, in milliseconds.
const AGAIN: RangeInclusive<u32> = 200..=3_000;
/// How soon what finds no room is refused; what found some waits for the statement's deadline (10 s).
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_way_to_its_database_refuses_and_carries_signals() -> Result<()> {
    let postgres = Postgres::start_with(Options { fsync: true, ..Options::default() });
    let proxy = Proxy::to(postgres.address());
    let url = postgres.url_through(proxy.address(), "postgres");
    let mut scene = Scene::open("cut-off", &[("DATABASE_URL", &url)]).await?;
    let mut other = scene.another().await?;
    // The last one: what was asked is done, and its answer is lost.
    let ways: [fn(&Proxy); 3] = [Proxy::cut, Proxy::stall, |proxy| proxy.stall_one_way(Way::Answers)];
    for way in ways {
        scene.publish_acked().await?;
        scene.signals_to(&mut other).await?;
        way(&proxy);
        let refused = scene.publish_refused().await?;
        scene.signals_to(&mut other).await?;
        scene.is_alive().await?;
        proxy.heal();
        let took = scene.publish_acked().await?;
        ensure!(took < RECOVERY, "the first ack after the network was whole again took {took:?}");
        ensure!(scene.publish(refused).await?, "what was refused finds its place");
        scene.nothing_is_lost().await?;
        let log = scene.read_all().await?;
        ensure!(log.values().filter(|key| **key == refused).count() == 1, "and only one: {log:?}");
    }
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_while_the_database_hangs_is_refused_at_once() -> Result<()> {
    let postgres = Postgres::start();
    let mut scene = Scene::open("no-room", &[("DATABASE_URL", &postgres.url("postgres"))]).await?;
    scene.publish_acked().await?;
    postgres.pause();
    for _ in 0..WAITING + MORE {
        let key = scene.random.key();
        scene.alice.ask(message(scene.conversation, key, Bytes::from_static(&BODY))).await?;
    }
    let refused = tokio::time::timeout(AT_ONCE, async {
        let mut moments = BTreeSet::new();
        for _ in 0..MORE {
            match scene.alice.next().await?.body {
                Some(Body::Refusal(told)) => {
                    let busy = Refused::from_code(told.code) == Some(Refused::Busy)
                        && AGAIN.contains(&told.retry_after_ms);
                    ensure!(busy, "not to be tried again: {told:?}");
                    moments.insert(told.retry_after_ms);
                }
                other => anyhow::bail!("not refused: {other:?}"),
            }
        }
        anyhow::Ok(moments)
    });
    let moments = refused.await.context("refusals at once")??;
    ensure!(moments.len() > MORE / 2, "told to come back at the same moments: {moments:?}");
    scene.is_alive().await?;
    postgres.resume();
    let took = scene.publish_acked().await?;
    ensure!(took < RECOVERY, "the first ack after it went on took {took:?}");
    scene.nothing_is_lost().await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_until_another_has_its_number_leaves() -> Result<()> {
    let postgres = Postgres::start();
    let env = [("DATABASE_URL", &*postgres.url("postgres")), ("RELAY_QUIC_SECRET", QUIC_SECRET)];
    let mut scene = Scene::open("number", &env).await?;
    for _ in 0..3 {
        scene.publish_acked().await?;
    }
    scene.server.freeze();
    tokio::time::sleep(SILENCE).await;
    let (second, other) = scene.beside_with(&[("RELAY_NODE_ID", "1")]).await?;
    scene.server.thaw();
    let first = scene.server.hand_over();
    let status = tokio::task::block_in_place(|| first.left())?;
    ensure!(!status.success(), "it says that its number is another's: {status}");
    (scene.server, scene.alice) = (second, other);
    let took = scene.publish_acked().await?;
    ensure!(took < RECOVERY, "an ack of the other node took {took:?}");
    scene.nothing_is_lost().await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_ends_at_once_when_it_is_told_again() -> Result<()> {
    let postgres = Postgres::start();
    let mut scene = Scene::open("told-again", &[("DATABASE_URL", &postgres.url("postgres"))]).await?;
    scene.publish_acked().await?;
    // There is a session to part with, and a publish that gets no answer.
    postgres.pause();
    let key = scene.random.key();
    scene.alice.ask(message(scene.conversation, key, Bytes::from_static(&BODY))).await?;
    scene.server.ask_to_end();
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.server.must_run()?;
    let (server, told) = (scene.server.hand_over(), Instant::now());
    server.ask_to_end();
    let status = tokio::task::block_in_place(|| server.left())?;
    ensure!(status.success() && told.elapsed() < QUICK, "{status} after {:?}", told.elapsed());
    postgres.resume();
    scene.start_again().await?;
    scene.publish_acked().await?;
    scene.nothing_is_lost().await?;
    scene.close().await
}
