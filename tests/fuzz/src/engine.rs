//! The mutation loop: takes an input, changes it, runs it, keeps it when it did something new, and stops at the
//! first broken promise.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::random::Random;
use crate::target::Target;
use crate::{corpus, coverage, mutate, trace};

/// What one run of an input came to.
enum Outcome {
    /// The features it showed.
    Kept(Vec<u64>),
    /// The broken promise.
    Broken(String),
}

/// What a loop came to.
#[derive(Debug)]
pub struct Report {
    /// Inputs run, those of the corpus included.
    pub runs: u64,
    /// Different features seen.
    pub features: usize,
    /// Inputs that showed something new.
    pub news: Vec<Vec<u8>>,
    /// The longest single run.
    pub longest: Duration,
    /// Where the input lies that broke a promise, and which.
    pub broken: Option<(PathBuf, String)>,
}

/// Where the last panic was and what it said; panics are expected here, so nobody prints them.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Makes panics silent: the loop reports them with the input.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let mut last = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        *last = panic.to_string();
    }));
}

/// Runs one input and says which promise it broke, if any.
///
/// # Errors
/// The broken promise.
pub fn replay(target: &Target, input: &[u8]) -> Result<(), String> {
    match run(target, input) {
        Outcome::Kept(_) => Ok(()),
        Outcome::Broken(promise) => Err(promise),
    }
}

/// Runs the corpus, then `runs` changed inputs, all chosen by the seed.
///
/// # Errors
/// The corpus cannot be read, or a found input not written.
pub fn fuzz(target: &Target, runs: u64, seed: u64) -> Result<Report> {
    let mut pool: Vec<Vec<u8>> = corpus::load(target.name)?.into_iter().map(|(_, bytes)| bytes).collect();
    let known = pool.len();
    let mut random = Random(seed);
    let mut seen = HashSet::new();
    let mut report = Report { runs: 0, features: 0, news: Vec::new(), longest: Duration::ZERO, broken: None };
    for at in 0..known as u64 + runs {
        let input = match pool.get(at as usize) {
            Some(input) if at < known as u64 => input.clone(),
            _ => next_input(target, &mut random, &pool),
        };
        let begin = Instant::now();
        let outcome = run(target, &input);
        report.longest = report.longest.max(begin.elapsed());
        report.runs += 1;
        match outcome {
            Outcome::Broken(promise) => {
                let path = corpus::report(target.name, &input).context("cannot write the found input")?;
                report.broken = Some((path, promise));
                break;
            }
            Outcome::Kept(features) => {
                let before = seen.len();
                seen.extend(features);
                if seen.len() > before && at >= known as u64 {
                    pool.push(input);
                }
            }
        }
    }
    report.features = seen.len();
    report.news = pool.split_off(known);
    Ok(report)
}

/// Adds to the corpus what covers features that it does not show yet, shortest inputs first.
///
/// # Errors
/// The corpus cannot be read or written.
pub fn keep(target: &Target, news: &[Vec<u8>]) -> Result<usize> {
    let known = corpus::load(target.name)?;
    let mut room = corpus::FILES_MAX.saturating_sub(known.len());
    let mut seen = HashSet::new();
    for (_, input) in &known {
        if let Outcome::Kept(features) = run(target, input) {
            seen.extend(features);
        }
    }
    let mut sorted: Vec<&Vec<u8>> = news.iter().collect();
    sorted.sort_by_key(|input| input.len());
    let mut kept = 0;
    for input in sorted {
        let Outcome::Kept(features) = run(target, input) else { continue };
        let before = seen.len();
        seen.extend(features);
        if seen.len() > before && room > 0 {
            corpus::keep(target.name, input)?;
            room -= 1;
            kept += 1;
        }
    }
    Ok(kept)
}

/// Half of the time something recent: what was just learnt leads further.
fn next_input(target: &Target, random: &mut Random, pool: &[Vec<u8>]) -> Vec<u8> {
    if pool.is_empty() {
        return (0..random.below(64)).map(|_| random.number() as u8).collect();
    }
    let recent = pool.len().min(32);
    let at = match random.below(2) {
        0 => random.below(pool.len()),
        _ => pool.len() - 1 - random.below(recent),
    };
    let mut input = pool[at].clone();
    let other = &pool[random.below(pool.len())];
    mutate::mutate(random, &mut input, other, target.words, target.bytes_max);
    input
}

fn run(target: &Target, input: &[u8]) -> Outcome {
    trace::take();
    coverage::reset();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let mut features = trace::take();
    coverage::add(&mut features);
    match result {
        Ok(()) => Outcome::Kept(features),
        Err(payload) => {
            let last = std::mem::take(&mut *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner));
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_else(|| "a panic without words".into());
            Outcome::Broken(if last.is_empty() { text } else { last })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejects_a_word(data: &[u8]) {
        trace::note_size("length", data.len());
        assert!(!data.windows(3).any(|w| w == b"bad"), "the word");
    }

    #[test]
    fn a_broken_promise_is_found_written_down_and_replayed() {
        let target =
            Target { name: "engine-test", run: rejects_a_word, words: &[b"ba", b"d"], bytes_max: 64 };
        let report = fuzz(&target, 100_000, 1).unwrap();
        let (path, promise) = report.broken.expect("two words next to each other come up");
        assert_eq!(promise, "the word");
        assert!(replay(&target, &std::fs::read(&path).unwrap()).is_err());
        assert!(replay(&target, b"good").is_ok());
        std::fs::remove_file(path).unwrap();
    }
}
