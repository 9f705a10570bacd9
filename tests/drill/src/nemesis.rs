//! What goes wrong: servers are killed, drained or paused at random moments, clients crash, what is around them fails;
//! each time the next ack has to come by itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use crate::device::Whim;
use crate::fleet::Fleet;
use crate::history::History;
use crate::order::{Fault, Order};
use crate::outside::Calamity;
use crate::random::Random;
use crate::server::Server;

/// How long clients may take to get the next message acked.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a hundred pages that were not durable when the power went, how many got through all the same, in every other case.
const SURVIVE_PERCENT: u64 = 50;

/// What the faults came to.
#[derive(Default, Debug)]
pub struct Toll {
    pub kills: u64,
    pub drains: u64,
    pub pauses: u64,
    /// From each kill of a node to the first ack of any server that followed.
    pub recoveries: Vec<Duration>,
    /// By what happened outside the nodes.
    pub outside: BTreeMap<&'static str, u64>,
    /// From the end of each of these to the first ack that followed.
    pub healings: Vec<Duration>,
    /// What took longest from its beginning until messages were acked again.
    pub longest: Option<(Duration, Fault)>,
}

impl Toll {
    /// One more part of the same drill.
    pub fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.drains += other.drains;
        self.pauses += other.pauses;
        self.recoveries.extend(other.recoveries);
        self.healings.extend(other.healings);
        self.lasted(other.longest);
        for (name, count) in other.outside {
            *self.outside.entry(name).or_default() += count;
        }
    }

    fn lasted(&mut self, fault: Option<(Duration, Fault)>) {
        let longer = |new: &(Duration, Fault)| self.longest.is_none_or(|(longest, _)| longest < new.0);
        self.longest = fault.filter(longer).or(self.longest);
    }

    /// Faults whose names begin with "kill", as the checker counts them.
    pub fn killed(&self) -> u64 {
        let outside = self.outside.iter().filter(|(name, _)| name.starts_with("kill"));
        self.kills + outside.map(|(_, count)| count).sum::<u64>()
    }
}

/// The servers and what is done to them.
pub struct Nemesis {
    pub fleet: Fleet,
    pub history: History,
    pub clients: Vec<mpsc::Sender<Whim>>,
    pub random: Random,
    /// Longest time between two faults.
    pub quiet: Duration,
    pub toll: Toll,
}

impl Nemesis {
    /// Lets the next `faults` of the order happen, or what is left of it.
    pub async fn rage(mut self, order: &mut Order, faults: u64) -> Result<(Fleet, Toll)> {
        self.acked_after(self.history.now()).await?;
        for _ in 0..faults {
            if order.is_done() {
                break;
            }
            let longest = self.quiet.as_millis() as u64;
            tokio::time::sleep(self.random.millis(longest.min(100), longest + 1)).await;
            self.fleet.servers.iter_mut().try_for_each(Server::must_run)?;
            let node = self.random.below(self.fleet.servers.len() as u64) as usize;
            let (fault, began) = (order.next(&mut self.random), Instant::now());
            match fault {
                Fault::Outside(calamity) => self.suffer(calamity).await?,
                Fault::Kill => self.kill(node).await?,
                Fault::Drain => self.drain(node).await?,
                Fault::Pause => self.pause(node).await?,
                Fault::Client => self.upset(),
            }
            self.toll.lasted(Some((began.elapsed(), fault)));
        }
        Ok((self.fleet, self.toll))
    }

    async fn suffer(&mut self, calamity: Calamity) -> Result<()> {
        self.history.fault(calamity.name());
        let Some(outside) = &mut self.fleet.outside else { return Ok(()) };
        tokio::task::block_in_place(|| outside.suffer(calamity, self.quiet, &mut self.random));
        let at = self.history.now();
        let back = self.acked_after(at).await.with_context(|| calamity.name())?;
        self.toll.healings.push(Duration::from_nanos(back - at));
        *self.toll.outside.entry(calamity.name()).or_default() += 1;
        Ok(())
    }

    async fn kill(&mut self, node: usize) -> Result<()> {
        self.history.fault(Fault::Kill.name());
        let at = self.history.now();
        let old = self.fleet.servers[node].pid();
        let launch = self.fleet.launches[node].clone();
        let mut survives = survivors(&mut self.random);
        let server = self.swap(node, move |server| {
            server.kill()?;
            if let Some(machine) = &launch.machine {
                machine.lose_power(&mut survives);
            }
            launch.start()
        });
        server.with_context(|| format!("after killing process {old}"))?;
        let back = self.acked_after(self.history.now()).await?;
        self.toll.recoveries.push(Duration::from_nanos(back - at));
        self.toll.kills += 1;
        Ok(())
    }

    async fn drain(&mut self, node: usize) -> Result<()> {
        self.history.fault(Fault::Drain.name());
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
        self.history.fault(Fault::Pause.name());
        let time = self.random.millis(1_000, 2_000);
        tokio::task::block_in_place(|| self.fleet.servers[node].pause(time));
        self.acked_after(self.history.now()).await?;
        self.toll.pauses += 1;
        Ok(())
    }

    fn upset(&mut self) {
        let whim = *self.random.pick(&[Whim::Crash, Whim::Forget, Whim::Leave]).expect("three");
        self.history.fault(Fault::Client.name());
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

/// Which pages that were not durable got through: none every other time, some at random otherwise.
pub fn survivors(random: &mut Random) -> impl FnMut() -> bool + use<> {
    let some = random.chance(50);
    let mut random = Random::new(random.bits(), 5);
    move || some && random.chance(SURVIVE_PERCENT)
}
