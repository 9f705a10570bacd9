//! How many cases are open, and since when the oldest one is: for the monitoring, and beside the queue's name on every
//! page. Every console looks now and then, so that no page counts; the queue leaves here what it counted itself.

use std::fmt::Write;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use schema_store::rows::moderation::OpenCases;

use crate::app::{App, Backing};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);

/// What was counted last; nothing while the store does not answer.
#[derive(Default)]
pub struct Caseload(RwLock<Option<OpenCases>>);

impl Caseload {
    /// Cases that are open; `None`: nobody knows.
    pub fn open(&self) -> Option<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).map(|cases| cases.open)
    }

    /// Takes what was counted.
    pub fn learn(&self, cases: Option<OpenCases>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = cases;
    }
}

/// Looks until it is dropped.
pub async fn count_cases<S: Backing>(app: App<S>) {
    loop {
        let counted = match app.store.open_cases().await {
            Ok(cases) => Some(cases),
            Err(error) => {
                tracing::warn!(%error, "open cases could not be counted; trying again");
                None
            }
        };
        app.caseload.learn(counted);
        let text = counted.map(|cases| figures(cases, app.clock.now_ms())).unwrap_or_default();
        app.metrics.beside("cases", text);
        tokio::time::sleep(EVERY).await;
    }
}

/// In Prometheus' text form. A figure that nobody knows is left out: an old one would say that all is well.
fn figures(cases: OpenCases, now_ms: u64) -> String {
    let age_ms = cases.oldest_at.map_or(0, |at| now_ms.saturating_sub(at));
    let mut out =
        String::from("# HELP moderation_open_cases Cases that wait for a moderator, claimed or not.\n");
    let _ = writeln!(out, "# TYPE moderation_open_cases gauge\nmoderation_open_cases {}", cases.open);
    out.push_str(
        "# HELP moderation_oldest_open_case_age_seconds How long the oldest open case waits; 0: none.\n",
    );
    let _ = writeln!(
        out,
        "# TYPE moderation_oldest_open_case_age_seconds gauge\nmoderation_oldest_open_case_age_seconds {}",
        age_ms / 1000
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_case_has_an_age() {
        let text = figures(OpenCases { open: 3, oldest_at: Some(1_000) }, 61_500);
        assert!(text.contains("\nmoderation_open_cases 3\n"), "{text}");
        assert!(text.contains("\nmoderation_oldest_open_case_age_seconds 60\n"), "{text}");
        let none = figures(OpenCases::default(), 61_500);
        assert!(none.contains("\nmoderation_open_cases 0\n") && none.contains("_age_seconds 0\n"), "{none}");
    }
}
