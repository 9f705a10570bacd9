//! How the product stands, on one page: who is connected, what waits for people, whether backups are recent.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::moderation::CaseCounts;
use schema_store::rows::node::{NodeRow, NodeState};

use super::backups::Safety;
use super::metrics::refusals;
use crate::app::App;
use crate::cluster::history::merged;
use crate::cluster::watch::{Span, is_there};
use crate::frame::Desk;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, OPERATION_READERS, PEOPLE_READERS, STAFF, Who, read};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, copyable, figures, span};

/// Refusal codes listed; Metrics has more.
const CODES_MAX: usize = 5;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![read("/overview", Who::Roles(STAFF), "overview.read").to(page::<S>)]
}

struct Overview {
    nodes: Vec<NodeRow>,
    recent: Vec<Span>,
    cases: CaseCounts,
    safety: Safety,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let overview = Overview {
        nodes: app.store.nodes().await?,
        recent: app.watch.recent(),
        cases: app.store.case_counts().await?,
        safety: Safety::load(&app, 20, 5).await?,
    };
    Ok(render::show(StatusCode::OK, visit, overview, draw).await)
}

fn draw(visit: &Visit, overview: &Overview) -> Page {
    let operations = visit.is_one_of(OPERATION_READERS);
    let people = visit.is_one_of(PEOPLE_READERS);
    let body = view! {
        <section aria-labelledby="traffic">
            <h2 id="traffic">{visit.t("overview-traffic")}</h2>
            {traffic(visit, overview)}
            {merged(&overview.recent).and_then(|whole| refusals(visit, &whole, CODES_MAX))}
            {operations.then(|| link(visit, "/metrics", "nav-metrics"))}
        </section>
        <section aria-labelledby="running">
            <h2 id="running">{visit.t("overview-running")}</h2>
            {running(visit, overview)}
            {operations.then(|| link(visit, "/nodes", "nav-nodes"))}
        </section>
        <section aria-labelledby="waiting">
            <h2 id="waiting">{visit.t("nav-moderation")}</h2>
            {waiting(visit, &overview.cases)}
            {people.then(|| link(visit, "/moderation", "nav-moderation"))}
        </section>
    };
    Page { title: visit.t("nav-overview"), body: copyable(visit, body.into_any()) }
}

fn link(visit: &Visit, to: &'static str, key: &str) -> AnyView {
    view! { <p><a href=to>{visit.t(key)}</a></p> }.into_any()
}

fn traffic(visit: &Visit, overview: &Overview) -> AnyView {
    let Some(whole) = merged(&overview.recent) else {
        return view! { <p class="card">{visit.t("metrics-none")}</p> }.into_any();
    };
    let seconds = overview.recent.iter().map(|span| span.length_ms).sum::<u64>().max(1) as f64 / 1000.0;
    let level = |name| whole.level(name) as u64;
    let rate = |name| format!("{:.1}", whole.count(name) / seconds);
    let p99 = whole.steps.get("append").filter(|step| !step.is_empty());
    let p99 = p99.map_or_else(|| "–".into(), |step| format!("{} µs", step.quantile(0.99)));
    figures(vec![
        (visit.t("node-sessions"), level("relay_sessions_active").into_any()),
        (visit.t("node-websocket"), level("websocket_connections_active").into_any()),
        (visit.t("node-quic"), level("quic_connections_active").into_any()),
        (visit.t("metrics-sent"), rate("messages_sent_total").into_any()),
        (visit.t("metrics-delivered"), rate("relay_messages_delivered_total").into_any()),
        (visit.t("metrics-refused"), rate("relay_refusals_total").into_any()),
        (visit.t("overview-append"), p99.into_any()),
    ])
}

fn running(visit: &Visit, overview: &Overview) -> AnyView {
    let there = |node: &&NodeRow| is_there(node, visit.now_ms);
    let ready = overview.nodes.iter().filter(there).filter(|node| node.state == NodeState::Ready).count();
    let silent = overview.nodes.iter().filter(|node| node.state != NodeState::Gone && !there(node)).count();
    let silent = if silent == 0 { silent.into_any() } else { badge("bad", silent.to_string()) };
    figures(vec![
        (visit.t("overview-ready"), ready.into_any()),
        (visit.t("overview-silent"), silent),
        (visit.t("backup-age"), overview.safety.age(visit)),
    ])
}

fn waiting(visit: &Visit, cases: &CaseCounts) -> AnyView {
    let oldest = cases.oldest_open_at.map(|at| span(visit.language, visit.now_ms.saturating_sub(at)));
    figures(vec![
        (visit.t("queue-count-open"), cases.open.into_any()),
        (visit.t("queue-oldest"), oldest.unwrap_or_else(|| "–".into()).into_any()),
        (visit.t("queue-count-waiting"), cases.waiting.into_any()),
    ])
}
