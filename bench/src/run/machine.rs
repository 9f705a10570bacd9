//! The machine a run was made on, and how much of it somebody else took meanwhile.

use std::process::Command;

/// Share of stolen time above which a run says that the machine was noisy.
const STEAL_MAX: f64 = 0.02;

/// Ticks of all cores since boot: all, and those that the host gave to others.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    pub fn now() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        Self { all: ticks.iter().take(8).sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// Whether too much was taken since `earlier`.
    pub fn noisy_since(&self, earlier: &Self) -> bool {
        let all = self.all.saturating_sub(earlier.all);
        all > 0 && (self.stolen - earlier.stolen) as f64 / all as f64 > STEAL_MAX
    }
}

/// Processor and cores, for the report.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} x {}", field("model name").unwrap_or_else(|| "unknown processor".into()))
}

/// Kernel release.
pub fn kernel() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows the version names the builder.
    text.trim().split('-').next().unwrap_or_default().to_owned()
}

/// The commit that is checked out, and whether something differs from it.
pub fn commit() -> (String, bool) {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    (git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into()), dirty)
}
