//! What goes wrong: the server is killed, drained or paused at random moments, clients crash; each time the next ack
//! has to come by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use crate::device::Whim;
use crate::fleet::Fleet;
use crate::history::History;
use crate::outside::Calamity;
use crate::random::Random;
use crate::server::Server;

/// How long clients may take to get the next message acked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of a hundred faults, how many happen outside the nodes.
const OUTSIDE_PERCENT: u64 = 45;

/// What the faults came to.
#[derive(Default, Debug)]
pub struct Toll {
    pub kills: u64,
    pub drains: u64,
    pub pauses: u64,
    /// From each kill to the first ack of any server that followed.
    pub recoveries: Vec<Duration>,
    /// By what happened outside the nodes.
    pub outside: BTreeMap<&'static str, u64>,
}

/// The servers and what is done to them.
pub struct Nemesis {
    pub fleet: Fleet,
    pub history: History,
    pub clients: Vec<mpsc::Sender<Whim>>,
    pub random: Random,
    pub toll: Toll,
}

impl Nemesis {
    /// Kills `kills` times, with other faults in between.
    pub async fn rage(mut self, kills: u64) -> Result<(Fleet, Toll)> {
        self.acked_after(self.history.now()).await?;
        // What can go wrong outside goes wrong at least once, first of all.
        let mut due: Vec<Calamity> = self.fleet.outside.iter().flat_map(|_| Calamity::ALL).collect();
        while self.toll.kills < kills || !due.is_empty() {
            tokio::time::sleep(self.random.millis(100, 3_000)).await;
            self.fleet.servers.iter_mut().try_for_each(Server::must_run)?;
            let node = self.random.below(self.fleet.servers.len() as u64) as usize;
            if self.fleet.outside.is_some() && self.random.chance(OUTSIDE_PERCENT) {
                let any = *self.random.pick(&Calamity::ALL).expect("there are some");
                self.suffer(due.pop().unwrap_or(any)).await?;
                continue;
            }
            match self.random.below(100) {
                0..=69 => self.kill(node).await?,
                70..=77 => self.drain(node).await?,
                78..=85 => self.pause(node).await?,
                _ => self.upset(),
            }
        }
        Ok((self.fleet, self.toll))
    }

    async fn suffer(&mut self, calamity: Calamity) -> Result<()> {
        self.history.fault(calamity.name());
        let Some(outside) = &mut self.fleet.outside else { return Ok(()) };
        tokio::task::block_in_place(|| outside.suffer(calamity, &mut self.random));
        self.acked_after(self.history.now()).await.with_context(|| calamity.name())?;
        *self.toll.outside.entry(calamity.name()).or_default() += 1;
        Ok(())
    }

    async fn kill(&mut self, node: usize) -> Result<()> {
        self.history.fault("kill9");
        let at = self.history.now();
        let old = self.fleet.servers[node].pid();
        let launch = self.fleet.launches[node].clone();
        let server = self.swap(node, move |server| {
            server.kill()?;
            launch.start()
        });
        server.with_context(|| format!("after killing process {old}"))?;
        let back = self.acked_after(self.history.now()).await?;
        self.toll.recoveries.push(Duration::from_nanos(back - at));
        self.toll.kills += 1;
        Ok(())
    }

    async fn drain(&mut self, node: usize) -> Result<()> {
        self.history.fault("term");
        let launch = self.fleet.launches[node].clone();
        self.swap(node, move |server| {
            let status = server.drain()?;
            if !status.success() {
                bail!("the drained server ended with {status}");
            }
            launch.start()
        })?;
        self.acked_after(self.history.now()).await?;
        self.toll.drains += 1;
        Ok(())
    }

    async fn pause(&mut self, node: usize) -> Result<()> {
        self.history.fault("pause");
        let time = self.random.millis(1_000, 2_000);
        tokio::task::block_in_place(|| self.fleet.servers[node].pause(time));
        self.acked_after(self.history.now()).await?;
        self.toll.pauses += 1;
        Ok(())
    }

    fn upset(&mut self) {
        let whim = *self.random.pick(&[Whim::Crash, Whim::Forget, Whim::Leave]).expect("three");
        self.history.fault("client");
        if let Some(client) = self.random.pick(&self.clients) {
            // One that is being upset already stays as it is.
            let _ = client.try_send(whim);
        }
    }

    /// Replaces a server by what `change` makes of it.
    fn swap(&mut self, node: usize, change: impl FnOnce(Server) -> Result<Server>) -> Result<()> {
        let server = &mut self.fleet.servers[node];
        let changed = tokio::task::block_in_place(|| change(server.hand_over()));
        *server = changed.with_context(|| crate::server::tail(&self.fleet.launches[node].log))?;
        Ok(())
    }

    /// Waits for an ack that came after `t`; returns when it came.
    async fn acked_after(&self, t: u64) -> Result<u64> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let last = self.history.last_ack();
            if last > t {
                return Ok(last);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("nothing was acked for {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
