//! Latency by percentile, as HDR plots have it: every further nine as wide as the last, so that the tail shows.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::panel::{Panel, circumstances};
use super::svg::{Scale, Svg};
use crate::report::row::Row;
use crate::report::words::duration;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = HEIGHT - 26.0;
/// The last nine that is drawn; the maximum stands behind it.
const NINES: f64 = 4.0;
const MAX_AT: f64 = 4.9;
/// The first percentile that is drawn, in nines: the median.
const MEDIAN: f64 = 0.301;
/// Labels of the percentiles and how many there are before them, as a part.
const PERCENTILES: [(&str, f64); 5] =
    [("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("99.99 %", 0.9999)];

/// The panel of a row; `None` where it brought no histogram.
///
/// # Errors
/// A histogram can't be read.
pub fn panel(row: &Row) -> Result<Option<String>> {
    if row.hdr.is_empty() {
        return Ok(None);
    }
    let relay = decode(&row.hdr).with_context(|| format!("the histogram of {}", row.shape))?;
    let floor = match row.floor_hdr.as_str() {
        "" => None,
        text => Some(decode(text).with_context(|| format!("the floor's histogram of {}", row.shape))?),
    };
    if relay.is_empty() {
        return Ok(None);
    }
    let caption = format!(
        "{}. p50 {}, p99 {}{}",
        circumstances(row),
        at(&relay, 0.5),
        at(&relay, 0.99),
        floor.as_ref().map_or(String::new(), |floor| format!(
            "; floor {}, {}",
            at(floor, 0.5),
            at(floor, 0.99)
        ))
    );
    let label = format!("Latency of {} by percentile", row.shape);
    let panel = Panel {
        heading: &row.shape,
        caption: &caption,
        drawing: &draw(&relay, floor.as_ref(), &label),
        headings: &["percentile", "relay", "floor"],
        rows: table(&relay, floor.as_ref()),
    };
    Ok(Some(panel.html()))
}

fn decode(text: &str) -> Result<Histogram<u64>> {
    let bytes = STANDARD.decode(text).context("is no base64")?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| anyhow::anyhow!("{error:?}"))
}

fn at(histogram: &Histogram<u64>, part: f64) -> String {
    duration(micros(histogram.value_at_quantile(part)))
}

fn micros(nanos: u64) -> f64 {
    nanos.max(1) as f64 / 1e3
}

fn table(relay: &Histogram<u64>, floor: Option<&Histogram<u64>>) -> Vec<Vec<String>> {
    let row = |name: &str, part: f64| {
        vec![name.to_owned(), at(relay, part), floor.map_or(String::new(), |floor| at(floor, part))]
    };
    let count = |histogram: &Histogram<u64>| crate::report::words::count(histogram.len());
    let mut rows: Vec<Vec<String>> = PERCENTILES.iter().map(|(name, part)| row(name, *part)).collect();
    rows.push(row("max", 1.0));
    rows.push(vec!["deliveries".into(), count(relay), floor.map_or(String::new(), count)]);
    rows
}

/// Places (in nines) and microseconds of a curve, as far as its count carries.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let carried = (histogram.len() as f64).log10().min(NINES);
    let steps = ((carried - MEDIAN).max(0.0) / 0.05) as usize;
    let mut points: Vec<(f64, f64)> = (0..=steps)
        .map(|step| MEDIAN + step as f64 * 0.05)
        .map(|nines| (nines, micros(histogram.value_at_quantile(1.0 - 10f64.powf(-nines)))))
        .collect();
    points.push((MAX_AT, micros(histogram.max())));
    points
}

fn draw(relay: &Histogram<u64>, floor: Option<&Histogram<u64>>, label: &str) -> String {
    let curves: Vec<(&str, Vec<(f64, f64)>)> = floor
        .filter(|floor| !floor.is_empty())
        .map(|floor| ("curve floor", curve(floor)))
        .into_iter()
        .chain([("curve relay", curve(relay))])
        .collect();
    let all = || curves.iter().flat_map(|(_, points)| points.iter().map(|(_, us)| *us));
    let domain = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let x = Scale::linear((MEDIAN, MAX_AT), (LEFT, RIGHT));
    let y = Scale::log(domain, (BOTTOM, TOP));
    let mut svg = Svg::new(WIDTH, HEIGHT);
    axes(&mut svg, x, y);
    for (class, points) in &curves {
        let points: Vec<(f64, f64)> = points.iter().map(|(nines, us)| (x.at(*nines), y.at(*us))).collect();
        svg.path(&points, class);
        if let Some(end) = points.last() {
            svg.dot(*end, &class.replace("curve", "dot"), "max");
        }
    }
    svg.finish(label)
}

fn axes(svg: &mut Svg, x: Scale, y: Scale) {
    for tick in y.ticks(7) {
        let place = y.at(tick);
        svg.line((LEFT, place), (RIGHT, place), "grid");
        svg.text((LEFT - 7.0, place + 4.0), "tick end", &duration(tick));
    }
    let nines = |part: f64| -(1.0 - part).log10();
    let places = PERCENTILES.iter().map(|(name, part)| (*name, nines(*part))).chain([("max", MAX_AT)]);
    for (name, place) in places {
        let place = x.at(place);
        svg.line((place, TOP), (place, BOTTOM), "grid");
        svg.text((place, BOTTOM + 17.0), "tick mid", name);
    }
    svg.line((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis");
}
