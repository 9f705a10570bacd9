//! What one needs of the server: a transaction, tried again where nothing of it can have been committed.

use std::time::Duration;

use futures_util::future::join;
use schema_wire::record::StoreFault;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::connect::{Connections, OpenError, explain};
use super::fault::{Failed, Trouble};
use super::options::Options;
use super::replicas::Replicas;
use super::transaction::{Access, Begun, Tx};
use super::{generation, migrate};
use crate::accounts::{AccountError, Answer};
use crate::redis::SEAL_BYTES;

/// How often a transaction is tried that met another one, or found its connection dead.
const TRIES_MAX: u32 = 6;
/// Pause before the second try; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(5);

/// Connections that reads leave alone, or half of the pool if that is less.
const WRITES_KEPT: usize = 8;

/// The primary, and what was chosen about it.
pub struct Server {
    primary: Connections,
    replicas: Replicas,
    options: Options,
    /// One for each transaction that only reads: some connections are left to what writes.
    reads: Semaphore,
    /// Held by the request that begins a generation; the others wait instead of asking the server.
    beginning: Mutex<()>,
}

/// How one try ended.
pub enum Tried<T> {
    Done(Answer<T>),
    /// Nothing was committed, and the next try may do better.
    Again(StoreFault),
    /// The server is not the one the generation was seen on.
    Stranger,
}

impl Server {
    pub fn new(url: &str, options: Options) -> Result<Self, OpenError> {
        let (primary, replicas) = (Connections::to_primary(url, &options)?, Replicas::new(&options)?);
        let reads = Semaphore::new(options.pool_size - WRITES_KEPT.min(options.pool_size / 2));
        Ok(Self { primary, replicas, options, reads, beginning: Mutex::new(()) })
    }

    /// Whether there is a primary with a schema that this program works on.
    pub async fn prepare(&self) -> Result<(), OpenError> {
        let why = |failed: Failed| explain(&self.primary.host, &failed);
        let connection = self.primary.get().await.map_err(why)?;
        migrate::check(&connection).await?.map_err(|e| why(Failed::Sql(e)))?;
        drop(connection);
        let failed =
            |e: AccountError| OpenError::Failed { host: self.primary.host.clone(), why: e.to_string() };
        let known = async |tx: &Tx, _| Ok((generation::current(tx).await?, secret(tx).await?));
        let (generation, secret) = self.transact(Access::Snapshot, known).await.map_err(failed)?;
        if let Some(cache) = &self.options.cache {
            cache.begin(generation);
            cache.unlock(&secret).await?;
        }
        Ok(())
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Runs `work` in a transaction until it is committed or refused. It may run more than once: it must do nothing
    /// but speak to the transaction.
    pub async fn transact<T>(&self, access: Access, work: impl AsyncFn(&Tx, u64) -> Answer<T>) -> Answer<T> {
        self.retry(async || {
            self.attempt(access, &async |_| Ok(()), &async |tx, (), now| work(tx, now).await).await
        })
        .await
    }

    /// The same where `first` is asked in the round trip that begins the transaction.
    pub async fn transact_from<A, T>(
        &self,
        access: Access,
        first: impl AsyncFn(&Tx) -> Result<A, Failed>,
        work: impl AsyncFn(&Tx, A, u64) -> Answer<T>,
    ) -> Answer<T> {
        self.retry(async || self.attempt(access, &first, &work).await).await
    }

    /// Tries until it is done, where nothing of a try can have been committed.
    pub async fn retry<T>(&self, once: impl AsyncFn() -> Tried<T>) -> Answer<T> {
        let mut pause = PAUSE;
        let mut fault = StoreFault::Unavailable;
        for _ in 0..TRIES_MAX {
            match once().await {
                Tried::Done(answer) => return answer,
                Tried::Stranger => self.adopt().await?,
                Tried::Again(why) => {
                    fault = why;
                    // Those who met must not meet again.
                    tokio::time::sleep(pause.mul_f64(0.5 + random())).await;
                    pause *= 2;
                }
            }
        }
        Err(AccountError::Fault(fault))
    }

    /// A transaction on the primary, still to be started.
    pub async fn open(&self, access: Access) -> Result<Tx, Failed> {
        Ok(Tx::on(self.primary.get().await?, access, &self.options))
    }

    async fn attempt<A, T>(
        &self,
        access: Access,
        first: &impl AsyncFn(&Tx) -> Result<A, Failed>,
        work: &impl AsyncFn(&Tx, A, u64) -> Answer<T>,
    ) -> Tried<T> {
        let _place = match access.only_reads() {
            true => match timeout(self.options.connect_timeout, self.reads.acquire()).await {
                Ok(place) => Some(place),
                Err(_) => return Tried::Done(Err(Failed::Busy.into())),
            },
            false => None,
        };
        let tx = match self.open(access).await {
            Ok(tx) => tx,
            Err(failed) => return Tried::Done(Err(failed.into())),
        };
        match join(tx.start(), first(&tx)).await {
            (Ok(Begun { known: true, now }), Ok(found)) => {
                let answer = work(&tx, found, now).await;
                finish(tx, access, answer).await
            }
            (Ok(Begun { known: false, .. }), _) => {
                tx.rollback().await;
                Tried::Stranger
            }
            (Err(failed), _) | (_, Err(failed)) => lost(tx, &failed).await,
        }
    }

    /// Begins a generation if this server needs one.
    async fn adopt(&self) -> Answer<()> {
        let _alone = self.beginning.lock().await;
        let tx = self.open(Access::Long).await?;
        let begun = tx.start().await?;
        let answer = generation::adopt(&tx, self.options.standby_is_synchronous, begun.now).await;
        match finish(tx, Access::Long, answer).await {
            Tried::Done(answer) => answer,
            // Whoever comes next finds it begun, or begins it.
            Tried::Again(_) | Tried::Stranger => Ok(()),
        }
    }
}

/// Commits what succeeded. A connection lost in the commit leaves it open whether it is durable: the caller is told of
/// a fault, and asks again by what makes its request unique.
async fn finish<T>(tx: Tx, access: Access, answer: Answer<T>) -> Tried<T> {
    match (answer, tx.trouble()) {
        (Ok(done), None) if access.only_reads() => {
            // Nobody waits for the end of what only read.
            tokio::task::spawn_local(tx.rollback());
            Tried::Done(Ok(done))
        }
        (Ok(done), None) => match tx.end().await {
            Ok(()) => {
                tx.release();
                Tried::Done(Ok(done))
            }
            Err(failed) => Tried::Done(Err(failed.into())),
        },
        (answer, trouble) => {
            tx.rollback().await;
            let answer = answer.and(Err(AccountError::Fault(StoreFault::Unavailable)));
            match (answer, trouble) {
                (Err(AccountError::Fault(fault)), Some(Trouble::Collision | Trouble::Broken)) => {
                    Tried::Again(fault)
                }
                (answer, _) => Tried::Done(answer),
            }
        }
    }
}

/// Undoes a transaction in which nothing can have been committed.
pub async fn lost<T>(tx: Tx, failed: &Failed) -> Tried<T> {
    tx.rollback().await;
    let fault = failed.fault();
    match failed.trouble() {
        Trouble::Plain => Tried::Done(Err(AccountError::Fault(fault))),
        Trouble::Collision | Trouble::Broken => Tried::Again(fault),
    }
}

/// What entries of the cache are sealed with.
async fn secret(tx: &Tx) -> Result<[u8; SEAL_BYTES], Failed> {
    let row = tx.query_one("SELECT secret FROM cache_key", &[]).await?;
    let secret: &[u8] = row.try_get(0)?;
    secret.try_into().map_err(|_| Failed::Unreadable("the key of the cache"))
}

/// Between 0 and 1.
fn random() -> f64 {
    let mut byte = [0u8; 1];
    getrandom::fill(&mut byte).expect("the operating system has randomness");
    f64::from(byte[0]) / 255.0
}
