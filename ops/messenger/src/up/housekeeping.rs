//! What keeps a store in order while it is served; it differs between stores.

use std::sync::Arc;
use std::time::Duration;

use ::backup::wal::stream::RECEIVER;
use relay_server::start::MoreMetrics;
use schema_store::accounts::Answer;
use schema_store::rows::operations::{Bounded, KEEP_AUDIT, KEEP_MESSAGES};
use schema_store::{PostgresStore, SqliteStore, Store};

use super::backups::Backups;
use super::figures::Rows;
use super::settings::Settings;
use crate::failure::Failure;

/// How often expired messages and ended suspensions are swept.
const SWEEP: Duration = Duration::from_secs(5);
/// How often it is looked for what is too old.
const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: u64 = 86_400_000;
/// A month is not shorter than any.
const MONTH_MS: u64 = 31 * DAY_MS;

/// How long operators keep what grows; `None`: for good.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Retention {
    messages_months: Option<u32>,
    audit_days: Option<u64>,
}

impl Retention {
    async fn of(store: &impl Store) -> Answer<Self> {
        let set = store.operator_settings().await?;
        let some = |setting: Bounded| Some(setting.of(&set)).filter(|number| *number > 0);
        let months = some(KEEP_MESSAGES).and_then(|months| u32::try_from(months).ok());
        Ok(Self { messages_months: months, audit_days: some(KEEP_AUDIT) })
    }

    /// When the oldest entry of the audit trail that stays was made, in unix ms.
    fn audit_from(self, now: u64) -> Option<u64> {
        self.audit_days.map(|days| now.saturating_sub(days * DAY_MS))
    }
}

/// A store that is kept in order by whoever serves it.
pub trait Kept: Clone + Send + Sync + 'static {
    /// Empties what has expired as of `now`, unix ms.
    fn sweep_once(&self, now: u64) -> impl Future<Output = Answer<()>> + Send;

    /// Once a day, and when operators keep things for another time. `now` in unix ms.
    fn keep_daily(&self, keep: Retention, now: u64) -> impl Future<Output = Answer<()>> + Send;

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

    async fn keep_daily(&self, keep: Retention, now: u64) -> Answer<()> {
        if let Some(months) = keep.messages_months {
            let emptied = self.empty_before(now.saturating_sub(u64::from(months) * MONTH_MS)).await?;
            told("messages", emptied);
        }
        if let Some(from) = keep.audit_from(now) {
            told("entries of the audit trail", self.prune_audit(from).await?);
        }
        Ok(())
    }

    fn back_up(&self, settings: &Settings) -> Result<Option<Backups>, Failure> {
        Backups::start(settings, self.clone())
    }

    async fn backup_rows(&self, limit: u32) -> Answer<Rows> {
        Rows::read(self, limit, None).await
    }
}

impl Kept for PostgresStore {
    fn figures(&self) -> MoreMetrics {
        Arc::new(self.cache_metrics())
    }

    async fn sweep_once(&self, now: u64) -> Answer<()> {
        self.sweep(now).await.map(drop)
    }

    async fn keep_daily(&self, keep: Retention, now: u64) -> Answer<()> {
        for table in self.keep_partitions(keep.messages_months).await?.detached {
            tracing::warn!(table, "its messages are older than messages are kept; archive it or drop it");
        }
        if let Some(from) = keep.audit_from(now) {
            told("entries of the audit trail", self.prune_audit(from).await?);
        }
        Ok(())
    }

    fn back_up(&self, _: &Settings) -> Result<Option<Backups>, Failure> {
        tracing::info!("PostgreSQL is backed up by `messenger backup run` and `messenger backup stream`");
        Ok(None)
    }

    async fn backup_rows(&self, limit: u32) -> Answer<Rows> {
        let log_lag = self.log_lag(RECEIVER.to_owned()).await?;
        Rows::read(self, limit, log_lag).await
    }
}

/// What was too old, by count.
fn told(what: &str, count: u64) {
    if count > 0 {
        tracing::info!(count, "{what} were older than they are kept");
    }
}

/// Until it is aborted.
pub async fn keep(store: impl Kept + Store) {
    let mut kept: Option<(tokio::time::Instant, Retention)> = None;
    loop {
        if let Err(error) = keep_if_due(&store, &mut kept).await {
            tracing::warn!(%error, "what is too old could not be looked after; trying again");
        }
        tokio::time::sleep(SWEEP).await;
        if let Err(error) = store.sweep_once(unix_ms()).await {
            tracing::warn!(%error, "expired messages could not be swept; trying again");
        }
    }
}

async fn keep_if_due(
    store: &(impl Kept + Store),
    kept: &mut Option<(tokio::time::Instant, Retention)>,
) -> Answer<()> {
    let wanted = Retention::of(store).await?;
    if kept.is_none_or(|(at, with)| at.elapsed() > DAY || with != wanted) {
        store.keep_daily(wanted, unix_ms()).await?;
        *kept = Some((tokio::time::Instant::now(), wanted));
    }
    Ok(())
}

fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u64
}
