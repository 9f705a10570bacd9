//! What differs between stores for `up`: which pages are served on it, and what keeps it in order while it is served.

use std::time::Duration;

use console::{ConsoleConfig, ServeFault, Served};
use schema_store::accounts::Answer;
use schema_store::{PostgresStore, SqliteStore};
use schema_wire::UserId;

use super::backups::Backups;
use super::demo::Person;
use super::practice;
use super::settings::Settings;
use crate::failure::Failure;

/// How often expired messages and ended suspensions are swept.
const SWEEP: Duration = Duration::from_secs(5);
/// How often partitions are looked after.
const DAY: Duration = Duration::from_secs(86_400);

/// A store that is kept in order by whoever serves it.
pub trait Kept: Clone + Send + Sync + 'static {
    /// Empties what has expired as of `now`, unix ms.
    fn sweep_once(&self, now: u64) -> impl Future<Output = Answer<()>> + Send;

    /// Once a day.
    fn keep_daily(&self) -> impl Future<Output = Answer<()>> + Send;

    /// Serves the account API, and the console's pages where this store has what they show.
    fn serve(
        self,
        config: ConsoleConfig,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = Result<Served, ServeFault>> + Send;

    /// Starts the backups that `up` makes by itself; none where others make them.
    fn back_up(&self, settings: &Settings) -> Result<Option<Backups>, Failure>;

    /// Makes what a moderator of the demo practises on, where there are pages for it.
    fn practise(
        &self,
        reporters: &[UserId],
        moderator: &Person,
        hash: String,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

impl Kept for SqliteStore {
    async fn sweep_once(&self, now: u64) -> Answer<()> {
        self.sweep(now).await.map(drop)
    }

    async fn keep_daily(&self) -> Answer<()> {
        Ok(())
    }

    async fn serve(
        self,
        config: ConsoleConfig,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Served, ServeFault> {
        console::serve_with_pages(config, self, shutdown).await
    }

    fn back_up(&self, settings: &Settings) -> Result<Option<Backups>, Failure> {
        Backups::start(settings, self.clone())
    }

    async fn practise(&self, reporters: &[UserId], moderator: &Person, hash: String) -> Result<(), Failure> {
        practice::cases(self, reporters).await?;
        practice::staff(self, &moderator.email, moderator.name, hash).await
    }
}

impl Kept for PostgresStore {
    async fn sweep_once(&self, now: u64) -> Answer<()> {
        self.sweep(now).await.map(drop)
    }

    async fn keep_daily(&self) -> Answer<()> {
        self.keep_partitions(None).await.map(drop)
    }

    async fn serve(
        self,
        config: ConsoleConfig,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Served, ServeFault> {
        tracing::warn!("the console's pages are served on the embedded database only, in this version");
        console::serve(config, self, shutdown).await
    }

    fn back_up(&self, _: &Settings) -> Result<Option<Backups>, Failure> {
        tracing::info!("PostgreSQL is backed up by `messenger backup run` and `messenger backup stream`");
        Ok(None)
    }

    async fn practise(&self, _: &[UserId], _: &Person, _: String) -> Result<(), Failure> {
        Ok(())
    }
}

/// Until it is aborted.
pub async fn keep(store: impl Kept) {
    let mut kept: Option<tokio::time::Instant> = None;
    loop {
        if kept.is_none_or(|at| at.elapsed() > DAY) {
            match store.keep_daily().await {
                Ok(()) => kept = Some(tokio::time::Instant::now()),
                Err(error) => tracing::warn!(%error, "partitions could not be kept; trying again"),
            }
        }
        tokio::time::sleep(SWEEP).await;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        if let Err(error) = store.sweep_once(now.as_millis() as u64).await {
            tracing::warn!(%error, "expired messages could not be swept; trying again");
        }
    }
}
