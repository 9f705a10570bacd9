//! The primary dies and a standby takes over: a synchronous one has all that was acked, an asynchronous one begins a new
//! generation and says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use schema_wire::v1::server_frame::Body;
use servers::{Postgres, Proxy, Sync};

use crate::scene::{RECOVERY, Scene};

/// Both servers; whichever takes writes is used.
fn either(primary: &Postgres, standby: &Postgres) -> String {
    format!("postgres://test@{},{}/postgres", primary.address(), standby.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_loses_nothing() -> Result<()> {
    let mut primary = Postgres::start();
    let standby = primary.standby(Sync::Synchronous, None);
    let url = either(&primary, &standby);
    let mut scene =
        Scene::open("sync", &[("DATABASE_URL", &url), ("DATABASE_STANDBY", "synchronous")]).await?;
    for _ in 0..50 {
        scene.publish_acked().await?;
    }
    tokio::task::block_in_place(|| primary.kill());
    scene.publish_refused().await?;
    scene.is_alive().await?;
    tokio::task::block_in_place(|| standby.promote());
    let took = scene.publish_acked().await?;
    ensure!(took < RECOVERY, "the first ack after the failover took {took:?}");
    scene.nothing_is_lost().await?;
    let generations = scene.acked.values().map(|(generation, _)| *generation);
    ensure!(generations.clone().min() == generations.max(), "the generation went on");
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_begins_a_generation() -> Result<()> {
    let mut primary = Postgres::start();
    let proxy = Proxy::to(primary.address());
    let standby = primary.standby(Sync::Asynchronous, Some(proxy.address()));
    let mut scene = Scene::open("async", &[("DATABASE_URL", &either(&primary, &standby))]).await?;
    for _ in 0..20 {
        scene.publish_acked().await?;
    }
    let sent = primary.sql("SELECT pg_current_wal_lsn()");
    standby.until(&format!("SELECT pg_last_wal_replay_lsn() >= '{sent}'"), "t");
    let kept = scene.acked.clone();
    scene.subscribe(scene.acked.values().map(|(g, _)| *g).max().context("acked")?, 20).await?;
    proxy.stall();
    for _ in 0..10 {
        scene.publish_acked().await?;
    }
    tokio::task::block_in_place(|| primary.kill());
    tokio::task::block_in_place(|| standby.promote());
    let rewound = tokio::time::timeout(RECOVERY + Duration::from_secs(10), async {
        loop {
            if let Some(Body::Rewound(rewound)) = scene.alice.next().await?.body {
                return anyhow::Ok(rewound);
            }
        }
    });
    let rewound = rewound.await.context("a Rewound")??;
    ensure!(rewound.head == 20, "the log ends where the standby's did: {rewound:?}");
    // What was lost is published again by its key and gets a place of the new generation.
    let lost: Vec<_> = scene.acked.keys().filter(|key| !kept.contains_key(*key)).copied().collect();
    scene.acked = kept;
    for key in &lost {
        while !scene.publish(*key).await? {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ensure!(scene.acked[key].0 == rewound.generation, "a place of the new generation");
    }
    scene.nothing_is_lost().await?;
    ensure!(scene.read_all().await?.len() == 30, "twenty kept, ten again");
    scene.close().await
}
