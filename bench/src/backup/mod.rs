//! Backups of PostgreSQL against pgBackRest: the same server, in turns; full backup, check, restore up to a server that
//! has recovered and takes connections.

mod bed;
mod cost;
mod fill;
mod table;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use bed::Bed;
use cost::{Cost, Load};
use drill::server::Launch;

/// How much, how often, and how it is shown.
#[derive(clap::Args)]
pub struct Arguments {
    /// MB of database, nearly all of it messages that nobody can compress.
    #[arg(long, default_value_t = 2_000)]
    megabytes: u64,
    /// Turns of each program; the middle one of each figure is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Everything as JSON, each turn included, instead of the table.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// The table as Markdown.
    #[arg(long)]
    markdown: bool,
    /// Measures this program instead of the `messenger` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// What one turn of one program cost.
#[derive(Clone, Copy, serde::Serialize)]
pub struct Turn {
    /// With what the server spent on it.
    full: Cost,
    verify: Cost,
    /// With the start of the restored server.
    restore: Cost,
}

/// All turns on one database.
#[derive(serde::Serialize)]
pub struct Comparison {
    database_bytes: u64,
    messages: u64,
    ours: Vec<Turn>,
    rival: Vec<Turn>,
    load: Load,
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.runs > 0, "--runs 0 measures nothing");
    let program = arguments.program.clone().map_or_else(Launch::program, Ok)?;
    ensure!(program.is_file(), "there is no program {}", program.display());
    eprintln!("filling a database of {} MB", arguments.megabytes);
    let bed = Bed::new(program, arguments.megabytes)?;
    let comparison = compare(&bed, arguments.runs)?;
    if arguments.json {
        println!("{}", table::json(&comparison));
    } else if arguments.markdown {
        print!("{}", table::markdown(&comparison));
    } else {
        print!("{}", table::text(&comparison));
    }
    Ok(())
}

fn compare(bed: &Bed, runs: usize) -> Result<Comparison> {
    let database_bytes = bed.server.sql("SELECT sum(pg_database_size(oid)) FROM pg_database").parse()?;
    let messages = bed.server.sql("SELECT count(*) FROM messages").parse()?;
    eprintln!("{messages} messages in {database_bytes} bytes; {runs} turns each");
    let load = Load::begin();
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for turn in 0..runs {
        // Whoever goes second finds a warmer cache.
        for is_ours in [turn % 2 == 0, turn % 2 != 0] {
            let (name, taken) =
                if is_ours { ("ours", bed.turn_of_ours()?) } else { ("pgBackRest", bed.turn_of_rival()?) };
            eprintln!(
                "turn {}, {name}: full {:.1} s, verify {:.1} s, restore {:.1} s",
                turn + 1,
                taken.full.wall_s,
                taken.verify.wall_s,
                taken.restore.wall_s
            );
            if is_ours { ours.push(taken) } else { rival.push(taken) }
        }
    }
    Ok(Comparison { database_bytes, messages, ours, rival, load: load.end() })
}
