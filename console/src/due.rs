//! What happens by itself: decisions whose time came take effect. Every console does it; the store lets each take effect
//! once, also after a crash in between.

use std::time::Duration;

use schema_store::accounts::Answer;

use crate::app::App;
use crate::frame::Desk;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);
/// Pause after the store did not answer.
const AFTER_FAULT: Duration = Duration::from_secs(5);

/// Looks until it is dropped.
pub async fn look_after<S: Desk>(app: App<S>) {
    loop {
        let pause = match turn(&app).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "decisions could not take effect; trying again");
                AFTER_FAULT
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn turn<S: Desk>(app: &App<S>) -> Answer<()> {
    while app.store.apply_due().await?.is_some() {}
    Ok(())
}
