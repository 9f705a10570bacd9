//! One benchmark run: for each shape the relay and what it is measured against take turns, each time as fresh
//! processes on the same cores, and what came of it becomes one row.

mod allocations;
mod cell;
mod crowd;
pub mod machine;
mod pairs;
mod pin;
mod publish;
mod row;
mod server;
mod shape;
mod shares;
mod stage;
mod verdict;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use drill::server::Launch;
use tokio::runtime::Runtime;

pub use allocations::{Arguments as CountedArguments, serve as serve_counted};

use self::pairs::Settings;
use self::shape::{SHAPES, Shape};
use crate::report::{Row, compare};

/// What to measure and what becomes of it.
#[derive(clap::Args)]
pub struct Arguments {
    /// Shapes by name; `--list` names them.
    shapes: Vec<String>,
    /// Every shape.
    #[arg(long, conflicts_with = "shapes")]
    all: bool,
    /// Short: the few shapes CI looks at, or the named ones, with fewer and shorter turns.
    #[arg(long, conflicts_with = "all")]
    smoke: bool,
    /// Names the shapes and ends.
    #[arg(long)]
    list: bool,
    /// Turns of relay and floor.
    #[arg(long)]
    runs: Option<usize>,
    /// One JSON line per shape instead of the table.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// The table as Markdown.
    #[arg(long)]
    markdown: bool,
    /// Writes the HTML report here.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Writes the run as JSON here, latencies included; `bench report` makes it into a page later.
    #[arg(long)]
    save: Option<PathBuf>,
    /// What earlier commits measured.
    #[arg(long, default_value = "bench/history.jsonl")]
    history: PathBuf,
    /// Appends the figures to the history.
    #[arg(long, conflicts_with = "smoke")]
    record: bool,
    /// Fails when a figure is clearly worse than in this file, and is so again in a second, longer measurement.
    #[arg(long)]
    check: Option<PathBuf>,
    /// Connections of one load generator, beyond which several share the load of an idle shape; what the limit of
    /// descriptors allows when left out.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    connections_max: Option<u32>,
    /// Measures this program instead of the `messenger` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Measures against this floor instead of the shape's own.
    #[arg(long, conflicts_with_all = ["record", "check"])]
    floor: Option<crate::floor::Kind>,
}

/// Turns of a run that is meant to be quoted.
const RUNS: usize = 5;
/// Turns of a short run, and the part of the usual time each of them measures.
const SMOKE_RUNS: usize = 5;
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
    // What can fail at once fails before minutes of measuring.
    let records = arguments.check.as_deref().map(compare::read).transpose()?;
    let settings = settings(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    announce(&shapes, &settings);
    let rows = shapes.iter().map(|shape| measure(shape, &settings, &runtime)).collect::<Result<Vec<_>>>()?;
    let mut run = publish::described(arguments, rows);
    let verdicts = match &records {
        None => Vec::new(),
        Some(records) => {
            let again = |shape: &str, runs: usize| {
                let shape = shape::named(shape).context("a row is about a shape")?;
                measure(shape, &Settings { runs, ..settings.clone() }, &runtime)
            };
            verdict::reach(&mut run, records, settings.runs, again)?
        }
    };
    publish::publish(arguments, &run)?;
    for verdict in &verdicts {
        eprintln!("{verdict}");
    }
    ensure!(!verdicts.iter().any(compare::Verdict::fails), "clearly worse than recorded");
    Ok(())
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Shape>> {
    if arguments.all {
        let (fit, large): (Vec<_>, Vec<&Shape>) =
            SHAPES.iter().partition(|shape| shape.cores() <= pin::allowed().max(2));
        for shape in large {
            eprintln!("{}: left out, it takes {} cores", shape.name, shape.cores());
        }
        return Ok(fit);
    }
    if arguments.shapes.is_empty() && arguments.smoke {
        return Ok(SHAPES.iter().filter(|shape| shape.smoke).collect());
    }
    if arguments.shapes.is_empty() {
        bail!("name shapes, or --all, or --smoke; --list names them");
    }
    let named = |name: &String| {
        let shape =
            shape::named(name).with_context(|| format!("there is no shape `{name}`; --list names them"))?;
        let (needs, has) = (shape.cores(), pin::allowed().max(2));
        ensure!(
            needs <= has,
            "{name} takes {needs} cores, a shard or load generator on each; here are {has}"
        );
        Ok(shape)
    };
    arguments.shapes.iter().map(named).collect()
}

fn settings(arguments: &Arguments) -> Result<Settings> {
    let runs = arguments.runs.unwrap_or(if arguments.smoke { SMOKE_RUNS } else { RUNS });
    ensure!(runs > 0, "--runs 0 measures nothing");
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => Launch::program()?,
    };
    ensure!(program.is_file(), "there is no program {}", program.display());
    let brevity = if arguments.smoke { SMOKE_BREVITY } else { 1.0 };
    let connections_max =
        arguments.connections_max.map_or_else(shares::connections_max, |most| most as usize);
    Ok(Settings { runs, brevity, connections_max, program: Some(program), floor: arguments.floor })
}

fn announce(shapes: &[&Shape], settings: &Settings) {
    let short =
        if settings.brevity < 1.0 { "; a short run, in which only clear changes mean anything" } else { "" };
    eprintln!("{} shapes, {} turns each of relay and floor{short}", shapes.len(), settings.runs);
}

fn measure(shape: &Shape, settings: &Settings, runtime: &Runtime) -> Result<Row> {
    eprintln!("{}: {}", shape.name, shape.says);
    pairs::measure(shape, settings, runtime).with_context(|| format!("shape {}", shape.name))
}
