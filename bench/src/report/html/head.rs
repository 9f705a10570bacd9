//! The first screen: how many goals are met, what was measured where, and a card for each goal.

use std::fmt::Write as _;

use super::panel::circumstances;
use super::svg::escape;
use super::trend::show;
use crate::report::row::{Figure, Row, Run};

/// The verdict and the circumstances of the run.
pub fn header(run: &Run) -> String {
    let judged: Vec<&Row> = run.rows.iter().filter(|row| row.met.is_some()).collect();
    let missed: Vec<&str> =
        judged.iter().filter(|row| row.met == Some(false)).map(|row| row.shape.as_str()).collect();
    let met = judged.len() - missed.len();
    let verdict = match (judged.len(), missed.as_slice()) {
        (0, _) => "No goal was judged".to_owned(),
        (all, []) => format!("All {all} goals met"),
        (all, _) => format!("{met} of {all} goals met"),
    };
    let missed = match missed.as_slice() {
        [] => String::new(),
        missed => format!("<p class=\"missing\">Missed: {}</p>", escape(&missed.join(", "))),
    };
    let noisy: Vec<&str> = run.rows.iter().filter(|row| row.noisy).map(|row| row.shape.as_str()).collect();
    let noise = match noisy.as_slice() {
        [] => String::new(),
        noisy => format!(
            "<p class=\"noise\"><strong>Noisy machine.</strong> Do not trust: {}</p>",
            escape(&noisy.join(", "))
        ),
    };
    format!(
        "<header><p class=\"what\">Relay benchmarks</p><h1>{}</h1>{missed}{noise}{}</header>\n",
        escape(&verdict),
        circumstances_of(run)
    )
}

fn circumstances_of(run: &Run) -> String {
    let mut commit: String = run.commit.chars().take(12).collect();
    if run.dirty {
        commit += " and uncommitted changes";
    }
    let facts = [
        ("Commit", &commit, true),
        ("Date", &run.date, false),
        ("Machine", &run.machine, false),
        ("Kernel", &run.kernel, false),
        ("Build", &run.profile, false),
        ("Command", &run.command, true),
    ];
    let mut list = String::from("<dl>");
    for (name, value, code) in facts.iter().filter(|(_, value, _)| !value.is_empty()) {
        let value = if *code { format!("<code>{}</code>", escape(value)) } else { escape(value) };
        let _ = write!(list, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    list + "</dl>"
}

/// A card for each row with a goal.
pub fn cards(run: &Run) -> String {
    let cards: String = run.rows.iter().filter(|row| !row.goal.is_empty()).map(card).collect();
    if cards.is_empty() {
        return String::new();
    }
    format!("<section><h2>Goals</h2><ul class=\"cards\">{cards}</ul></section>\n")
}

fn card(row: &Row) -> String {
    let (class, mark, word) = match row.met {
        Some(true) => ("met", "✓", "met"),
        Some(false) => ("bad", "✕", "missed"),
        None => ("open", "–", "not judged"),
    };
    let (noise, noisy) = if row.noisy { (" noisy", ", but noisy") } else { ("", "") };
    format!(
        "<li class=\"{class}{noise}\"><p class=\"badge\"><span aria-hidden=\"true\">{mark}</span> {word}{noisy}</p>\
         <h3>{}</h3><p class=\"reached\">{}</p><p class=\"aim\">{}</p><p class=\"more\">{}</p></li>",
        escape(&row.shape),
        escape(&reached(row)),
        escape(&row.goal),
        more(row)
    )
}

fn reached(row: &Row) -> String {
    let figure = row.goal_figure.unwrap_or(Figure::Ratio);
    figure.of(row).map_or_else(|| "n/a".into(), |value| show(figure, value))
}

/// What else is known of the row, for goals about more than one number.
fn more(row: &Row) -> String {
    let others = [
        ("rate", Figure::DpsRatio),
        ("CPU", Figure::CpuRatio),
        ("p50", Figure::P50Ratio),
        ("p99", Figure::P99Ratio),
    ];
    let ratios = others
        .iter()
        .filter(|(_, figure)| Some(*figure) != row.goal_figure)
        // A rate that was set says nothing.
        .filter(|(name, _)| *name != "rate" || row.goal_figure == Some(Figure::Dps))
        .filter_map(|(name, figure)| Some(format!("{name} {}", show(*figure, figure.of(row)?))))
        .collect::<Vec<_>>();
    let floor =
        if ratios.is_empty() { String::new() } else { format!("Over the floor: {}", ratios.join(", ")) };
    format!("{}<br/>{}", escape(&circumstances(row)), escape(&floor))
}
