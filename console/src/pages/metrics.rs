//! Figures over time: rates, refusals, and how long each step of a message takes, from histograms merged over all nodes
//! without loss. Every number is in a table, and can be downloaded as CSV or as HDR log.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leptos::prelude::*;
use schema_wire::Step;

use crate::app::App;
use crate::cluster::figures::{Figures, compressed};
use crate::cluster::history::{kept, merged};
use crate::cluster::watch::Span;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, OPERATION_READERS, Who, read};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::chart::{Line, chart};
use crate::parts::{moment, table};

/// What may be looked at: as it stands in the address, and its length in hours; 0: the last minutes.
const RANGES: [(&str, u64); 6] = [("5m", 0), ("1h", 1), ("6h", 6), ("24h", 24), ("7d", 168), ("30d", 720)];
/// From so many hours on, hours are shown instead of five minutes.
const COARSE_FROM_H: u64 = 48;
/// Percentiles, and how they are called.
const QUANTILES: [(f64, &str); 5] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];
/// Refusal codes listed.
const CODES_MAX: usize = 20;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(OPERATION_READERS);
    vec![
        read("/metrics", who, "metrics.read").to(page::<S>),
        read("/metrics.csv", who, "metrics.export").to(csv::<S>),
        read("/metrics.hlog", who, "metrics.export").to(hdr_log::<S>),
    ]
}

struct Shown {
    range: &'static str,
    step: Step,
    spans: Vec<Span>,
}

async fn look<S: Desk>(app: &App<S>, fields: &Fields) -> Result<Shown, Trouble> {
    let (range, hours) =
        RANGES.into_iter().find(|(name, _)| *name == fields.raw("range")).unwrap_or(RANGES[0]);
    let step = Step::ALL.into_iter().find(|step| step.name() == fields.raw("step")).unwrap_or(Step::Append);
    let now = app.clock.now_ms();
    let spans = match hours {
        0 => app.watch.recent(),
        _ => kept(&app.store, now.saturating_sub(hours * 3_600_000), now, hours >= COARSE_FROM_H).await?,
    };
    Ok(Shown { range, step, spans })
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let shown = look(&app, &fields).await?;
    Ok(render::show(StatusCode::OK, visit, shown, draw).await)
}

async fn csv<S: Desk>(State(app): State<App<S>>, fields: Fields) -> Result<Response, Trouble> {
    let shown = look(&app, &fields).await?;
    let mut text = String::from("began_at,length_ms,messages,deliveries,refusals,sessions");
    for step in Step::ALL {
        QUANTILES.iter().for_each(|(_, name)| text += &format!(",{}_{name}_us", step.name()));
        text += &format!(",{}_max_us,{}_count", step.name(), step.name());
    }
    text += "\r\n";
    shown.spans.iter().for_each(|span| text += &line(span));
    Ok(download(text, "text/csv; charset=utf-8", "attachment; filename=\"metrics.csv\""))
}

fn line(span: &Span) -> String {
    let figures = &span.figures;
    let mut line = format!("{},{}", span.began_at, span.length_ms);
    for name in ["messages_sent_total", "relay_messages_delivered_total", "relay_refusals_total"] {
        line += &format!(",{}", figures.count(name));
    }
    line += &format!(",{}", figures.level("relay_sessions_active"));
    for step in Step::ALL {
        let histogram = figures.steps.get(step.name());
        for (quantile, _) in QUANTILES {
            line += &format!(",{}", histogram.map_or(0, |one| one.value_at_quantile(quantile)));
        }
        line += &histogram.map_or_else(|| ",0,0".into(), |one| format!(",{},{}", one.max(), one.len()));
    }
    line + "\r\n"
}

/// The interval log that HdrHistogram's tools read, one line per stretch and step, tagged with the step.
async fn hdr_log<S: Desk>(State(app): State<App<S>>, fields: Fields) -> Result<Response, Trouble> {
    let shown = look(&app, &fields).await?;
    let first = shown.spans.first().map_or(0, |span| span.began_at);
    let mut text = format!(
        "#[Histogram log format version 1.3]\n#[StartTime: {:.3} (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        first as f64 / 1000.0
    );
    for span in &shown.spans {
        let (since, length) = ((span.began_at - first) as f64 / 1000.0, span.length_ms as f64 / 1000.0);
        for (name, step) in span.figures.steps.iter().filter(|(_, step)| !step.is_empty()) {
            text += &format!(
                "Tag={name},{since:.3},{length:.3},{:.3},{}\n",
                step.max() as f64 / 1000.0,
                compressed(step)
            );
        }
    }
    Ok(download(text, "text/plain; charset=utf-8", "attachment; filename=\"metrics.hlog\""))
}

fn download(text: String, kind: &'static str, disposition: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition)),
    ];
    (headers, text).into_response()
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let whole = merged(&shown.spans);
    let drawn = match &whole {
        None => view! { <p class="card">{visit.t("metrics-none")}</p> }.into_any(),
        Some(whole) => view! {
            {steps(visit, whole)}
            {rates_chart(visit, &shown.spans)}
            {step_chart(visit, shown)}
            {series(visit, shown)}
            {refusals(visit, whole)}
        }
        .into_any(),
    };
    let query = format!("range={}&step={}", shown.range, shown.step.name());
    let body = view! {
        {choice(visit, shown)}
        {drawn}
        <div class="row">
            <a class="button" href=format!("/metrics.csv?{query}")>{visit.t("audit-export")}</a>
            <a class="button" href=format!("/metrics.hlog?{query}")>{visit.t("metrics-hdr")}</a>
        </div>
    };
    Page { title: visit.t("nav-metrics"), body: body.into_any() }
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
    let mut heads = vec![visit.t("metrics-step"), visit.t("metrics-count")];
    heads.extend(QUANTILES.map(|(_, name)| name.to_owned()));
    heads.push(visit.t("metrics-max"));
    let rows = Step::ALL.into_iter().map(|step| {
        let histogram = whole.steps.get(step.name()).filter(|one| !one.is_empty());
        let cell = |value: Option<u64>| {
            view! { <td class="number">{value.map_or_else(|| "–".to_owned(), |value| value.to_string())}</td> }
        };
        let quantiles = QUANTILES.map(|(quantile, _)| cell(histogram.map(|one| one.value_at_quantile(quantile))));
        view! {
            <tr>
                <th scope="row">{visit.t(&format!("step-{}", step.name()))}</th>
                {cell(histogram.map(|one| one.len()))}
                {quantiles.to_vec()}
                {cell(histogram.map(|one| one.max()))}
            </tr>
        }
        .into_any()
    });
    table(visit.t("metrics-steps"), heads, rows.collect())
}

fn per_second(span: &Span, name: &str) -> f64 {
    span.figures.count(name) * 1000.0 / span.length_ms.max(1) as f64
}

fn rates_chart(visit: &Visit, spans: &[Span]) -> AnyView {
    let line = |key: &str, name: &str| Line {
        name: visit.t(key),
        values: spans.iter().map(|span| Some(per_second(span, name))).collect(),
    };
    let lines = vec![
        line("metrics-sent", "messages_sent_total"),
        line("metrics-delivered", "relay_messages_delivered_total"),
        line("metrics-refused", "relay_refusals_total"),
    ];
    chart(visit.t("metrics-rates"), lines, |top| format!("{top:.1}"))
}

fn step_chart(visit: &Visit, shown: &Shown) -> AnyView {
    let line = |quantile: f64, name: &str| Line {
        name: name.to_owned(),
        values: shown.spans.iter().map(|span| quantile_of(span, shown.step, quantile)).collect(),
    };
    let lines = vec![line(0.5, "p50"), line(0.99, "p99"), line(1.0, "max")];
    let title = format!("{}, µs", visit.t(&format!("step-{}", shown.step.name())));
    chart(title, lines, |top| format!("{top:.0}"))
}

fn quantile_of(span: &Span, step: Step, quantile: f64) -> Option<f64> {
    let histogram = span.figures.steps.get(step.name()).filter(|one| !one.is_empty())?;
    Some(histogram.value_at_quantile(quantile) as f64)
}

/// The charts' numbers.
fn series(visit: &Visit, shown: &Shown) -> AnyView {
    let mut heads = ["decision-at", "metrics-sent", "metrics-delivered", "metrics-refused", "node-sessions"]
        .map(|key| visit.t(key))
        .to_vec();
    heads.extend(["p50", "p99", "max"].map(|name| format!("{name} µs")));
    let rows = shown.spans.iter().rev().map(|span| {
        let rate = |name| format!("{:.1}", per_second(span, name));
        let step = |quantile| {
            quantile_of(span, shown.step, quantile).map_or_else(|| "–".to_owned(), |us| format!("{us:.0}"))
        };
        view! {
            <tr>
                <th scope="row">{moment(span.began_at)}</th>
                <td class="number">{rate("messages_sent_total")}</td>
                <td class="number">{rate("relay_messages_delivered_total")}</td>
                <td class="number">{rate("relay_refusals_total")}</td>
                <td class="number">{span.figures.level("relay_sessions_active")}</td>
                <td class="number">{step(0.5)}</td>
                <td class="number">{step(0.99)}</td>
                <td class="number">{step(1.0)}</td>
            </tr>
        }
        .into_any()
    });
    let list = table(visit.t("metrics-series"), heads, rows.collect());
    view! { <details><summary>{visit.t("metrics-series")}</summary>{list}</details> }.into_any()
}

fn refusals(visit: &Visit, whole: &Figures) -> Option<AnyView> {
    let codes = whole.by_label("relay_refusals_total");
    if codes.is_empty() {
        return None;
    }
    let rows = codes.into_iter().take(CODES_MAX).map(|(code, count)| {
        view! { <tr><th scope="row"><code>{code.to_owned()}</code></th><td class="number">{count as u64}</td></tr> }
            .into_any()
    });
    let heads = ["metrics-code", "metrics-count"].map(|key| visit.t(key)).to_vec();
    Some(table(visit.t("metrics-refusals"), heads, rows.collect()))
}
