//! A heatmap of durations: moments from left to right, buckets from short to long, the darker the larger the share of the
//! moment's durations. Beneath it a table with the same counts. A script may put newer ones in their place.

use std::fmt::Write;

use leptos::prelude::*;

use super::{moment, moment_html, number_table};
use crate::cluster::heat::{BOUNDS_US, Column, Counts, ROWS};
use crate::frame::visit::Visit;

/// Inner size of the picture; the script draws in the same one.
const WIDTH: f64 = 720.0;
const ROW_HEIGHT: u32 = 10;
/// Shades; a bucket that holds anything has one.
const SHADES: u64 = 8;

/// What is drawn.
pub struct Heatmap {
    pub title: String,
    /// What it is called while the script follows what comes.
    pub live_title: String,
    pub columns: Vec<Column>,
    /// Unix ms.
    pub from: u64,
    pub until: u64,
    /// Where newer columns come from.
    pub source: String,
    /// Whether the script begins by itself.
    pub starts: bool,
}

impl Heatmap {
    /// Draws it.
    pub fn draw(&self, visit: &Visit) -> AnyView {
        let height = ROW_HEIGHT * ROWS as u32;
        let marks = [ROWS - 1, 14, 9, 4].map(bound);
        let label = self.title.clone();
        let [start, pause, over] = ["live-start", "live-pause", "live-over"].map(|key| visit.t(key));
        view! {
            <div class="graph" data-live=self.source.clone() data-live-begins=self.starts.then_some("yes")
                data-live-start=start data-live-pause=pause data-live-title=self.live_title.clone()
                data-live-over=over>
                <figure class="chart heat">
                    <figcaption>{self.title.clone()}</figcaption>
                    <div class="plane">
                        <ul class="marks" aria-hidden="true">
                            {marks.map(|mark| view! { <li>{mark}</li> }).to_vec()}
                            <li>"0"</li>
                        </ul>
                        <svg viewBox=format!("0 0 {WIDTH} {height}") role="img" aria-label=label preserveAspectRatio="none"
                            inner_html=self.cells()></svg>
                    </div>
                    <p class="span">{moment(self.from)}" "{moment(self.until)}</p>
                </figure>
                <details>
                    <summary aria-label=format!("{}: {}", self.title, visit.t("graph-table"))>{visit.t("graph-table")}</summary>
                    {self.table(visit)}
                </details>
            </div>
        }
        .into_any()
    }

    fn cells(&self) -> String {
        let length = self.until.saturating_sub(self.from).max(1) as f64;
        let mut cells = String::new();
        for column in &self.columns {
            let x = column.began_at.saturating_sub(self.from) as f64 / length * WIDTH;
            let width = column.length_ms as f64 / length * WIDTH;
            for (row, shade) in shades(&column.counts) {
                let y = ROW_HEIGHT * (ROWS - 1 - row) as u32;
                let _ = write!(
                    cells,
                    "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{ROW_HEIGHT}\" class=\"heat-{shade}\"></rect>"
                );
            }
        }
        cells
    }

    fn table(&self, visit: &Visit) -> AnyView {
        let mut heads = vec![visit.t("decision-at")];
        heads.extend((0..ROWS).map(bound));
        let mut rows = String::new();
        for column in self.columns.iter().rev() {
            let _ = write!(rows, "<tr><th scope=\"row\">{}</th>", moment_html(column.began_at));
            for count in column.counts {
                let _ = write!(rows, "<td class=\"number\">{count}</td>");
            }
            rows += "</tr>";
        }
        number_table(self.title.clone(), heads, rows)
    }
}

/// The buckets that hold something, each with its shade from 1 on.
fn shades(counts: &Counts) -> impl Iterator<Item = (usize, u64)> {
    let all: u64 = counts.iter().sum();
    counts.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(row, count)| {
        let shade = (u128::from(*count) * u128::from(SHADES)).div_ceil(u128::from(all));
        (row, shade as u64)
    })
}

/// How a bucket is called: up to how long, or longer than the last bound.
fn bound(row: usize) -> String {
    match BOUNDS_US.get(row) {
        Some(us) => format!("≤ {}", duration(*us)),
        None => format!("> {}", duration(BOUNDS_US[ROWS - 2])),
    }
}

fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_seen_and_more_is_darker() {
        let mut counts = [0; ROWS];
        (counts[0], counts[3], counts[19]) = (999_998, 1, 1);
        assert_eq!(shades(&counts).collect::<Vec<_>>(), [(0, 8), (3, 1), (19, 1)]);
        assert_eq!(shades(&[0; ROWS]).count(), 0);
        let labels: Vec<String> = [0, 6, 15, 19].map(bound).to_vec();
        assert_eq!(labels, ["≤ 10 µs", "≤ 1 ms", "≤ 1 s", "> 10 s"]);
    }

    #[test]
    fn moments_stand_where_they_belong() {
        let mut counts = [0; ROWS];
        counts[0] = 1;
        let column = Column { began_at: 1_000, length_ms: 500, counts };
        let map = Heatmap {
            title: "x".into(),
            live_title: "x".into(),
            columns: vec![column],
            from: 0,
            until: 2_000,
            source: String::new(),
            starts: false,
        };
        let cell = "<rect x=\"360.0\" y=\"190\" width=\"180.0\" height=\"10\" class=\"heat-8\"></rect>";
        assert_eq!(map.cells(), cell);
    }
}
