//! The power goes: everything that was not synced at that moment is gone, or some pages of it. What was acked must be
//! there, with SQLite as with PostgreSQL; and where nobody syncs, the same test must find that it is not.

use std::time::Duration;

use anyhow::{Result, ensure};
use drill::nemesis::survivors;
use drill::random::Random;
use servers::machine::Sync;
use servers::{Options, Postgres};

use crate::scene::{RECOVERY, Scene};

/// Cuts of each store; `cargo x drill --power` makes as many as one likes.
const CUTS: u64 = 4;

/// Until the next cut.
fn moment(random: &mut Random) -> Duration {
    random.millis(50, 700)
}

async fn on_sqlite(name: &str, sync: Sync) -> Result<Scene> {
    Scene::open_with(name, |launch| launch.give_machine(sync)).await
}

/// Messages flow until the node's machine has lost its power, and it is started again. `survives` as a machine has it.
async fn cut_node(scene: &mut Scene, survives: impl FnMut() -> bool) -> Result<usize> {
    let (doomed, moment) = (scene.server.hand_over(), moment(&mut scene.random));
    let killed = tokio::task::spawn_blocking(move || {
        std::thread::sleep(moment);
        doomed.kill()
    });
    let (acked, killed) = scene.publish_until(killed).await?;
    killed??;
    let machine = scene.launch.machine.clone().expect("it was given one");
    tokio::task::block_in_place(|| machine.lose_power(survives));
    scene.start_again().await?;
    Ok(acked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sqlite_acked_survives_the_loss_of_power() -> Result<()> {
    let mut scene = on_sqlite("power-sqlite", Sync::Honest).await?;
    for cut in 0..CUTS {
        let survives = survivors(&mut scene.random);
        let acked = cut_node(&mut scene, survives).await?;
        ensure!(acked > 0, "something is acked before cut {cut}");
        scene.nothing_is_lost().await?;
        ensure!(scene.publish_acked().await? < RECOVERY, "it goes on");
    }
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_that_does_not_sync_is_found_out() -> Result<()> {
    // With `synchronous=OFF` it makes no call that reaches the disk; here such calls reach nothing.
    let mut scene = on_sqlite("power-careless", Sync::Ignored).await?;
    scene.publish_acked().await?;
    scene.launch.machine.as_ref().expect("it was given one").settle();
    let mut acked = 0;
    for _ in 0..CUTS {
        acked += cut_node(&mut scene, || false).await?;
        if let Err(lost) = scene.nothing_is_lost().await {
            ensure!(lost.to_string().contains("is lost"), "{lost}");
            return scene.close().await;
        }
    }
    anyhow::bail!("{acked} messages are acked and none is lost, although nothing is synced")
}

fn database(options: Options) -> Postgres {
    Postgres::start_with(Options { machine: Some(Sync::Honest), ..options })
}

/// Messages flow until the database's machine has lost its power, and it is started again.
async fn cut_database(
    scene: &mut Scene,
    postgres: Postgres,
    survives: impl FnMut() -> bool + Send + 'static,
) -> Result<(Postgres, usize)> {
    let moment = moment(&mut scene.random);
    let cut = tokio::task::spawn_blocking(move || {
        let mut postgres = postgres;
        std::thread::sleep(moment);
        postgres.lose_power(survives);
        postgres.start_again();
        postgres
    });
    let (acked, postgres) = scene.publish_until(cut).await?;
    Ok((postgres?, acked))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgres_acked_survives_the_loss_of_power() -> Result<()> {
    let mut postgres = database(Options { fsync: true, ..Options::default() });
    let mut scene = Scene::open("power-postgres", &[("DATABASE_URL", &postgres.url("postgres"))]).await?;
    for cut in 0..CUTS {
        let acked;
        let survives = survivors(&mut scene.random);
        (postgres, acked) = cut_database(&mut scene, postgres, survives).await?;
        ensure!(acked > 0, "something is acked before cut {cut}");
        ensure!(scene.publish_acked().await? < RECOVERY, "it goes on");
        scene.nothing_is_lost().await?;
    }
    let generations: Vec<_> = scene.acked.values().map(|(generation, _)| *generation).collect();
    ensure!(generations.iter().min() == generations.iter().max(), "the generation went on");
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_with_fsync_off_is_found_out() -> Result<()> {
    let mut postgres = database(Options::default());
    let mut scene = Scene::open("power-fsync-off", &[("DATABASE_URL", &postgres.url("postgres"))]).await?;
    scene.publish_acked().await?;
    postgres.sql("CHECKPOINT");
    postgres.machine().settle();
    for _ in 0..CUTS {
        (postgres, _) = cut_database(&mut scene, postgres, || false).await?;
        scene.publish_acked().await.ok();
        if let Err(lost) = scene.nothing_is_lost().await {
            let said = lost.to_string();
            ensure!(said.contains("is lost") || said.contains("another message"), "{lost}");
            return scene.close().await;
        }
    }
    anyhow::bail!("acked messages and none lost, although PostgreSQL does not sync")
}
