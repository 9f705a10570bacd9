//! Which processes run where: the server on one core, the load generator on another, both as real-time processes of
//! sessions of their own where that is allowed, since the kernel's groups by terminal make `nice` meaningless. What writes
//! to a disk runs as ordinary processes: the kernel's own threads that finish a flush are ordinary ones, and wait up to
//! a second beside a real-time process that does not sleep.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::plan::Kind;

/// Where a process runs.
#[derive(Clone, Debug)]
pub struct Pin {
    /// As `taskset -c` takes them; empty: anywhere.
    cores: String,
    real_time: bool,
}

impl Pin {
    /// The server's place: the first `cores` cores.
    pub fn server(cores: usize, kind: Kind) -> Self {
        let last = cores.min(allowed()) - 1;
        let cores = if last == 0 { "0".into() } else { format!("0-{last}") };
        Self { cores, real_time: kind == Kind::Ephemeral && may_be_real_time() }
    }

    /// A load generator's place: the last core, and of several each the one before.
    pub fn client(kind: Kind, process: u8) -> Self {
        let cores = (allowed() - 1).saturating_sub(usize::from(process)).to_string();
        Self { cores, real_time: kind == Kind::Ephemeral && may_be_real_time() }
    }

    /// A command that starts `program` there; the process keeps the id of the one that is spawned.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setsid");
        command.args(["taskset", "-c", &self.cores]);
        if self.real_time {
            command.args(["chrt", "-r", "1"]);
        }
        command.arg(program);
        command
    }

    /// For the report.
    pub fn describe(&self) -> String {
        let how = if self.real_time {
            "SCHED_RR 1 (durable shapes SCHED_OTHER)"
        } else {
            "SCHED_OTHER (chrt is not allowed here)"
        };
        format!("core {} {how}", self.cores)
    }
}

/// Cores this process may use.
pub fn allowed() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn may_be_real_time() -> bool {
    let tried =
        Command::new("chrt").args(["-r", "1", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}
