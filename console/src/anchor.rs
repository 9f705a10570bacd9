//! Writes the audit chain's head into the log, which is kept elsewhere than the database: a chain alone can't show that its
//! newest entries were cut off. `messenger audit verify --anchor` compares them later.

use std::time::Duration;

use crate::app::{App, Backing};

/// How often it is looked whether the chain grew.
const EVERY: Duration = Duration::from_secs(600);

/// Writes until it is dropped.
pub async fn anchor<S: Backing>(app: App<S>) {
    let mut told = 0;
    loop {
        told = tell(&app, told).await;
        tokio::time::sleep(EVERY).await;
    }
}

/// Writes the head if it is another than the one that was `told`; its number.
pub async fn tell<S: Backing>(app: &App<S>, told: u64) -> u64 {
    match app.store.audit_head().await {
        Ok(head) if head.id != told => {
            tracing::info!(audit_head = %head, "the audit trail ends here");
            head.id
        }
        Ok(_) => told,
        Err(error) => {
            tracing::warn!(%error, "the audit trail's end could not be read");
            told
        }
    }
}
