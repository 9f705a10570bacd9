//! What earlier commits measured: one run a line in a file that only grows, so that a trend can be seen.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context, Result};

use super::json::without_hdr;
use super::row::{Row, Run};

/// Adds a run, without its histograms.
///
/// # Errors
/// The file can't be written.
pub fn append(path: &Path, run: &Run) -> Result<()> {
    let run = Run { rows: run.rows.iter().map(without_hdr).collect(), ..run.clone() };
    let line = serde_json::to_string(&run)? + "\n";
    let open = OpenOptions::new().create(true).append(true).open(path);
    open.and_then(|mut file| file.write_all(line.as_bytes()))
        .with_context(|| format!("write the history to {}", path.display()))
}

/// Every run from the oldest on; none where there is no file. Fields that an older line lacks are empty.
///
/// # Errors
/// The file can't be read, or a line is no run.
pub fn read(path: &Path) -> Result<Vec<Run>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("read the history from {}", path.display()))?,
    };
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line)
            .with_context(|| format!("{} line {}: remove or mend it", path.display(), index + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// The last row of each shape.
pub fn last(history: &[Run]) -> BTreeMap<&str, &Row> {
    history.iter().flat_map(|run| &run.rows).map(|row| (row.shape.as_str(), row)).collect()
}
