//! Progress of long work on standard error: a bar at a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How the bar looks.
const BAR: &str = "{msg} [{bar:30}] {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far some work is.
pub struct Progress {
    verb: &'static str,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    /// Begins; nothing is shown before there is something to tell.
    pub fn new(verb: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(BAR).expect("the template is one");
            ProgressBar::no_length().with_style(style).with_message(verb)
        });
        Self { verb, bar, told: Instant::now() }
    }

    /// So many bytes of so many are done.
    pub fn told(&mut self, done: u64, all: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(all);
            bar.set_position(done);
        } else if let Some(line) = self.line(done, all, Instant::now()) {
            tell!("{line}");
        }
    }

    /// The plain line, when one is due.
    fn line(&mut self, done: u64, all: u64, now: Instant) -> Option<String> {
        if now.saturating_duration_since(self.told) < LINE_EVERY {
            return None;
        }
        self.told = now;
        let percent = (u128::from(done) * 100).checked_div(u128::from(all)).unwrap_or(100);
        Some(format!("{}: {percent} %", self.verb))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_now_and_then() {
        let mut progress = Progress { verb: "checking", bar: None, told: Instant::now() };
        let began = progress.told;
        let mut at = |seconds: u64, done, all| progress.line(done, all, began + Duration::from_secs(seconds));
        assert_eq!(at(9, 10, 100), None);
        assert_eq!(at(10, 50, 100).as_deref(), Some("checking: 50 %"));
        assert_eq!(at(19, 60, 100), None, "counted from the line before");
        assert_eq!(at(20, 0, 0).as_deref(), Some("checking: 100 %"), "nothing to do is done");
        assert_eq!(at(40, u64::MAX, u64::MAX).as_deref(), Some("checking: 100 %"));
    }
}
