//! The table under a run: aligned for a terminal, and as Markdown for `RESULTS.md`.

use std::fmt::Write as _;

use super::history;
use super::row::{Row, Run, measured};
use super::words::{NONE, count, factor, number, rate};

type Cell = fn(&Row) -> String;

/// Heading, whether it is text (left), and the cell. A column without any number is left out of the terminal's table.
const COLUMNS: [(&str, bool, Cell); 18] = [
    ("shape", true, |row| row.shape.clone()),
    ("via", true, |row| row.transport.clone()),
    ("n", false, |row| count_or_none(row.n)),
    ("bytes", false, |row| count_or_none(row.payload)),
    ("floor", true, |row| text(&row.floor)),
    ("CPU us", false, |row| number(row.cpu_us_per_delivery)),
    ("floor's", false, |row| number(row.floor_cpu_us)),
    ("ratio", false, |row| factor(row.ratio)),
    ("per s", false, |row| rate(row.dps)),
    ("floor's", false, |row| rate(row.floor_dps)),
    ("p50 us", false, |row| number(row.p50_us)),
    ("p99 us", false, |row| number(row.p99_us)),
    ("p99.9 us", false, |row| number(row.p999_us)),
    ("max us", false, |row| number(row.max_us)),
    ("floor's p99", false, |row| number(row.floor_p99_us)),
    ("KiB/conn", false, |row| number(row.rss_kib_per_conn)),
    ("spread", false, spread),
    ("goal", true, goal),
];

/// The table for a terminal, with what to know about noise under it.
pub fn text_table(run: &Run) -> String {
    let columns: Vec<(&str, bool, Vec<String>)> = COLUMNS
        .iter()
        .map(|(heading, left, cell)| (*heading, *left, run.rows.iter().map(cell).collect()))
        .filter(|(_, _, cells): &(_, _, Vec<String>)| cells.iter().any(|cell| cell != NONE))
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .map(|(heading, _, cells)| {
            cells.iter().map(|cell| cell.chars().count()).chain([heading.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut table = String::new();
    let heading = columns.iter().map(|(heading, left, _)| (*heading, *left));
    line(&mut table, heading, &widths);
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>();
    line(&mut table, rule.iter().map(|dashes| (dashes.as_str(), true)), &widths);
    for at in 0..run.rows.len() {
        line(&mut table, columns.iter().map(|(_, left, cells)| (cells[at].as_str(), *left)), &widths);
    }
    table.push('\n');
    table.push_str(&verdict(run));
    table
}

fn line<'a>(table: &mut String, cells: impl Iterator<Item = (&'a str, bool)>, widths: &[usize]) {
    let cells: Vec<String> = cells
        .zip(widths)
        .map(|((cell, left), width)| match left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        })
        .collect();
    let _ = writeln!(table, "{}", cells.join("  ").trim_end());
}

/// How many goals are met, and which rows to distrust.
pub fn verdict(run: &Run) -> String {
    let judged = run.rows.iter().filter(|row| row.met.is_some()).count();
    let met = run.rows.iter().filter(|row| row.met == Some(true)).count();
    let noisy: Vec<&str> = run.rows.iter().filter(|row| row.noisy).map(|row| row.shape.as_str()).collect();
    let noise = match noisy.as_slice() {
        [] => "no row was too noisy".into(),
        noisy => format!("the machine was too noisy for {}", noisy.join(", ")),
    };
    format!(
        "{met} of {judged} goals met; {noise}.\n\
         Medians; spread is the relay's largest CPU over its smallest. Only ratios within one run compare: \
         differences under 25 % of one cell are noise.\n"
    )
}

/// What became of each shape's ratio since the last recorded run that has the shape; nothing where there is none.
pub fn changes(run: &Run, history: &[Run]) -> String {
    let last = history::last(history);
    let change = |row: &Row| {
        let before = measured(last.get(row.shape.as_str())?.ratio)?;
        Some(format!("  {}: {} -> {}\n", row.shape, factor(before), factor(row.ratio)))
    };
    let changes: String = run.rows.iter().filter_map(change).collect();
    if changes.is_empty() { changes } else { format!("Ratios since the last recorded run:\n{changes}") }
}

/// The rows as a Markdown table for `RESULTS.md`.
pub fn markdown(run: &Run) -> String {
    let mut table = String::new();
    let headings: Vec<&str> = COLUMNS.iter().map(|(heading, _, _)| *heading).collect();
    let rules: Vec<&str> = COLUMNS.iter().map(|(_, left, _)| if *left { "---" } else { "---:" }).collect();
    let _ = writeln!(table, "| {} |\n|{}|", headings.join(" | "), rules.join("|"));
    for row in &run.rows {
        let cells: Vec<String> = COLUMNS.iter().map(|(_, _, cell)| cell(row).replace('|', "\\|")).collect();
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    table
}

fn text(text: &str) -> String {
    if text.is_empty() { NONE.into() } else { text.into() }
}

fn count_or_none(value: u64) -> String {
    if value == 0 { NONE.into() } else { count(value) }
}

fn spread(row: &Row) -> String {
    let mark = if row.noisy { " noisy" } else { "" };
    format!("{}{mark}", factor(row.spread))
}

fn goal(row: &Row) -> String {
    match row.met {
        Some(true) => format!("met: {}", row.goal),
        Some(false) => format!("MISSED: {}", row.goal),
        None => text(&row.goal),
    }
}
