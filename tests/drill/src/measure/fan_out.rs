//! CPU of the server per delivered message: one publisher, many subscribers of one conversation on one shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use schema_wire::v1::{self, server_frame::Body};

use super::{Carrier, Crowd, Mint, OPENING, cpu};
use crate::random::Random;
use crate::raw::quic::{RawQuic, endpoint};
use crate::raw::{Raw, message, tls};
use crate::server::{Launch, Server, work_folder};

/// Bytes of a body; frames at least this long are deliveries.
const BODY: usize = 128;
/// Publications that receivers may be behind.
const BEHIND: u64 = 32;
/// How long receivers may take for the rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct FanOut {
    pub subscribers: usize,
    pub carrier: Carrier,
    pub publications: u64,
    /// Publications per second of the modest part.
    pub rate: u64,
}

/// Measures and prints.
pub async fn run(plan: FanOut) -> Result<()> {
    let folder = work_folder("fan-out")?;
    let mut launch = Launch::new(Launch::program()?, folder.join("data"), folder.join("server.log"))?;
    launch.shards = Some(1);
    let crowd = Crowd::prepare(&launch.data, plan.subscribers + 1).await?;
    let server = tokio::task::block_in_place(|| launch.start())?;
    let mint = Mint::of(&server.ready)?;
    let counter = Arc::new(AtomicU64::new(0));
    subscribe(&plan, &crowd, &server, &mint, &counter).await?;
    let tls = tls(&server.ready.ca, b"http/1.1")?;
    let token = mint.token(crowd.devices[plan.subscribers])?;
    let mut hall = Hall {
        publisher: Raw::connect(&server.ready.wss, &tls, &token).await?,
        crowd,
        counter,
        subscribers: plan.subscribers as u64,
        published: 0,
        random: Random::new(1, 1),
    };
    hall.publish(20, None).await?;
    for (name, rate) in [("modest", Some(plan.rate)), ("full", None)] {
        let (before, began) = (cpu(server.pid())?, Instant::now());
        hall.publish(plan.publications, rate).await?;
        let (spent, took) = (cpu(server.pid())? - before, began.elapsed());
        let delivered = plan.publications * plan.subscribers as u64;
        println!(
            "fan-out {:?} {name}: {} subscribers, {} publications in {took:.1?}, {delivered} deliveries, server CPU \
             {spent:.2?}, {:.2} us per delivered message",
            plan.carrier,
            plan.subscribers,
            plan.publications,
            spent.as_secs_f64() * 1e6 / delivered as f64
        );
    }
    tokio::task::block_in_place(|| server.kill())?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

async fn subscribe(
    plan: &FanOut,
    crowd: &Crowd,
    server: &Server,
    mint: &Arc<Mint>,
    counter: &Arc<AtomicU64>,
) -> Result<()> {
    let wanted = || v1::Subscribe { conversation: crowd.conversation.to_bytes(), ..Default::default() };
    let quic = endpoint(&tls(&server.ready.ca, b"relay/1")?)?;
    let tls = tls(&server.ready.ca, b"http/1.1")?;
    let opening = stream::iter(crowd.devices[..plan.subscribers].iter().copied()).map(|device| {
        let (quic, tls) = (quic.clone(), tls.clone());
        async move {
            let token = mint.token(device)?;
            if plan.carrier == Carrier::Quic {
                let mut raw = RawQuic::connect(&quic, &server.ready.relay, &token).await?;
                must_follow(raw.call(wanted().into()).await?)?;
                tokio::spawn(count_quic(raw, counter.clone()));
            } else {
                let mut raw = Raw::connect(&server.ready.wss, &tls, &token).await?;
                must_follow(raw.call(wanted().into()).await?)?;
                tokio::spawn(count(raw, counter.clone()));
            }
            anyhow::Ok(())
        }
    });
    opening.buffer_unordered(OPENING).try_collect::<Vec<()>>().await?;
    Ok(())
}

fn must_follow(answer: Body) -> Result<()> {
    ensure!(matches!(answer, Body::Subscribed(_)), "not subscribed: {answer:?}");
    Ok(())
}

async fn count(mut raw: Raw, counter: Arc<AtomicU64>) {
    while let Ok(bytes) = raw.bytes().await {
        counter.fetch_add(u64::from(bytes.len() >= BODY), Ordering::Relaxed);
    }
}

async fn count_quic(mut raw: RawQuic, counter: Arc<AtomicU64>) {
    while let Ok(bytes) = raw.bytes().await {
        counter.fetch_add(u64::from(bytes.len() >= BODY), Ordering::Relaxed);
    }
}

/// Publisher and receivers.
struct Hall {
    publisher: Raw,
    crowd: Crowd,
    counter: Arc<AtomicU64>,
    subscribers: u64,
    published: u64,
    random: Random,
}

impl Hall {
    /// Publishes durably one after the other, at a rate or as fast as acks and receivers allow, until all arrived.
    async fn publish(&mut self, publications: u64, rate: Option<u64>) -> Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate.unwrap_or(1_000_000)));
        for _ in 0..publications {
            ticks.tick().await;
            let body = message(self.crowd.conversation, self.random.key(), Bytes::from(vec![b'x'; BODY]));
            match self.publisher.call(body).await? {
                Body::PublishAck(_) => self.published += 1,
                other => bail!("not acked: {other:?}"),
            }
            self.caught_up(BEHIND).await?;
        }
        self.caught_up(0).await
    }

    async fn caught_up(&self, behind: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let due = self.published.saturating_sub(behind) * self.subscribers;
        while self.counter.load(Ordering::Relaxed) < due {
            let counted = self.counter.load(Ordering::Relaxed);
            ensure!(Instant::now() < deadline, "{counted} of {due} deliveries came within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
