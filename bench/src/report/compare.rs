//! Decides whether a run is clearly worse than what was recorded, which is what CI fails on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::row::{Better, Figure, Run};
use super::words::number;

/// What a shape is known to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The figure, a ratio in most records.
    pub ratio: f64,
    /// Part of `ratio` that is noise, as measured: 0.25 lets 1.0 become 1.25 (or 0.8 where higher is better).
    pub tolerance: f64,
    #[serde(default = "cpu_ratio")]
    pub figure: Figure,
    #[serde(default)]
    pub better: Better,
    /// Where the tolerance comes from.
    #[serde(default)]
    pub note: String,
}

fn cpu_ratio() -> Figure {
    Figure::CpuRatio
}

/// The recorded shapes by name.
pub type Records = BTreeMap<String, Recorded>;

/// What to say of one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judgement {
    /// Within the tolerance.
    Same,
    /// Clearly worse: a failure.
    Worse,
    /// Clearly better: record it, or the next regression hides behind it.
    Better,
    /// The run has the shape but not the figure: a failure.
    Unmeasured,
    /// Nothing is recorded of the shape.
    Unknown,
    /// The record has a shape that did not run.
    NotRun,
}

/// One shape's judgement. Its text is a line for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub shape: String,
    pub judgement: Judgement,
    /// The figure reached, 0 where there is none.
    pub reached: f64,
    /// The machine was noisy while it was measured.
    pub noisy: bool,
    pub recorded: Option<Recorded>,
}

impl Verdict {
    /// CI fails.
    pub fn fails(&self) -> bool {
        matches!(self.judgement, Judgement::Worse | Judgement::Unmeasured)
    }
}

/// Reads the records.
///
/// # Errors
/// The file can't be read, is no record, or has a record that nothing can be measured against.
pub fn read(path: &Path) -> Result<Records> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read the recorded figures from {}", path.display()))?;
    let records: Records = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    for (shape, record) in &records {
        let sound = record.ratio > 0.0 && record.ratio.is_finite() && (0.0..10.0).contains(&record.tolerance);
        ensure!(sound, "{} {shape}: a ratio above 0 and a tolerance from 0 to 10 are needed", path.display());
    }
    Ok(records)
}

/// Judges every row, then names the records that did not run.
pub fn check(run: &Run, records: &Records) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for row in &run.rows {
        let recorded = records.get(&row.shape);
        let reached = recorded.and_then(|record| record.figure.of(row));
        let judgement = match (recorded, reached) {
            (None, _) => Judgement::Unknown,
            (Some(_), None) => Judgement::Unmeasured,
            (Some(record), Some(reached)) => judge(record, reached),
        };
        verdicts.push(Verdict {
            shape: row.shape.clone(),
            judgement,
            reached: reached.unwrap_or_default(),
            noisy: row.noisy,
            recorded: recorded.cloned(),
        });
    }
    let ran = |shape: &String| run.rows.iter().any(|row| row.shape == *shape);
    for (shape, record) in records.iter().filter(|(shape, _)| !ran(shape)) {
        verdicts.push(Verdict {
            shape: shape.clone(),
            judgement: Judgement::NotRun,
            reached: 0.0,
            noisy: false,
            recorded: Some(record.clone()),
        });
    }
    verdicts
}

/// The bounds are as far apart in either direction: a factor of `1 + tolerance`.
fn judge(record: &Recorded, reached: f64) -> Judgement {
    let worse_by = match record.better {
        Better::Lower => reached / record.ratio,
        Better::Higher => record.ratio / reached,
    };
    if worse_by > 1.0 + record.tolerance {
        Judgement::Worse
    } else if worse_by * (1.0 + record.tolerance) < 1.0 {
        Judgement::Better
    } else {
        Judgement::Same
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, judgement, reached, noisy, recorded } = self;
        let Some(record) = recorded else {
            return write!(formatter, "{shape}: nothing is recorded of it");
        };
        let (figure, known) = (record.figure.name(), number(record.ratio));
        let (reached, tolerance) = (number(*reached), record.tolerance * 100.0);
        match judgement {
            Judgement::Same => write!(formatter, "{shape}: {figure} {reached}, as recorded ({known})")?,
            Judgement::Worse => write!(
                formatter,
                "{shape}: FAILED, {figure} {reached} is worse than the recorded {known} by more than {tolerance:.0} %"
            )?,
            Judgement::Better => write!(
                formatter,
                "{shape}: {figure} {reached} is better than the recorded {known} by more than {tolerance:.0} %: record it"
            )?,
            Judgement::Unmeasured => {
                write!(formatter, "{shape}: FAILED, {figure} was not measured (recorded {known})")?;
            }
            Judgement::Unknown => write!(formatter, "{shape}: nothing is recorded of it")?,
            Judgement::NotRun => write!(formatter, "{shape}: recorded ({figure} {known}), did not run")?,
        }
        if *noisy { write!(formatter, "; the machine was noisy") } else { Ok(()) }
    }
}
