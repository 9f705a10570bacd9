//! Bars: relay over floor, one pair for each shape. CPU is drawn relative to the floor, because shapes differ by a
//! factor of a hundred; memory and rates are drawn as they are.

use super::panel::{Panel, circumstances};
use super::svg::{Scale, Svg, width_of};
use crate::report::row::{Figure, Row, measured};
use crate::report::words::{factor, number, rate};

const WIDTH: f64 = 370.0;
/// Room for what stands at the end of a bar.
const LABEL: f64 = 112.0;
/// How much wider bold type runs.
const BOLD: f64 = 1.15;
const PAIR: f64 = 54.0;

/// One shape: how long its bars are, and what stands at their ends.
struct Pair<'a> {
    row: &'a Row,
    relay: f64,
    relay_label: String,
    floor: Option<(f64, String)>,
    goal: Option<(f64, String)>,
}

/// CPU per delivery, the floor being 1.
pub fn cpu(rows: &[&Row]) -> Option<String> {
    let pairs: Vec<Pair<'_>> = rows
        .iter()
        .filter_map(|row| {
            let relay = Figure::CpuRatio.of(row)?;
            let floor = format!("{} µs {}", number(row.floor_cpu_us), row.floor);
            let goal = limit(row, &[Figure::CpuRatio, Figure::Ratio]);
            Some(Pair {
                row,
                relay,
                relay_label: format!("{} µs, {}", number(row.cpu_us_per_delivery), factor(relay)),
                floor: Some((1.0, floor)),
                goal: goal.map(|limit| (limit, factor(limit))),
            })
        })
        .collect();
    let ceiling = ceiling(&pairs).max(1.25);
    let table = |pair: &Pair<'_>| {
        let row = pair.row;
        let goal = pair.goal.as_ref().map_or(String::new(), |(_, label)| label.clone());
        vec![
            row.shape.clone(),
            number(row.cpu_us_per_delivery),
            number(row.floor_cpu_us),
            factor(pair.relay),
            goal,
        ]
    };
    (!pairs.is_empty()).then(|| {
        Panel {
            heading: "CPU per delivery, floor = 1",
            caption: "User and system time of the server; shorter is better.",
            drawing: &draw(&pairs, ceiling, "CPU per delivery over the floor's, by shape", factor),
            headings: &["shape", "relay µs", "floor µs", "ratio", "goal"],
            rows: pairs.iter().map(table).collect(),
        }
        .html()
    })
}

/// Memory of a connection.
pub fn memory(rows: &[&Row]) -> Option<String> {
    plain(
        rows,
        ("Memory per connection", "Resident KiB of the server over its connections; shorter is better."),
        Figure::RssKib,
        |row| row.floor_rss_kib_per_conn,
        |value| format!("{} KiB", number(value)),
    )
}

/// How many a second.
pub fn per_second(rows: &[&Row], heading: &str, caption: &str) -> Option<String> {
    plain(rows, (heading, caption), Figure::Dps, |row| row.floor_dps, |value| format!("{}/s", rate(value)))
}

fn plain(
    rows: &[&Row],
    (heading, caption): (&str, &str),
    figure: Figure,
    floor: fn(&Row) -> f64,
    label: fn(f64) -> String,
) -> Option<String> {
    let pairs: Vec<Pair<'_>> = rows
        .iter()
        .filter_map(|row| {
            let relay = figure.of(row)?;
            let floor = measured(floor(row)).map(|value| (value, format!("{} {}", label(value), row.floor)));
            let relative = limit(row, &[Figure::DpsRatio]).filter(|_| figure == Figure::Dps);
            let goal =
                limit(row, &[figure]).or(relative.zip(measured(row.floor_dps)).map(|(part, of)| part * of));
            let goal = goal.map(|limit| (limit, label(limit)));
            Some(Pair { row, relay, relay_label: label(relay), floor, goal })
        })
        .collect();
    let ceiling = ceiling(&pairs);
    let table = |pair: &Pair<'_>| {
        let text = |end: &Option<(f64, String)>| end.as_ref().map_or(String::new(), |end| end.1.clone());
        vec![pair.row.shape.clone(), pair.relay_label.clone(), text(&pair.floor), text(&pair.goal)]
    };
    (!pairs.is_empty()).then(|| {
        Panel {
            heading,
            caption,
            drawing: &draw(&pairs, ceiling, heading, label),
            headings: &["shape", "relay", "floor", "goal"],
            rows: pairs.iter().map(table).collect(),
        }
        .html()
    })
}

/// The longest of all bars and goals.
fn ceiling(pairs: &[Pair<'_>]) -> f64 {
    let ends = |pair: &Pair<'_>| {
        [Some(pair.relay), pair.floor.as_ref().map(|floor| floor.0), pair.goal.as_ref().map(|goal| goal.0)]
    };
    pairs.iter().flat_map(ends).flatten().fold(0.0, f64::max)
}

/// The number a row's goal sets, if it is about one of these figures.
fn limit(row: &Row, figures: &[Figure]) -> Option<f64> {
    let figure = row.goal_figure?;
    measured(row.goal_limit).filter(|_| figures.contains(&figure))
}

fn draw(pairs: &[Pair<'_>], ceiling: f64, label: &str, tick_label: fn(f64) -> String) -> String {
    let bottom = pairs.len() as f64 * PAIR + 4.0;
    let mut svg = Svg::new(WIDTH, bottom + 20.0);
    let scale = Scale::linear((0.0, ceiling), (1.0, WIDTH - LABEL));
    for tick in scale.ticks(4) {
        let x = scale.at(tick);
        svg.line((x, 0.0), (x, bottom), if tick == 0.0 { "axis" } else { "grid" });
        let (class, text) = if tick == 0.0 { ("tick", "0".into()) } else { ("tick mid", tick_label(tick)) };
        svg.text((x, bottom + 14.0), class, &text);
    }
    for (index, pair) in pairs.iter().enumerate() {
        draw_pair(&mut svg, pair, index as f64 * PAIR, scale);
    }
    svg.finish(label)
}

fn draw_pair(svg: &mut Svg, pair: &Pair<'_>, top: f64, scale: Scale) {
    let start = scale.at(0.0);
    let (name, more) = (&pair.row.shape, circumstances(pair.row));
    svg.rect((start + 1.0, top + 2.0), (WIDTH, 16.0), "behind");
    svg.text((start + 3.0, top + 14.0), "name", name);
    let name_end = start + 3.0 + width_of(name, 13.0 * BOLD) + 8.0;
    let goal = pair.goal.as_ref().map_or(String::new(), |(_, label)| format!("goal {label}"));
    if name_end + width_of(&more, 11.0) + width_of(&goal, 11.0) + 10.0 < WIDTH {
        svg.text((name_end, top + 14.0), "tick", &more);
    }
    svg.text((WIDTH - 1.0, top + 14.0), "tick end", &goal);
    let goal = pair.goal.as_ref().map(|(limit, _)| scale.at(*limit));
    bar(svg, (top + 20.0, 14.0), (start, scale.at(pair.relay)), "relay", (&pair.relay_label, goal));
    if let Some((value, label)) = &pair.floor {
        bar(svg, (top + 36.0, 10.0), (start, scale.at(*value)), "floor", (label, goal));
    }
    if let Some(x) = goal {
        svg.line((x, top + 18.0), (x, top + 48.0), "goal");
    }
}

/// A bar and what stands at its end, beyond the goal where that would run through it.
fn bar(
    svg: &mut Svg,
    (top, height): (f64, f64),
    (start, end): (f64, f64),
    class: &str,
    (label, goal): (&str, Option<f64>),
) {
    svg.rect((start, top), ((end - start).max(1.0), height), &format!("bar {class}"));
    let covered = end..end + width_of(label, 12.0 * BOLD) + 8.0;
    let from = goal.filter(|goal| covered.contains(goal)).unwrap_or(end);
    let baseline = top + height / 2.0 + 4.0;
    svg.text((from + 5.0, baseline), if class == "relay" { "value" } else { "tick" }, label);
}
