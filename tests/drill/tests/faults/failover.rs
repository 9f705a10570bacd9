//! The primary dies under two nodes and a standby takes over: a synchronous one has all that was acked, an asynchronous one
//! begins a new generation, and clients of both nodes are told so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use drill::fleet::QUIC_SECRET;
use drill::raw::Raw;
use drill::server::Server;
use schema_wire::v1::{self, server_frame::Body};
use servers::{Postgres, Proxy, Redis, Sync};

use crate::scene::{RECOVERY, Scene};

/// Both servers; whichever takes writes is used.
fn either(primary: &Postgres, standby: &Postgres) -> String {
    format!("postgres://test@{},{}/postgres", primary.address(), standby.address())
}

/// What several nodes are told.
fn nodes<'a>(url: &'a str, redis: &'a str) -> [(&'a str, &'a str); 3] {
    [("DATABASE_URL", url), ("REDIS_URL", redis), ("RELAY_QUIC_SECRET", QUIC_SECRET)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_loses_nothing() -> Result<()> {
    let mut primary = Postgres::start();
    let standby = primary.standby(Sync::Synchronous, None);
    let redis = Redis::start();
    let env = [("DATABASE_STANDBY", "synchronous")];
    let mut scene =
        Scene::open("sync", &[&env[..], &nodes(&either(&primary, &standby), &redis.url())].concat()).await?;
    let (second, mut other) = scene.beside().await?;
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
    let all = scene.acked.len();
    let arrived = tokio::time::timeout(RECOVERY, async {
        while other.deliveries < all as u64 {
            let frame = other.next().await?;
            ensure!(!matches!(frame.body, Some(Body::Rewound(_))), "nothing was lost, and nobody is told so");
            other.deliveries += u64::from(matches!(frame.body, Some(Body::Delivery(_))));
        }
        anyhow::Ok(())
    });
    arrived.await.context("all messages at the other node")??;
    end(second, other).await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_begins_a_generation() -> Result<()> {
    let mut primary = Postgres::start();
    let proxy = Proxy::to(primary.address());
    let standby = primary.standby(Sync::Asynchronous, Some(proxy.address()));
    let redis = Redis::start();
    let mut scene = Scene::open("async", &nodes(&either(&primary, &standby), &redis.url())).await?;
    let (second, mut other) = scene.beside().await?;
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
    let rewound = told_rewound(&mut scene.alice).await?;
    ensure!(rewound.head == 20, "the log ends where the standby's did: {rewound:?}");
    let elsewhere = told_rewound(&mut other).await?;
    ensure!(elsewhere == rewound, "both nodes say the same: {rewound:?} and {elsewhere:?}");
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
    end(second, other).await?;
    scene.close().await
}

async fn told_rewound(client: &mut Raw) -> Result<v1::Rewound> {
    let told = tokio::time::timeout(RECOVERY + Duration::from_secs(10), async {
        loop {
            if let Some(Body::Rewound(rewound)) = client.next().await?.body {
                return anyhow::Ok(rewound);
            }
        }
    });
    told.await.context("a Rewound")?
}

async fn end(server: Server, client: Raw) -> Result<()> {
    drop(client);
    ensure!(tokio::task::block_in_place(|| server.drain())?.success(), "the second node ends in order");
    Ok(())
}
