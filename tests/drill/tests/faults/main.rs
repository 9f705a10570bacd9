//! What happens to a real node when its PostgreSQL stops, dies, hangs, fails over, has no room, takes no writes or is out of
//! reach, when the power goes and when clocks jump: publishes are refused and may be tried again, connections live on, nothing acked
//! is lost, and it heals by itself.

mod clock;
mod cut_off;
mod failover;
mod figures;
mod power;
mod read_only;
mod scene;
mod standing;

use std::time::Duration;

use anyhow::{Result, ensure};
use scene::{RECOVERY, Scene};
use servers::{Options, Postgres, Stop};

async fn on(postgres: &Postgres, name: &str) -> Result<Scene> {
    Scene::open(name, &[("DATABASE_URL", &postgres.url("postgres"))]).await
}

/// What holds while the store is away, and after it came back.
async fn away_and_back(
    scene: &mut Scene,
    postgres: &mut Postgres,
    away: impl FnOnce(&mut Postgres),
    back: impl FnOnce(&mut Postgres),
) -> Result<()> {
    scene.publish_acked().await?;
    tokio::task::block_in_place(|| away(postgres));
    let refused = scene.publish_refused().await?;
    scene.is_alive().await?;
    tokio::task::block_in_place(|| back(postgres));
    let took = scene.publish_acked().await?;
    ensure!(took < RECOVERY, "the first ack after its return took {took:?}");
    ensure!(scene.publish(refused).await?, "what was refused finds its place");
    scene.nothing_is_lost().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stops_dies_or_hangs_comes_back() -> Result<()> {
    let mut postgres = Postgres::start_with(Options { fsync: true, ..Options::default() });
    let mut scene = on(&postgres, "away").await?;
    let again = |postgres: &mut Postgres| postgres.start_again();
    away_and_back(
        &mut scene,
        &mut postgres,
        |p| {
            p.stop(Stop::Fast);
        },
        again,
    )
    .await?;
    away_and_back(&mut scene, &mut postgres, Postgres::kill, again).await?;
    away_and_back(
        &mut scene,
        &mut postgres,
        |p| {
            p.stop(Stop::Immediate);
        },
        again,
    )
    .await?;
    away_and_back(&mut scene, &mut postgres, |p| p.pause(), |p| p.resume()).await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_writes_any_more_is_read_and_waited_for() -> Result<()> {
    let mut postgres = Postgres::start();
    let mut scene = on(&postgres, "read-only").await?;
    let turn = |postgres: &mut Postgres, to: &str| {
        postgres.sql(&format!("ALTER SYSTEM SET default_transaction_read_only = {to}"));
        postgres.sql("SELECT pg_reload_conf()");
        postgres.until("SHOW default_transaction_read_only", to);
    };
    away_and_back(&mut scene, &mut postgres, |p| turn(p, "on"), |p| turn(p, "off")).await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_for_30_seconds_goes_on() -> Result<()> {
    let postgres = Postgres::start();
    let mut scene = on(&postgres, "hang").await?;
    scene.publish_acked().await?;
    tokio::task::block_in_place(|| scene.server.pause(Duration::from_secs(30)));
    let took = scene.publish_acked().await?;
    ensure!(took < RECOVERY, "the first ack took {took:?}");
    scene.nothing_is_lost().await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ran_out_are_waited_for() -> Result<()> {
    let postgres = Postgres::start_with(Options::default().set("max_connections", 20));
    let mut scene = on(&postgres, "crowded").await?;
    scene.publish_acked().await?;
    let place = postgres.connect().await;
    let mut crowd = Vec::new();
    let kick = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'messenger'";
    for _ in 0..200 {
        place.simple_query(kick).await?;
        match postgres.try_connect_to("postgres").await {
            Some(client) => crowd.push(client),
            None if crowd.len() > 10 => break,
            None => {}
        }
    }
    let refused = scene.publish_refused().await?;
    scene.is_alive().await?;
    drop(crowd);
    let took = scene.publish_acked().await?;
    ensure!(took < RECOVERY, "the first ack once there was room took {took:?}");
    ensure!(scene.publish(refused).await?, "what was refused finds its place");
    scene.nothing_is_lost().await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_survived() -> Result<()> {
    let options = Options { disk_mib: Some(192), fsync: true, ..Options::default() };
    let mut postgres = Postgres::start_with(options.set("max_wal_size", "32MB"));
    let mut scene = on(&postgres, "full").await?;
    scene.publish_acked().await?;
    postgres.disk().fill(0);
    // What is left of files that exist takes some more.
    let mut refused = None;
    for n in 0..5_000u32 {
        let mut key = [9; 16];
        key[..4].copy_from_slice(&n.to_be_bytes());
        if !scene.publish(key).await? {
            refused = Some(key);
            break;
        }
    }
    let refused = refused.ok_or_else(|| anyhow::anyhow!("the disk did not get full"))?;
    scene.is_alive().await?;
    postgres.disk().clear();
    if postgres.has_ended() {
        postgres.start_again();
    }
    let took = scene.publish_acked().await?;
    ensure!(took < RECOVERY * 2, "the first ack after there is room took {took:?}");
    ensure!(scene.publish(refused).await?, "what was refused finds its place");
    scene.nothing_is_lost().await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_in_sql_cuts_a_live_session() -> Result<()> {
    let postgres = Postgres::start();
    let mut scene = on(&postgres, "sql").await?;
    scene.is_alive().await?;
    postgres.sql(
        "UPDATE users SET status = 'SUSPENDED', suspended_at = NOW() WHERE email = 'alice@fault.example'",
    );
    let closed = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            if let Err(error) = scene.alice.next().await {
                return error.to_string();
            }
        }
    });
    let told = closed.await?;
    ensure!(told.contains("SUSPENDED") || told.contains("4504"), "{told}");
    scene.close().await
}
