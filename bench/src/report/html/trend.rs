//! History: each shape's figure over the commits, with its goal, so that a slow decline shows before the check fails.

use super::panel::Panel;
use super::svg::{Scale, Svg, width_of};
use crate::report::row::{Better, Figure, Row, Run, measured};
use crate::report::words::{factor, number, rate};

const WIDTH: f64 = 290.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 22.0;
/// Commits that one panel shows.
const MOST: usize = 40;

struct Point<'a> {
    run: &'a Run,
    row: &'a Row,
    value: f64,
}

/// One panel for each shape of the run, over the history and the run itself.
pub fn panels(run: &Run, history: &[Run]) -> Vec<String> {
    let earlier = history.iter().filter(|old| (&old.commit, &old.date) != (&run.commit, &run.date));
    let runs: Vec<&Run> = earlier.chain([run]).collect();
    run.rows.iter().filter_map(|row| panel(row, &runs)).collect()
}

fn panel(row: &Row, runs: &[&Run]) -> Option<String> {
    let figure = row.goal_figure.unwrap_or(Figure::Ratio);
    let of = |run: &&'_ Run| run.rows.iter().position(|old| old.shape == row.shape);
    let mut points: Vec<Point<'_>> = runs
        .iter()
        .filter_map(|run| {
            let row = &run.rows[of(run)?];
            Some(Point { run, row, value: figure.of(row)? })
        })
        .collect();
    points.drain(..points.len().saturating_sub(MOST));
    let last = points.last()?;
    let goal = measured(row.goal_limit).filter(|_| row.goal_figure.is_some());
    let better = if row.better() == Better::Lower { "lower" } else { "higher" };
    let caption = format!("{}, {better} is better: {}", figure.name(), show(figure, last.value));
    let cells = |point: &Point<'_>| {
        let noisy = if point.row.noisy { "noisy" } else { "" };
        vec![commit(point.run), point.run.date.clone(), show(figure, point.value), noisy.to_owned()]
    };
    Some(
        Panel {
            heading: &row.shape,
            caption: &caption,
            drawing: &draw(&points, goal, figure, row.better(), &format!("{} over the commits", row.shape)),
            headings: &["commit", "date", "figure", ""],
            rows: points.iter().rev().map(cells).collect(),
        }
        .html(),
    )
}

fn draw(points: &[Point<'_>], goal: Option<f64>, figure: Figure, better: Better, label: &str) -> String {
    let (x, y) = scales(points, goal);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    if let Some(goal) = goal {
        let far = if better == Better::Lower { TOP } else { BOTTOM };
        let (top, height) = (y.at(goal).min(far), (y.at(goal) - far).abs());
        svg.rect((LEFT, top), (RIGHT - LEFT, height), "missed");
    }
    for tick in y.ticks(4) {
        svg.line((LEFT, y.at(tick)), (RIGHT, y.at(tick)), "grid");
        svg.text((LEFT - 7.0, y.at(tick) + 4.0), "tick end", &show(figure, tick));
    }
    svg.line((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis");
    if let Some(goal) = goal {
        svg.line((LEFT, y.at(goal)), (RIGHT, y.at(goal)), "goal");
    }
    let places: Vec<(f64, f64)> =
        points.iter().enumerate().map(|(index, point)| (x.at(index as f64), y.at(point.value))).collect();
    svg.path(&places, "curve relay");
    for (point, place) in points.iter().zip(&places) {
        let doubtful = point.row.noisy || point.run.dirty;
        let class = if doubtful { "dot hollow" } else { "dot relay" };
        svg.dot(*place, class, &format!("{}: {}", commit(point.run), show(figure, point.value)));
    }
    commits(&mut svg, points);
    svg.finish(label)
}

/// The range holds every point and the goal, and at least a quarter of the goal, so that noise looks like noise.
fn scales(points: &[Point<'_>], goal: Option<f64>) -> (Scale, Scale) {
    let values = || points.iter().map(|point| point.value).chain(goal);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let (middle, span) = ((low + high) / 2.0, ((high - low) * 1.3).max(high * 0.25));
    let y = Scale::linear(((middle - span / 2.0).max(0.0), middle + span / 2.0), (BOTTOM, TOP));
    let inner = (LEFT + 8.0, RIGHT - 8.0);
    let last = points.len().saturating_sub(1) as f64;
    let x = match last {
        0.0 => Scale::linear((-1.0, 1.0), inner),
        last => Scale::linear((0.0, last), inner),
    };
    (x, y)
}

/// First and last commit under the axis.
fn commits(svg: &mut Svg, points: &[Point<'_>]) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let (first, last) = (commit(first.run), commit(last.run));
    svg.text((RIGHT, BOTTOM + 15.0), "tick end", &last);
    if points.len() > 1 && width_of(&first, 11.0) + width_of(&last, 11.0) < RIGHT - LEFT {
        svg.text((LEFT, BOTTOM + 15.0), "tick", &first);
    }
}

fn commit(run: &Run) -> String {
    let short: String = run.commit.chars().take(8).collect();
    if run.dirty { short + "+" } else { short }
}

/// A figure with its unit.
pub fn show(figure: Figure, value: f64) -> String {
    match figure {
        Figure::Ratio | Figure::CpuRatio | Figure::DpsRatio | Figure::P50Ratio | Figure::P99Ratio => {
            factor(value)
        }
        Figure::CpuUs | Figure::P99Us => format!("{} µs", number(value)),
        Figure::Dps => format!("{}/s", rate(value)),
        Figure::RssKib => format!("{} KiB", number(value)),
    }
}
