//! Memory of the server per idle, authenticated connection.

use std::time::Duration;

use anyhow::Result;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Carrier, Crowd, Mint, OPENING, resident_kib};
use crate::raw::quic::{RawQuic, endpoint};
use crate::raw::{Raw, tls};
use crate::server::{Launch, work_folder};

/// Time for the server to come to rest before memory is read.
const REST: Duration = Duration::from_secs(3);

/// Measures and prints.
pub async fn run(connections: usize, carrier: Carrier) -> Result<()> {
    let folder = work_folder("idle")?;
    let launch = Launch::new(Launch::program()?, folder.join("data"), folder.join("server.log"))?;
    let crowd = Crowd::prepare(&launch.data, connections).await?;
    let server = tokio::task::block_in_place(|| launch.start())?;
    let mint = Mint::of(&server.ready)?;
    let quic = endpoint(&tls(&server.ready.ca, b"relay/1")?)?;
    let tls = tls(&server.ready.ca, b"http/1.1")?;
    tokio::time::sleep(REST).await;
    let before = resident_kib(server.pid())?;
    let opening = stream::iter(crowd.devices.iter().copied()).map(|device| {
        let (quic, tls, ready, mint) = (&quic, &tls, &server.ready, &mint);
        async move {
            let token = mint.token(device)?;
            anyhow::Ok(match carrier {
                Carrier::Ws => (Some(Raw::connect(&ready.wss, tls, &token).await?), None),
                Carrier::Quic => (None, Some(RawQuic::connect(quic, &ready.relay, &token).await?)),
            })
        }
    });
    let open: Vec<_> = opening.buffer_unordered(OPENING).try_collect().await?;
    tokio::time::sleep(REST).await;
    let after = resident_kib(server.pid())?;
    println!(
        "idle {carrier:?}: {} connections, server RSS {before} KiB before, {after} KiB with them, {:.1} KiB each",
        open.len(),
        after.saturating_sub(before) as f64 / open.len() as f64
    );
    tokio::task::block_in_place(|| server.kill())?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
