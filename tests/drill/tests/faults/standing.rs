//! Whoever is banned or suspended is cut on every node, wherever it was decided, with Redis between the nodes and without.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use drill::raw::Raw;
use servers::{Postgres, Redis};

use crate::scene::Scene;

/// How soon nobody listens any more to whom it was refused.
const CUT: Duration = Duration::from_secs(1);
/// Longest wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a session still lived, and what it was told.
async fn cut(session: &mut Raw, since: Instant) -> Result<(Duration, String)> {
    let ended = async {
        loop {
            if let Err(error) = session.next().await {
                return error.to_string();
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, ended).await?;
    Ok((since.elapsed(), told))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_banned_or_suspended_is_cut_on_every_node() -> Result<()> {
    let redis = Redis::start();
    for (name, status, with_redis) in [("ban", "BANNED", false), ("suspension", "SUSPENDED", true)] {
        let postgres = Postgres::start();
        let (database, bus) = (postgres.url("postgres"), redis.url());
        let mut env = vec![("DATABASE_URL", database.as_str())];
        env.extend(with_redis.then_some(("REDIS_URL", bus.as_str())));
        let mut scene = Scene::open(&format!("standing-{name}"), &env).await?;
        let (_other, mut there) = scene.beside().await?;
        scene.is_alive().await?;
        let since = Instant::now();
        postgres.sql(&format!(
            "UPDATE users SET status = '{status}', suspended_at = NOW() WHERE email = 'alice@fault.example'"
        ));
        let (here, there) = tokio::join!(cut(&mut scene.alice, since), cut(&mut there, since));
        for (node, (took, told)) in [("the first", here?), ("the second", there?)] {
            ensure!(told.contains(status) || told.contains("450"), "{node} node, {name}: {told}");
            ensure!(took < CUT, "{node} node, {name}: {took:?}");
        }
        scene.close().await?;
    }
    Ok(())
}
