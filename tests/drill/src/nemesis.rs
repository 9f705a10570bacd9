//! What goes wrong: the server is killed, drained or paused at random moments, clients crash; each time the next ack
//! has to come by itself.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use crate::device::Whim;
use crate::history::History;
use crate::random::Random;
use crate::server::{Launch, Server};

/// How long clients may take to get the next message acked.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the faults came to.
#[derive(Default, Debug)]
pub struct Toll {
    pub kills: u64,
    pub drains: u64,
    pub pauses: u64,
    /// From each kill to the first ack of the server that followed.
    pub recoveries: Vec<Duration>,
}

/// The server and what is done to it.
pub struct Nemesis {
    pub launch: Launch,
    pub server: Server,
    pub history: History,
    pub clients: Vec<mpsc::Sender<Whim>>,
    pub random: Random,
    pub toll: Toll,
}

impl Nemesis {
    /// Kills `kills` times, with other faults in between.
    pub async fn rage(mut self, kills: u64) -> Result<(Server, Toll)> {
        self.acked_after(self.history.now()).await?;
        while self.toll.kills < kills {
            tokio::time::sleep(self.random.millis(100, 3_000)).await;
            self.server.must_run()?;
            match self.random.below(100) {
                0..=69 => self.kill().await?,
                70..=77 => self.drain().await?,
                78..=85 => self.pause().await?,
                _ => self.upset(),
            }
        }
        Ok((self.server, self.toll))
    }

    async fn kill(&mut self) -> Result<()> {
        self.history.fault("kill9");
        let at = self.history.now();
        let launch = self.launch.clone();
        let old = self.server.pid();
        let server = self.swap(move |server| {
            server.kill()?;
            launch.start()
        });
        server.await.with_context(|| format!("after killing process {old}"))?;
        let back = self.acked_after(self.history.now()).await?;
        self.toll.recoveries.push(Duration::from_nanos(back - at));
        self.toll.kills += 1;
        Ok(())
    }

    async fn drain(&mut self) -> Result<()> {
        self.history.fault("term");
        let launch = self.launch.clone();
        let server = self.swap(move |server| {
            let status = server.drain()?;
            if !status.success() {
                bail!("the drained server ended with {status}");
            }
            launch.start()
        });
        server.await?;
        self.acked_after(self.history.now()).await?;
        self.toll.drains += 1;
        Ok(())
    }

    async fn pause(&mut self) -> Result<()> {
        self.history.fault("pause");
        let time = self.random.millis(1_000, 2_000);
        tokio::task::block_in_place(|| self.server.pause(time));
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

    /// Replaces the server by what `change` makes of it.
    async fn swap(&mut self, change: impl FnOnce(Server) -> Result<Server> + Send) -> Result<()> {
        tokio::task::block_in_place(|| {
            take_mut(&mut self.server, change).with_context(|| crate::server::tail(&self.launch.log))
        })
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

fn take_mut(server: &mut Server, change: impl FnOnce(Server) -> Result<Server>) -> Result<()> {
    let old = server.hand_over();
    *server = change(old)?;
    Ok(())
}
