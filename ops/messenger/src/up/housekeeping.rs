//! What keeps a store in order while it is served; it differs between stores.

use std::sync::Arc;
use std::time::Duration;

use ::backup::wal::stream::RECEIVER;
use relay_server::start::MoreMetrics;
use schema_store::accounts::Answer;
use schema_store::{PostgresStore, SqliteStore};

use super::backups::Backups;
use super::figures::Rows;
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

    /// What the store counts, as Prometheus text. Holds no handle on the store.
    fn figures(&self) -> MoreMetrics {
        Arc::new(String::new)
    }

    /// Starts the backups that `up` makes by itself; none where others make them.
    fn back_up(&self, settings: &Settings) -> Result<Option<Backups>, Failure>;

    /// The newest rows of the tables of backups and drills, and how far behind the receiver of the log is.
    fn backup_rows(&self, limit: u32) -> impl Future<Output = Answer<Rows>> + Send;
}

impl Kept for SqliteStore {
    async fn sweep_once(&self, now: u64) -> Answer<()> {
        self.sweep(now).await.map(drop)
    }

    async fn keep_daily(&self) -> Answer<()> {
        Ok(())
    }

    fn back_up(&self, settings: &Settings) -> Result<Option<Backups>, Failure> {
        Backups::start(settings, self.clone())
    }

    async fn backup_rows(&self, limit: u32) -> Answer<Rows> {
        Ok(Rows { backups: self.backups(limit).await?, drills: self.drills(limit).await?, log_lag: None })
    }
}

impl Kept for PostgresStore {
    fn figures(&self) -> MoreMetrics {
        Arc::new(self.cache_metrics())
    }

    async fn sweep_once(&self, now: u64) -> Answer<()> {
        self.sweep(now).await.map(drop)
    }

    async fn keep_daily(&self) -> Answer<()> {
        self.keep_partitions(None).await.map(drop)
    }

    fn back_up(&self, _: &Settings) -> Result<Option<Backups>, Failure> {
        tracing::info!("PostgreSQL is backed up by `messenger backup run` and `messenger backup stream`");
        Ok(None)
    }

    async fn backup_rows(&self, limit: u32) -> Answer<Rows> {
        let log_lag = self.log_lag(RECEIVER.to_owned()).await?;
        Ok(Rows { backups: self.backups(limit).await?, drills: self.drills(limit).await?, log_lag })
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
