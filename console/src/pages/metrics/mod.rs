//! Figures over time: rates, refusals, how long each step of a message takes and each turn of a shard, from histograms
//! merged over all nodes without loss; what the nodes use, and how the database and Redis do. Every chart has a table, a
//! CSV file, and an HDR log where there are histograms.

mod download;
mod live;
mod now;
mod series;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_wire::Step;

use self::series::{QUANTILES, rooms};
use crate::app::App;
use crate::cluster::figures::Figures;
use crate::cluster::heat::{Column, REMEMBERED_MS, counts, widened};
use crate::cluster::history::{gathered, kept, merged};
use crate::cluster::servers::Servers;
use crate::cluster::watch::Span;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, OPERATION_READERS, Who, read};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::heatmap::Heatmap;
use crate::parts::{copyable, table};

/// What may be looked at: as it stands in the address, and its length in hours; 0: the last minutes.
const RANGES: [(&str, u64); 6] = [("5m", 0), ("1h", 1), ("6h", 6), ("24h", 24), ("7d", 168), ("30d", 720)];
/// From so many hours on, hours are shown instead of five minutes.
const COARSE_FROM_H: u64 = 48;
/// Most moments of a chart and its table; more are put together. The files have all.
const MOMENTS_MAX: usize = 96;
/// Width of the heatmap's columns on the page.
const MINUTE_MS: u64 = 60_000;
/// Refusal codes listed.
const CODES_MAX: usize = 20;

/// Who reads figures.
pub(super) const WHO: Who = Who::Roles(OPERATION_READERS);

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![
        read("/metrics", WHO, "metrics.read").to(page::<S>),
        read("/metrics/live", WHO, "metrics.read").to(live::stream::<S>),
        read("/metrics.csv", WHO, "metrics.export").to(download::csv::<S>),
        read("/metrics.hlog", WHO, "metrics.export").to(download::hdr_log::<S>),
    ]
}

/// What is asked for, and what is known of it.
struct Shown {
    range: &'static str,
    step: Step,
    spans: Vec<Span>,
}

impl Shown {
    /// As it stands in addresses.
    fn query(&self) -> String {
        format!("range={}&step={}", self.range, self.step.name())
    }
}

async fn look<S: Desk>(app: &App<S>, fields: &Fields) -> Result<Shown, Trouble> {
    let (range, hours) =
        RANGES.into_iter().find(|(name, _)| *name == fields.raw("range")).unwrap_or(RANGES[0]);
    let now = app.clock.now_ms();
    let spans = match hours {
        0 => app.watch.recent(),
        _ => kept(&app.store, now.saturating_sub(hours * 3_600_000), now, hours >= COARSE_FROM_H).await?,
    };
    Ok(Shown { range, step: step(fields), spans })
}

fn step(fields: &Fields) -> Step {
    Step::ALL.into_iter().find(|step| step.name() == fields.raw("step")).unwrap_or(Step::Append)
}

/// The last hour of a step: what is remembered here, and before that what was kept.
async fn hour<S: Desk>(app: &App<S>, step: Step, now: u64) -> Result<Vec<Column>, Trouble> {
    let since = now.saturating_sub(REMEMBERED_MS);
    let remembered = app.watch.heat(step, since);
    let until = remembered.first().map_or(now, |column| column.began_at);
    let older = kept(&app.store, since, until, false).await?;
    let older = older.iter().filter(|span| span.ended_at() <= until).map(|span| Column {
        began_at: span.began_at,
        length_ms: span.length_ms,
        counts: counts(&span.figures, step),
    });
    Ok(older.chain(widened(&remembered, MINUTE_MS)).collect())
}

struct Data {
    shown: Shown,
    heat: Vec<Column>,
    servers: Option<Servers>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let shown = look(&app, &fields).await?;
    let heat = hour(&app, shown.step, visit.now_ms).await?;
    let data = Data { shown, heat, servers: app.watch.servers() };
    Ok(render::show(StatusCode::OK, visit, data, draw).await)
}

fn draw(visit: &Visit, data: &Data) -> Page {
    let shown = &data.shown;
    let drawn = match merged(&shown.spans) {
        None => view! { <p class="card">{visit.t("metrics-none")}</p> }.into_any(),
        Some(whole) => figures(visit, data, &whole),
    };
    let query = shown.query();
    let body = view! {
        {choice(visit, shown)}
        {drawn}
        <div class="row">
            <a class="button" href=format!("/metrics.csv?{query}")>{visit.t("metrics-csv")}</a>
            <a class="button" href=format!("/metrics.hlog?{query}")>{visit.t("metrics-hdr")}</a>
        </div>
    };
    Page { title: visit.t("nav-metrics"), body: copyable(visit, body.into_any()) }
}

/// All rooms, each with what stands now, its charts and what adds to them.
fn figures(visit: &Visit, data: &Data, whole: &Figures) -> AnyView {
    let spans = gathered(&data.shown.spans, MOMENTS_MAX);
    let began_at: Vec<u64> = spans.iter().map(|span| span.began_at).collect();
    let query = data.shown.query();
    let drawn = rooms(visit.language, data.shown.step, &spans).into_iter().map(|room| {
        let before = match room.key {
            "metrics-latency" => {
                view! { {steps(visit, whole)} {heatmap(visit, data).draw(visit)} }.into_any()
            }
            "metrics-database" => now::database(visit, data.servers.as_ref()),
            "metrics-redis" => now::redis(visit, data.servers.as_ref(), whole),
            "metrics-traffic" => refusals(visit, whole, CODES_MAX).into_any(),
            _ => now::nodes(visit, whole, data.shown.spans.iter().map(|span| span.length_ms).sum()),
        };
        let graphs = room.graphs.iter().map(|graph| graph.draw(visit, &began_at, &query)).collect_view();
        view! {
            <section aria-labelledby=room.key>
                <h2 id=room.key>{visit.t(room.key)}</h2>
                {before}
                <div class="graphs">{graphs}</div>
            </section>
        }
    });
    drawn.collect_view().into_any()
}

fn heatmap(visit: &Visit, data: &Data) -> Heatmap {
    let step = data.shown.step;
    let name = visit.t(&format!("step-{}", step.name()));
    Heatmap {
        title: visit.language.of("heat-title", "step", &name),
        live_title: visit.language.of("live-title", "step", &name),
        columns: data.heat.clone(),
        from: visit.now_ms.saturating_sub(REMEMBERED_MS),
        until: visit.now_ms,
        source: format!("/metrics/live?step={}", step.name()),
        starts: data.shown.range == RANGES[0].0,
    }
}

fn choice(visit: &Visit, shown: &Shown) -> AnyView {
    let ranges = RANGES.map(|(name, _)| {
        view! { <option value=name selected=name == shown.range>{visit.t(&format!("range-{name}"))}</option> }
    });
    let steps = Step::ALL.map(|step| {
        view! { <option value=step.name() selected=step == shown.step>{visit.t(&format!("step-{}", step.name()))}</option> }
    });
    view! {
        <form method="get" action="/metrics" class="row">
            <div class="field">
                <label for="range">{visit.t("metrics-range")}</label>
                <select id="range" name="range">{ranges.to_vec()}</select>
            </div>
            <div class="field">
                <label for="step">{visit.t("metrics-step")}</label>
                <select id="step" name="step">{steps.to_vec()}</select>
            </div>
            <button type="submit">{visit.t("apply")}</button>
        </form>
    }
    .into_any()
}

/// Every step with its percentiles over the whole range.
fn steps(visit: &Visit, whole: &Figures) -> AnyView {
    let rows = Step::ALL.into_iter().map(|step| {
        let times = whole.steps.get(step.name());
        now::times_row(visit.t(&format!("step-{}", step.name())), times)
    });
    table(visit.t("metrics-steps"), times_heads(visit, "metrics-step"), rows.collect())
}

/// Heads of a table of durations.
fn times_heads(visit: &Visit, of: &str) -> Vec<String> {
    let mut heads = vec![visit.t(of), visit.t("metrics-count")];
    heads.extend(QUANTILES.map(|(_, name)| name.to_owned()));
    heads.push(visit.t("metrics-max"));
    heads
}

/// What was refused, by code, the `most` frequent ones.
pub(super) fn refusals(visit: &Visit, whole: &Figures, most: usize) -> Option<AnyView> {
    let codes = whole.by_label("relay_refusals_total");
    if codes.is_empty() {
        return None;
    }
    let rows = codes.into_iter().take(most).map(|(code, count)| {
        view! { <tr><th scope="row"><code>{code.to_owned()}</code></th><td class="number">{count as u64}</td></tr> }
            .into_any()
    });
    let heads = ["metrics-code", "metrics-count"].map(|key| visit.t(key)).to_vec();
    Some(table(visit.t("metrics-refusals"), heads, rows.collect()))
}
