//! Which processes run where: the server on one core, the load generator on another, both as real-time processes of
//! sessions of their own where that is allowed, since the kernel's groups by terminal make `nice` meaningless.

use std::path::Path;
use std::process::{Command, Stdio};

/// Where a process runs.
#[derive(Clone, Debug)]
pub struct Pin {
    /// As `taskset -c` takes them; empty: anywhere.
    cores: String,
    real_time: bool,
}

impl Pin {
    /// The server's place: the first `cores` cores.
    pub fn server(cores: usize) -> Self {
        let last = cores.min(allowed()) - 1;
        Self {
            cores: if last == 0 { "0".into() } else { format!("0-{last}") },
            real_time: may_be_real_time(),
        }
    }

    /// The load generator's place: the last core.
    pub fn client() -> Self {
        Self { cores: (allowed() - 1).to_string(), real_time: may_be_real_time() }
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
        let how = if self.real_time { "SCHED_RR 1" } else { "SCHED_OTHER (chrt is not allowed here)" };
        format!("core {} {how}", self.cores)
    }
}

fn allowed() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn may_be_real_time() -> bool {
    let tried =
        Command::new("chrt").args(["-r", "1", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}
