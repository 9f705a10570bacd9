//! PostgreSQL takes no writes any more under a running node: an administrator says so, or it became a standby. Publishes are
//! refused and may be tried again, connections live on, and writes go on as soon as it takes them.

use anyhow::{Result, ensure};
use servers::{Postgres, Stop};

use crate::scene::{RECOVERY, Scene};

async fn refused_and_back(scene: &mut Scene, back: impl FnOnce()) -> Result<()> {
    let refused = scene.publish_refused().await?;
    scene.is_alive().await?;
    tokio::task::block_in_place(back);
    let took = scene.publish_acked().await?;
    ensure!(took < RECOVERY, "the first ack once it takes writes took {took:?}");
    ensure!(scene.publish(refused).await?, "what was refused finds its place");
    scene.nothing_is_lost().await
}

fn read_only(postgres: &Postgres, word: &str) {
    // A change of settings counts as one that writes nothing.
    postgres.sql(&format!("ALTER SYSTEM SET default_transaction_read_only = {word}"));
    postgres.sql("SELECT pg_reload_conf()");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_set_to_read_only_is_waited_for() -> Result<()> {
    let postgres = Postgres::start();
    let mut scene = Scene::open("read-only", &[("DATABASE_URL", &postgres.url("postgres"))]).await?;
    scene.publish_acked().await?;
    tokio::task::block_in_place(|| read_only(&postgres, "on"));
    postgres.until("SHOW default_transaction_read_only", "on");
    refused_and_back(&mut scene, || read_only(&postgres, "off")).await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_became_a_standby_is_waited_for() -> Result<()> {
    let mut postgres = Postgres::start();
    let url = postgres.url("postgres");
    let mut scene =
        Scene::open("demoted", &[("DATABASE_URL", &url), ("DATABASE_STANDBY", "synchronous")]).await?;
    scene.publish_acked().await?;
    tokio::task::block_in_place(|| {
        postgres.stop(Stop::Fast);
        std::fs::write(postgres.seen("standby.signal"), "").expect("its folder is there");
        postgres.start_again();
    });
    // Nobody else took over: it has all there was, as the operator says.
    refused_and_back(&mut scene, || postgres.promote()).await?;
    scene.close().await
}
