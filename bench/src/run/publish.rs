//! What becomes of a run: the table or JSON lines, the files, the history.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::{Arguments, machine, pin};
use crate::plan::Kind;
use crate::report::{Row, Run, history, html, json, table};

/// The rows, and where and how they were measured.
pub fn described(arguments: &Arguments, rows: Vec<Row>) -> Run {
    let (commit, dirty) = machine::commit();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Run {
        commit,
        dirty,
        date: date(seconds),
        machine: format!(
            "{}; server {}, load {}",
            machine::processor(),
            pin::Pin::server(1, Kind::Ephemeral).describe(),
            pin::Pin::client(Kind::Ephemeral, 0).describe()
        ),
        kernel: machine::kernel(),
        command: command(arguments),
        profile: if cfg!(debug_assertions) { "dev".into() } else { "release".into() },
        rows,
    }
}

/// The command that measures the same again, whatever becomes of the figures.
fn command(arguments: &Arguments) -> String {
    let mut words = vec!["cargo x bench".to_owned()];
    words.extend(arguments.shapes.iter().cloned());
    words.extend(arguments.all.then(|| "--all".to_owned()));
    words.extend(arguments.smoke.then(|| "--smoke".to_owned()));
    words.extend(arguments.runs.map(|runs| format!("--runs {runs}")));
    words.join(" ")
}

/// Prints the run and writes the files that were asked for.
pub fn publish(arguments: &Arguments, run: &Run) -> Result<()> {
    let past = history::read(&arguments.history)?;
    if arguments.json {
        print!("{}", json::lines(run, false));
    } else if arguments.markdown {
        print!("{}", table::markdown(run));
    } else {
        println!("{}{}", table::text_table(run), table::changes(run, &past));
    }
    if let Some(path) = &arguments.html {
        write(path, &html::page(run, &past)?)?;
    }
    if let Some(path) = &arguments.save {
        write(path, &serde_json::to_string(run)?)?;
    }
    if arguments.record {
        history::append(&arguments.history, run)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    eprintln!("written: {}", path.display());
    Ok(())
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

#[cfg(test)]
mod tests {
    #[test]
    fn days_are_those_of_the_calendar() {
        for (unix_s, day) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_564_800, "2026-11-25")] {
            assert_eq!(super::date(unix_s), day);
        }
    }
}
