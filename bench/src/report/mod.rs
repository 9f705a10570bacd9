//! What was measured, as people and machines read it: a table, JSON lines, a page with plots, the history over
//! commits, and the comparison that CI fails on. Pure functions over rows.

pub mod compare;
pub mod history;
pub mod html;
pub mod json;
pub mod row;
#[cfg(test)]
mod sample;
pub mod table;
#[cfg(test)]
mod tests;
mod words;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use row::{Figure, Row, Run};

/// A measured run, made into a page.
#[derive(clap::Args)]
pub struct Arguments {
    /// What earlier commits measured.
    #[arg(long, default_value = "bench/history.jsonl")]
    history: PathBuf,
    /// The run, as JSON.
    #[arg(long)]
    run: PathBuf,
    /// Where the page goes.
    #[arg(long)]
    html: PathBuf,
}

/// Writes the page and prints the table.
///
/// # Errors
/// A file can't be read or written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.run;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("read the run from {}", path.display()))?;
    let run: Run = serde_json::from_str(&text).with_context(|| format!("{} is no run", path.display()))?;
    let page = html::page(&run, &history::read(&arguments.history)?)?;
    let path = &arguments.html;
    std::fs::write(path, page).with_context(|| format!("write the page to {}", path.display()))?;
    print!("{}", table::text_table(&run));
    Ok(())
}
