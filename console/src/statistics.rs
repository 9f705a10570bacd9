//! Counts accounts, messages and media now and then, so that the page about them counts nothing. Every console looks; the
//! store lets one of them count.

use std::time::Duration;

use crate::app::{App, Backing};

/// How often it is looked whether a count is due.
const EVERY: Duration = Duration::from_secs(60);
/// How old a count may become, in milliseconds.
const STALE_MS: u64 = 10 * 60_000;

/// Looks until it is dropped.
pub async fn count<S: Backing>(app: App<S>) {
    loop {
        let older_than = app.clock.now_ms().saturating_sub(STALE_MS);
        if let Err(error) = app.store.take_statistics(older_than).await {
            tracing::warn!(%error, "statistics could not be counted; trying again");
        }
        tokio::time::sleep(EVERY).await;
    }
}
