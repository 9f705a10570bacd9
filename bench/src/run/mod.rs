//! One benchmark run: for each shape the relay and what it is measured against take turns, each time as fresh
//! processes on the same cores, and what came of it becomes one row.

mod allocations;
mod cell;
mod crowd;
mod machine;
mod pairs;
mod pin;
mod row;
mod server;
mod shape;
mod stage;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

pub use allocations::{Arguments as CountedArguments, serve as serve_counted};

use self::shape::{SHAPES, Shape};
use crate::report::{Row, Run, compare, history, html, json, table};

/// What to measure and what becomes of it.
#[derive(clap::Args)]
pub struct Arguments {
    /// Shapes by name; `--list` names them.
    shapes: Vec<String>,
    /// Every shape.
    #[arg(long)]
    all: bool,
    /// The few shapes CI looks at, shorter, against what was recorded.
    #[arg(long)]
    smoke: bool,
    /// Names the shapes and ends.
    #[arg(long)]
    list: bool,
    /// Turns of relay and floor.
    #[arg(long)]
    runs: Option<usize>,
    /// One JSON line per shape instead of the table.
    #[arg(long)]
    json: bool,
    /// Writes the HTML report here.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Appends the figures to this history, which the HTML report draws.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Fails when a ratio is clearly worse than in this file.
    #[arg(long)]
    check: Option<PathBuf>,
    /// Measures this program instead of the `messenger` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Turns of a run that is meant to be quoted.
const RUNS: usize = 5;
/// Turns of the smoke run, and the part of the usual time it measures.
const SMOKE_RUNS: usize = 3;
const SMOKE_BREVITY: f64 = 0.5;

/// Measures, prints, and judges when asked to.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for shape in SHAPES {
            println!("{:<20} {}", shape.name, shape.says);
        }
        return Ok(());
    }
    let shapes = chosen(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for shape in shapes {
        eprintln!("{}: {}", shape.name, shape.says);
        let settings = pairs::Settings {
            runs: arguments.runs.unwrap_or(if arguments.smoke { SMOKE_RUNS } else { RUNS }),
            brevity: if arguments.smoke { SMOKE_BREVITY } else { 1.0 },
            program: arguments.program.clone(),
        };
        ensure!(settings.runs > 0, "--runs 0 measures nothing");
        rows.push(
            pairs::measure(shape, &settings, &runtime).with_context(|| format!("shape {}", shape.name))?,
        );
    }
    publish(arguments, described(rows))
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Shape>> {
    if arguments.all {
        return Ok(SHAPES.iter().collect());
    }
    if arguments.smoke {
        return Ok(SHAPES.iter().filter(|shape| shape.smoke).collect());
    }
    if arguments.shapes.is_empty() {
        bail!("name shapes, or --all; --list names them");
    }
    let named = |name: &String| {
        shape::named(name).with_context(|| format!("there is no shape `{name}`; --list names them"))
    };
    arguments.shapes.iter().map(named).collect()
}

fn described(rows: Vec<Row>) -> Run {
    let (commit, dirty) = machine::commit();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Run {
        commit,
        dirty,
        date: date(seconds),
        machine: format!(
            "{}; server {}, load {}",
            machine::processor(),
            pin::Pin::server(1).describe(),
            pin::Pin::client().describe()
        ),
        kernel: machine::kernel(),
        command: format!("cargo x bench {}", std::env::args().skip(2).collect::<Vec<_>>().join(" ")),
        profile: if cfg!(debug_assertions) { "dev".into() } else { "release".into() },
        rows,
        ..Run::default()
    }
}

/// The day of a unix time (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(unix_s: u64) -> String {
    let days = (unix_s / 86_400) as i64 + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn publish(arguments: &Arguments, run: Run) -> Result<()> {
    if arguments.json {
        print!("{}", json::lines(&run, false));
    } else {
        println!("{}", table::text_table(&run));
    }
    if let Some(path) = &arguments.history {
        history::append(path, &run)?;
    }
    if let Some(path) = &arguments.html {
        let past = arguments.history.as_deref().map_or(Ok(Vec::new()), history::read)?;
        std::fs::write(path, html::page(&run, &past)?).with_context(|| path.display().to_string())?;
        eprintln!("report: {}", path.display());
    }
    let Some(path) = &arguments.check else { return Ok(()) };
    let verdicts = compare::check(&run, &compare::read(path)?);
    for verdict in &verdicts {
        println!("{verdict}");
    }
    ensure!(!verdicts.iter().any(compare::Verdict::fails), "clearly worse than recorded");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_are_those_of_the_calendar() {
        for (unix_s, day) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_564_800, "2026-11-25")] {
            assert_eq!(super::date(unix_s), day);
        }
    }
}
