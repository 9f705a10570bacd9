//! Clocks jump, forward and back, by minutes and by more than a token's life: of a node on SQLite, of a node on PostgreSQL,
//! and of PostgreSQL itself. Times never go back in a log, nothing acked is lost, and nobody waits for a clock.

use anyhow::{Result, ensure};
use schema_wire::v1::{self, server_frame::Body};
use servers::machine::Sync;
use servers::{Machine, Options, Postgres};

use crate::scene::{RECOVERY, Scene};

/// Less than a token lives (15 min), and much more.
const MINUTES: i64 = 10 * 60;
const DAYS: i64 = 3 * 24 * 3600;
/// How often the clock jumps to and fro.
const JUMPS: usize = 3;

/// Publishes are acked as if nothing had happened, on the connection that was there before.
async fn goes_on(scene: &mut Scene, when: &str) -> Result<()> {
    scene.is_alive().await?;
    for _ in 0..5 {
        let took = scene.publish_acked().await?;
        ensure!(took < RECOVERY, "an ack {when} took {took:?}");
    }
    scene.server.must_run()
}

/// Alice's token may be out of date by this clock, or not be valid yet: she is cut off, logs in anew, and goes on.
async fn goes_on_anew(scene: &mut Scene, when: &str) -> Result<()> {
    scene.log_in().await?;
    goes_on(scene, when).await
}

async fn jumps(scene: &mut Scene, machine: &Machine) -> Result<()> {
    goes_on(scene, "before").await?;
    for _ in 0..JUMPS {
        machine.set_clock(MINUTES);
        goes_on(scene, "minutes ahead").await?;
        machine.set_clock(-MINUTES);
        goes_on(scene, "minutes behind").await?;
    }
    for (seconds, when) in [(DAYS, "days ahead"), (-DAYS, "days behind"), (0, "in the end")] {
        machine.set_clock(seconds);
        goes_on_anew(scene, when).await?;
    }
    scene.times_rise().await?;
    scene.nothing_is_lost().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_node_on_sqlite() -> Result<()> {
    let mut scene = Scene::open_with("clock-sqlite", |launch| launch.give_machine(Sync::Honest)).await?;
    let machine = scene.launch.machine.clone().expect("it was given one");
    jumps(&mut scene, &machine).await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_node_on_postgres() -> Result<()> {
    let postgres = Postgres::start();
    let mut scene = Scene::open_with("clock-node", |launch| {
        launch.give_machine(Sync::Honest)?;
        launch.env.push(("DATABASE_URL".into(), postgres.url("postgres")));
        launch.migrate()
    })
    .await?;
    let machine = scene.launch.machine.clone().expect("it was given one");
    jumps(&mut scene, &machine).await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_postgres() -> Result<()> {
    let postgres = Postgres::start_with(Options { machine: Some(Sync::Honest), ..Options::default() });
    let mut scene = Scene::open("clock-postgres", &[("DATABASE_URL", &postgres.url("postgres"))]).await?;
    goes_on(&mut scene, "before").await?;
    for seconds in [MINUTES, -MINUTES, DAYS, -DAYS, 0] {
        postgres.machine().set_clock(seconds);
        goes_on(&mut scene, "by another clock").await?;
    }
    scene.times_rise().await?;
    scene.nothing_is_lost().await?;
    scene.close().await
}

/// The clock of a program can be set at all: a token that was valid is out of date a day later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_is_seen() -> Result<()> {
    let mut scene = Scene::open_with("clock-seen", |launch| launch.give_machine(Sync::Honest)).await?;
    scene.launch.machine.as_ref().expect("it was given one").set_clock(DAYS);
    ensure!(scene.reconnect().await.is_err(), "a token of days ago is refused");
    scene.log_in().await?;
    let pong = scene.alice.call(v1::Ping::default().into()).await?;
    ensure!(matches!(pong, Body::Pong(_)), "{pong:?}");
    scene.close().await
}
