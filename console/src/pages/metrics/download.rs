//! The same series as files: CSV of every stretch, and the interval log that HdrHistogram's tools read.

use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schema_wire::Step;

use super::Asked;
use super::series::rooms;
use crate::app::App;
use crate::cluster::figures::TURN;
use crate::cluster::times::Times;
use crate::cluster::watch::Span;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::trouble::Trouble;
use crate::parts::graph::Graph;
use crate::text::Language;

/// All series, or those of one chart.
pub async fn csv<S: Desk>(State(app): State<App<S>>, fields: Fields) -> Result<Response, Trouble> {
    let asked = Asked::of(&fields);
    let text = written(asked.step, &asked.spans(&app).await?, fields.raw("series"));
    Ok(download(text, "text/csv; charset=utf-8", "attachment; filename=\"metrics.csv\""))
}

fn written(step: Step, spans: &[Span], series: &str) -> String {
    // Columns have the same names in every language.
    let graphs = rooms(Language::English, step, spans).into_iter().flat_map(|room| room.graphs);
    let graphs: Vec<Graph> = graphs.filter(|graph| series.is_empty() || graph.key == series).collect();
    let mut text = String::from("began_at,length_ms");
    for graph in &graphs {
        let name = if graph.key == "step" { step.name() } else { graph.key };
        graph.lines.iter().for_each(|line| text += &format!(",{name}_{}", line.key));
    }
    text += "\r\n";
    for (at, span) in spans.iter().enumerate() {
        let _ = write!(text, "{},{}", span.began_at, span.length_ms);
        for graph in &graphs {
            for line in &graph.lines {
                let value = line.values[at].map(|value| graph.shown(value)).unwrap_or_default();
                let _ = write!(text, ",{value}");
            }
        }
        text += "\r\n";
    }
    text
}

/// One line per stretch and histogram, tagged with the step, `turn`, or the shard whose turns they are.
pub async fn hdr_log<S: Desk>(State(app): State<App<S>>, fields: Fields) -> Result<Response, Trouble> {
    let asked = Asked::of(&fields);
    let spans = asked.spans(&app).await?;
    let wanted = match fields.raw("series") {
        "step" => asked.step.name(),
        "turns" => TURN,
        _ => "",
    };
    let first = spans.first().map_or(0, |span| span.began_at);
    let mut text = format!(
        "#[Histogram log format version 1.3]\n#[StartTime: {:.3} (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        first as f64 / 1000.0
    );
    for span in &spans {
        let steps = span.figures.steps.iter().filter(|(name, _)| wanted.is_empty() || *name == wanted);
        steps.for_each(|(name, times)| entry(&mut text, span, first, name, times));
        let shards = span.figures.shards.iter().filter(|_| wanted.is_empty() || wanted == TURN);
        shards.for_each(|((node, shard), times)| {
            entry(&mut text, span, first, &format!("{TURN}-{node}-{shard}"), times);
        });
    }
    Ok(download(text, "text/plain; charset=utf-8", "attachment; filename=\"metrics.hlog\""))
}

fn entry(text: &mut String, span: &Span, first: u64, tag: &str, times: &Times) {
    if times.is_empty() {
        return;
    }
    let (since, length) = ((span.began_at - first) as f64 / 1000.0, span.length_ms as f64 / 1000.0);
    let (max, histogram) = (times.max() as f64 / 1000.0, times.log_entry());
    let _ = writeln!(text, "Tag={tag},{since:.3},{length:.3},{max:.3},{histogram}");
}

fn download(text: String, kind: &'static str, disposition: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition)),
    ];
    (headers, text).into_response()
}
