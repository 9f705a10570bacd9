//! Figures over time: a chart, beneath it a table with the same numbers, and the files they can be had as.

use std::fmt::Write;

use leptos::prelude::*;

use super::chart::{Line, chart};
use super::{moment_html, number_table};
use crate::frame::visit::Visit;

/// What belongs together.
pub struct Graph {
    /// Its name for programs.
    pub key: &'static str,
    pub title: String,
    /// The first few are drawn, all are listed.
    pub lines: Vec<Line>,
    /// Digits after the point.
    pub digits: usize,
    /// Whether there are histograms behind it.
    pub has_log: bool,
}

impl Graph {
    /// A value as it is shown and kept.
    pub fn shown(&self, value: f64) -> String {
        format!("{value:.*}", self.digits)
    }

    /// Draws it; `began_at` are its moments, `query` is what its files are asked for with.
    pub fn draw(&self, visit: &Visit, began_at: &[u64], query: &str) -> AnyView {
        let csv = format!("/metrics.csv?{query}&series={}", self.key);
        let log = self.has_log.then(|| format!("/metrics.hlog?{query}&series={}", self.key));
        let named = |key| {
            let text = visit.t(key);
            (format!("{}: {text}", self.title), text)
        };
        let (table, table_text) = named("graph-table");
        let (csv_name, csv_text) = named("graph-csv");
        let (log_name, log_text) = named("graph-hdr");
        view! {
            <div class="graph">
                {chart(self.title.clone(), &self.lines, |top| self.shown(top))}
                <details>
                    <summary aria-label=table>{table_text}</summary>
                    {self.table(visit, began_at)}
                </details>
                <p class="files">
                    <a href=csv aria-label=csv_name>{csv_text}</a>
                    {log.map(|log| view! { <a href=log aria-label=log_name>{log_text}</a> })}
                </p>
            </div>
        }
        .into_any()
    }

    fn table(&self, visit: &Visit, began_at: &[u64]) -> AnyView {
        let mut heads = vec![visit.t("decision-at")];
        heads.extend(self.lines.iter().map(|line| line.name.clone()));
        let mut rows = String::new();
        for (at, began_at) in began_at.iter().enumerate().rev() {
            let _ = write!(rows, "<tr><th scope=\"row\">{}</th>", moment_html(*began_at));
            for line in &self.lines {
                let value = line.values.get(at).copied().flatten();
                let value = value.map_or_else(|| "–".to_owned(), |value| self.shown(value));
                let _ = write!(rows, "<td class=\"number\">{value}</td>");
            }
            rows += "</tr>";
        }
        number_table(self.title.clone(), heads, rows)
    }
}
