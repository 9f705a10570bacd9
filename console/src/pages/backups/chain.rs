//! What shows that backups hold together: how far a server's log is sealed and since when nothing of it is missing, and what
//! the last check of every byte found.

use leptos::prelude::*;
use schema_store::rows::backup::{CheckRow, LogNoted};

use crate::frame::visit::Visit;
use crate::parts::{badge, figures, moment, span};

/// The section; without a log that is followed, only the check.
pub fn draw(visit: &Visit, log: Option<&LogNoted>, check: Option<&CheckRow>) -> AnyView {
    let mut facts = log.map_or_else(Vec::new, |log| of_log(visit, log));
    let outcome = match check {
        None => badge("warn", visit.t("never")),
        Some(row) => {
            let (kind, word) = if row.passed { ("good", "check-passed") } else { ("bad", "check-failed") };
            view! { {badge(kind, visit.t(word))}" "{moment(row.finished_at)} }.into_any()
        }
    };
    facts.push((visit.t("check-last"), outcome));
    let detail = check.map(|row| view! { <p class="hint"><bdi>{row.detail.clone()}</bdi></p> });
    view! {
        <section aria-labelledby="chain">
            <h2 id="chain">{visit.t("chain-title")}</h2>
            {figures(facts)}
            {detail}
        </section>
    }
    .into_any()
}

fn of_log(visit: &Visit, LogNoted { note, noted_at }: &LogNoted) -> Vec<(String, AnyView)> {
    let unbroken = if note.continues {
        view! { {badge("good", visit.t("chain-unbroken"))}" "{moment(note.unbroken_since)} }.into_any()
    } else {
        badge("bad", visit.t("chain-broken"))
    };
    let heard = span(visit.language, visit.now_ms.saturating_sub(*noted_at));
    vec![
        (visit.t("chain-since"), unbroken),
        (visit.t("log-sealed"), moment(note.safe_at)),
        (visit.t("log-lag"), visit.language.count("log-lag-kib", note.lag_bytes.div_ceil(1024)).into_any()),
        (visit.t("log-heard"), heard.into_any()),
    ]
}
