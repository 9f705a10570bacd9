//! The run as one page to look at: no script, nothing from the network, light and dark, wide and narrow, and on paper.

mod bars;
mod head;
mod latency;
mod panel;
mod svg;
mod trend;

use anyhow::Result;

use self::panel::{Kind, section};
use super::row::{Figure, Row, Run};

/// The whole page. `history` is what earlier commits measured, oldest first.
///
/// # Errors
/// A histogram can't be read.
pub fn page(run: &Run, history: &[Run]) -> Result<String> {
    let body = [
        head::header(run),
        "<main>".into(),
        head::cards(run),
        cost(run),
        latency(run)?,
        section(
            "Over the commits",
            "Each shape's figure by commit, oldest on the left. The shaded side of the goal misses it; \
             hollow dots are noisy or of a changed working tree.",
            &Kind::Trends,
            &trend::panels(run, history),
        ),
        "</main>".into(),
        FOOTER.into(),
    ]
    .concat();
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta name=\"color-scheme\" content=\"light dark\"/><title>Relay benchmarks, {}</title>\
         <style>{}</style></head><body>\n{body}</body></html>\n",
        svg::escape(&run.commit.chars().take(8).collect::<String>()),
        include_str!("style.css")
    ))
}

const FOOTER: &str = "<footer><p>Medians over the runs of each shape; relay and floor alternate within one run. \
    Only ratios within one run compare: differences under 25 % of one cell are noise. \
    CPU is user and system time of the server; on loopback it includes the receivers' side of the network, \
    for the floor too.</p></footer>\n";

fn cost(run: &Run) -> String {
    let of = |about: About| -> Vec<&Row> { run.rows.iter().filter(|row| About::of(row) == about).collect() };
    let delivering = of(About::Deliveries);
    let flat_out = |row: &&&Row| matches!(row.goal_figure, Some(Figure::Dps | Figure::DpsRatio));
    let saturated: Vec<&Row> = delivering.iter().filter(flat_out).copied().collect();
    let panels: Vec<String> = [
        bars::cpu(&delivering),
        bars::per_second(&saturated, "Deliveries per second", "Saturated, on one core; longer is better."),
        bars::memory(&of(About::Idle)),
        bars::per_second(
            &of(About::Connects),
            "Connects per second",
            "Full handshake and Hello, on one core; longer is better.",
        ),
        bars::per_second(&of(About::Store), "Acked publications per second", "Durable; longer is better."),
    ]
    .into_iter()
    .flatten()
    .collect();
    section("What it costs", "Relay and floor, measured alternately on the same core.", &Kind::Bars, &panels)
}

fn latency(run: &Run) -> Result<String> {
    let panels: Result<Vec<Option<String>>> = run.rows.iter().map(latency::panel).collect();
    Ok(section(
        "Latency",
        "From the intended time to the delivery, by percentile; both axes logarithmic, down is better.",
        &Kind::Curves,
        &panels?.into_iter().flatten().collect::<Vec<_>>(),
    ))
}

/// What the numbers of a row count, which decides the plot they belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Deliveries,
    Idle,
    Connects,
    Store,
}

impl About {
    fn of(row: &Row) -> Self {
        if row.transport == "store" || row.kind == "durable" {
            Self::Store
        } else if row.shape.contains("idle") {
            Self::Idle
        } else if row.shape.contains("connect") || row.shape.contains("storm") {
            Self::Connects
        } else {
            Self::Deliveries
        }
    }
}
