//! Figures over time: rates, refusals, how long each step of a message takes and each turn of a shard, from histograms
//! merged over all nodes without loss; what the nodes use, and how the database and Redis do. Every chart has a table, a
//! CSV file, and an HDR log where there are histograms.

mod download;
mod live;
mod now;
mod series;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_wire::Step;

use self::series::{QUANTILES, Room, rooms};
use crate::app::App;
use crate::cluster::figures::Figures;
use crate::cluster::heat::{Column, REMEMBERED_MS, counts, widened};
use crate::cluster::history::kept;
use crate::cluster::past::{COARSE_FROM_H, Past, Written};
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
/// Width of the heatmap's columns on the page.
const MINUTE_MS: u64 = 60_000;
/// What is remembered, in hours.
const REMEMBERED_H: u64 = REMEMBERED_MS / 3_600_000;
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

/// What is asked for.
#[derive(Clone, Copy)]
struct Asked {
    range: &'static str,
    /// 0: the last minutes.
    hours: u64,
    step: Step,
}

impl Asked {
    fn of(fields: &Fields) -> Self {
        let range = RANGES.into_iter().find(|(name, _)| *name == fields.raw("range"));
        let (range, hours) = range.unwrap_or(RANGES[0]);
        let step = Step::ALL.into_iter().find(|step| step.name() == fields.raw("step"));
        Self { range, hours, step: step.unwrap_or(Step::Append) }
    }

    /// As it stands in addresses.
    fn query(self) -> String {
        format!("range={}&step={}", self.range, self.step.name())
    }

    /// Every stretch there is of it, for files.
    async fn spans<S: Desk>(self, app: &App<S>) -> Result<Vec<Span>, Trouble> {
        let now = app.clock.now_ms();
        let since = now.saturating_sub(self.hours * 3_600_000);
        match self.hours {
            0 => Ok(app.watch.recent()),
            hours => Ok(kept(&app.store, since, now, hours >= COARSE_FROM_H).await?),
        }
    }

    /// The same as a page shows it.
    async fn past<S: Desk>(self, app: &App<S>) -> Result<Option<Arc<Past>>, Trouble> {
        match self.hours {
            0 => Ok(Past::of(&app.watch.recent()).map(Arc::new)),
            hours => Ok(app.watch.pasts.last(&app.store, hours, app.clock.now_ms()).await?),
        }
    }
}

/// The last hour of a step: what is remembered here, and before that what was kept.
async fn hour<S: Desk>(app: &App<S>, step: Step, now: u64) -> Result<Vec<Column>, Trouble> {
    let since = now.saturating_sub(REMEMBERED_MS);
    let remembered = app.watch.heat(step, since);
    let until = remembered.first().map_or(now, |column| column.began_at);
    let kept = app.watch.pasts.last(&app.store, REMEMBERED_H, now).await?;
    let older = kept.iter().flat_map(|past| &past.spans);
    let older = older.filter(|span| span.began_at >= since && span.ended_at() <= until).map(|span| Column {
        began_at: span.began_at,
        length_ms: span.length_ms,
        counts: counts(&span.figures, step),
    });
    Ok(older.chain(widened(&remembered, MINUTE_MS)).collect())
}

struct Data {
    asked: Asked,
    past: Option<Arc<Past>>,
    heat: Vec<Column>,
    servers: Option<Servers>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let asked = Asked::of(&fields);
    let past = asked.past(&app).await?;
    let heat = hour(&app, asked.step, visit.now_ms).await?;
    let data = Data { asked, past, heat, servers: app.watch.servers() };
    Ok(render::show(StatusCode::OK, visit, data, draw).await)
}

fn draw(visit: &Visit, data: &Data) -> Page {
    let drawn = match &data.past {
        None => view! { <p class="card">{visit.t("metrics-none")}</p> }.into_any(),
        Some(past) => figures(visit, data, past),
    };
    let query = data.asked.query();
    let body = view! {
        {choice(visit, data.asked)}
        {drawn}
        <div class="row">
            <a class="button" href=format!("/metrics.csv?{query}")>{visit.t("metrics-csv")}</a>
            <a class="button" href=format!("/metrics.hlog?{query}")>{visit.t("metrics-hdr")}</a>
        </div>
    };
    Page { title: visit.t("nav-metrics"), body: copyable(visit, body.into_any()) }
}

/// All rooms, each with what stands now, its charts and what adds to them.
fn figures(visit: &Visit, data: &Data, past: &Past) -> AnyView {
    let name = format!("{} {}", visit.language.code(), data.asked.step.name());
    let written = past.written(&name, || charts(visit, data.asked, &past.spans));
    let drawn = written.iter().map(|(key, graphs)| {
        let before = match *key {
            "metrics-latency" => {
                view! { {steps(visit, &past.whole)} {heatmap(visit, data).draw(visit)} }.into_any()
            }
            "metrics-database" => now::database(visit, data.servers.as_ref()),
            "metrics-redis" => now::redis(visit, data.servers.as_ref(), &past.whole),
            "metrics-traffic" => refusals(visit, &past.whole, CODES_MAX).into_any(),
            _ => now::nodes(visit, &past.whole, past.length_ms),
        };
        view! {
            <section aria-labelledby=*key>
                <h2 id=*key>{visit.t(key)}</h2>
                {before}
                <div class="graphs" inner_html=graphs.clone()></div>
            </section>
        }
    });
    drawn.collect_view().into_any()
}

/// Charts and their tables of every room: numbers, moments and our own words only, nothing that somebody typed.
fn charts(visit: &Visit, asked: Asked, spans: &[Span]) -> Written {
    let began_at: Vec<u64> = spans.iter().map(|span| span.began_at).collect();
    let query = asked.query();
    let drawn = |room: Room| {
        let graphs = room.graphs.iter().map(|graph| graph.draw(visit, &began_at, &query));
        (room.key, graphs.collect_view().to_html())
    };
    rooms(visit.language, asked.step, spans).into_iter().map(drawn).collect()
}

fn heatmap(visit: &Visit, data: &Data) -> Heatmap {
    let step = data.asked.step;
    let name = visit.t(&format!("step-{}", step.name()));
    Heatmap {
        title: visit.language.of("heat-title", "step", &name),
        live_title: visit.language.of("live-title", "step", &name),
        columns: data.heat.clone(),
        from: visit.now_ms.saturating_sub(REMEMBERED_MS),
        until: visit.now_ms,
        source: format!("/metrics/live?step={}", step.name()),
        starts: data.asked.range == RANGES[0].0,
    }
}

fn choice(visit: &Visit, asked: Asked) -> AnyView {
    let ranges = RANGES.map(|(name, _)| {
        view! { <option value=name selected=name == asked.range>{visit.t(&format!("range-{name}"))}</option> }
    });
    let steps = Step::ALL.map(|step| {
        view! { <option value=step.name() selected=step == asked.step>{visit.t(&format!("step-{}", step.name()))}</option> }
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
