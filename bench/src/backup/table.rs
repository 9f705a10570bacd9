//! The comparison as people and programs read it: figures, goals, and how long restores of other sizes would take.

use std::fmt::Write as _;

use super::cost::{Cost, median};
use super::{Comparison, Turn};
use crate::run::machine;

/// Sizes for which the time of a restore is extrapolated, in GB.
const SIZES_GB: [f64; 4] = [1.0, 10.0, 50.0, 100.0];
/// Most memory that a process of ours may have.
const MEMORY_MIB_MAX: f64 = 128.0;
/// Longest check, as a part of a full backup.
const VERIFY_SHARE_MAX: f64 = 7.0 / 25.0;
/// Longest restore of 2 GB.
const RESTORE_S_MAX: f64 = 60.0;

type Step = fn(&Turn) -> Cost;
type Figure = fn(&Cost) -> f64;

const STEPS: [(&str, Step); 3] =
    [("full backup", |turn| turn.full), ("verify", |turn| turn.verify), ("restore", |turn| turn.restore)];

fn middle(turns: &[Turn], step: Step, figure: Figure) -> f64 {
    median(turns.iter().map(|turn| figure(&step(turn))).collect())
}

/// A goal, what was reached, and whether that is enough.
struct Goal {
    what: &'static str,
    reached: String,
    is_met: bool,
}

impl Comparison {
    fn goals(&self) -> Vec<Goal> {
        let versus = |what, step: Step, figure: Figure| {
            let (ours, rival) = (middle(&self.ours, step, figure), middle(&self.rival, step, figure));
            Goal { what, reached: format!("{:.2} x", ours / rival), is_met: ours <= rival }
        };
        let share = middle(&self.ours, STEPS[1].1, wall) / middle(&self.ours, STEPS[0].1, wall);
        let of_rival = middle(&self.ours, STEPS[1].1, wall) / middle(&self.rival, STEPS[0].1, wall);
        let restore = middle(&self.ours, STEPS[2].1, wall);
        let memory = self.memory_mib();
        vec![
            versus("full backup, wall at most pgBackRest's", STEPS[0].1, wall),
            versus("full backup, CPU with the server's at most pgBackRest's", STEPS[0].1, Cost::all_cpu_s),
            versus("restore, wall at most pgBackRest's", STEPS[2].1, wall),
            Goal {
                what: "verify at most 0.28 of a full backup",
                reached: format!("{share:.2} of ours, {of_rival:.2} of pgBackRest's"),
                is_met: share <= VERIFY_SHARE_MAX,
            },
            Goal {
                what: "restore of 2 GB under 60 s",
                reached: format!("{restore:.1} s for {:.2} GB", self.gigabytes()),
                is_met: restore < RESTORE_S_MAX,
            },
            Goal {
                what: "memory of each process at most 128 MiB",
                reached: format!("{memory:.0} MiB"),
                is_met: memory <= MEMORY_MIB_MAX,
            },
        ]
    }

    fn gigabytes(&self) -> f64 {
        self.database_bytes as f64 / 1e9
    }

    /// The largest of all turns.
    fn memory_mib(&self) -> f64 {
        let of = |turn: &Turn| STEPS.map(|(_, step)| step(turn).memory_mib);
        self.ours.iter().flat_map(of).fold(0.0, f64::max)
    }

    fn conditions(&self) -> String {
        format!(
            "{:.2} GB, {} messages, {} turns each, the middle one of each figure; {}, kernel {}; commit {}; {:.0} % of the \
             cores in use over all turns and {:.0} % stolen, load {:.1} before and {:.1} after",
            self.gigabytes(),
            self.messages,
            self.ours.len(),
            machine::processor(),
            machine::kernel(),
            commit(),
            self.load.busy * 100.0,
            self.load.stolen * 100.0,
            self.load.before,
            self.load.after
        )
    }

    /// In proportion to the size, which is not measured.
    fn extrapolated(&self) -> String {
        let per_gb = middle(&self.ours, STEPS[2].1, wall) / self.gigabytes();
        let sizes = SIZES_GB.map(|size| format!("{size:.0} GB {}", span(per_gb * size)));
        format!("restore: {per_gb:.1} s per GB; extrapolated, not measured: {}", sizes.join(", "))
    }
}

fn wall(cost: &Cost) -> f64 {
    cost.wall_s
}

fn span(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

fn commit() -> String {
    let (commit, is_changed) = machine::commit();
    if is_changed { format!("{commit} with changes") } else { commit }
}

const HEADINGS: [&str; 9] = [
    "step",
    "wall s",
    "pgBackRest's",
    "CPU s",
    "pgBackRest's",
    "with the server's",
    "pgBackRest's",
    "MiB",
    "pgBackRest's",
];

fn rows(comparison: &Comparison) -> Vec<Vec<String>> {
    let figures: [(Figure, usize); 4] =
        [(wall, 1), (|cost| cost.cpu_s, 1), (Cost::all_cpu_s, 1), (|cost| cost.memory_mib, 0)];
    let row = |(name, step): &(&str, Step)| {
        let mut row = vec![(*name).to_owned()];
        for (figure, decimals) in figures {
            for turns in [&comparison.ours, &comparison.rival] {
                row.push(format!("{:.decimals$}", middle(turns, *step, figure)));
            }
        }
        row
    };
    STEPS.iter().map(row).collect()
}

/// For a terminal.
pub fn text(comparison: &Comparison) -> String {
    let mut text = format!("{}\n\n", comparison.conditions());
    let heading: Vec<String> = HEADINGS.map(str::to_owned).into();
    for row in std::iter::once(heading).chain(rows(comparison)) {
        for (column, cell) in row.iter().enumerate() {
            let width = if column == 0 { 12 } else { HEADINGS[column].len().max(8) + 2 };
            let _ = if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "{cell:>width$}") };
        }
        text.push('\n');
    }
    text.push('\n');
    for goal in comparison.goals() {
        let verdict = if goal.is_met { "met" } else { "MISSED" };
        let _ = writeln!(text, "{verdict:<7} {}: {}", goal.what, goal.reached);
    }
    let _ = writeln!(text, "\n{}", comparison.extrapolated());
    text
}

/// For `RESULTS.md`.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = format!("{}.\n\n| {} |\n", comparison.conditions(), HEADINGS.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(HEADINGS.len() - 1));
    for row in rows(comparison) {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push_str("\n| goal | reached | |\n|---|---|---|\n");
    for goal in comparison.goals() {
        let verdict = if goal.is_met { "met" } else { "**missed**" };
        let _ = writeln!(text, "| {} | {} | {verdict} |", goal.what, goal.reached);
    }
    let _ = writeln!(text, "\n{}.", comparison.extrapolated());
    text
}

/// Everything, each turn included.
pub fn json(comparison: &Comparison) -> String {
    let goals = comparison
        .goals()
        .into_iter()
        .map(|goal| serde_json::json!({ "goal": goal.what, "reached": goal.reached, "met": goal.is_met }));
    let document = serde_json::json!({
        "commit": commit(),
        "machine": machine::processor(),
        "kernel": machine::kernel(),
        "goals": goals.collect::<Vec<_>>(),
        "turns": comparison,
    });
    document.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::cost::Load;
    use super::*;

    fn turn(wall_s: f64) -> Turn {
        let cost = |share: f64| Cost {
            wall_s: wall_s * share,
            cpu_s: wall_s * share,
            server_cpu_s: 1.0,
            memory_mib: 30.0,
        };
        Turn { full: cost(1.0), verify: cost(0.25), restore: cost(2.0) }
    }

    fn comparison() -> Comparison {
        let ours = vec![turn(10.0), turn(30.0), turn(12.0)];
        let rival = vec![turn(20.0), turn(18.0), turn(19.0)];
        Comparison { database_bytes: 2_000_000_000, messages: 5, ours, rival, load: Load::begin().end() }
    }

    #[test]
    fn goals_are_judged_by_the_middle_turn() {
        let goals = comparison().goals();
        let reached: Vec<_> = goals.iter().map(|goal| (goal.reached.as_str(), goal.is_met)).collect();
        let share = "0.25 of ours, 0.16 of pgBackRest's";
        assert_eq!(
            reached,
            [
                ("0.63 x", true),
                ("0.65 x", true),
                ("0.63 x", true),
                (share, true),
                ("24.0 s for 2.00 GB", true),
                ("30 MiB", true)
            ]
        );
        let slow = Comparison { ours: vec![turn(50.0)], ..comparison() };
        assert!(!slow.goals()[0].is_met && !slow.goals()[4].is_met);
    }

    #[test]
    fn every_form_shows_the_figures() {
        let comparison = comparison();
        let (text, page) = (text(&comparison), markdown(&comparison));
        assert!(text.contains("12.0") && text.contains("extrapolated, not measured: 1 GB 12 s"), "{text}");
        assert!(page.contains("| full backup | 12.0 | 19.0 |"), "{page}");
        let read: serde_json::Value = serde_json::from_str(&json(&comparison)).expect("it is JSON");
        assert_eq!(read["turns"]["ours"][1]["full"]["wall_s"], 30.0);
    }
}
