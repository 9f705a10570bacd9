//! Which processes run where: the server on one core, the load generator on another, both as real-time processes of
//! sessions of their own where that is allowed, since the kernel's groups by terminal make `nice` meaningless.

use std::path::Path;
use std::process::{Command, Stdio};

/// Descriptors of a process that are no connections.
pub const DESCRIPTORS_SPARE: u64 = 256;

/// Where a process runs.
#[derive(Clone, Debug)]
pub struct Pin {
    /// As `taskset -c` takes them; empty: anywhere.
    cores: String,
    real_time: bool,
    /// Connections it has to hold, when that is more than this process may open.
    connections: Option<u64>,
}

impl Pin {
    /// The server's place: the first `cores` cores.
    pub fn server(cores: usize) -> Self {
        let last = cores.min(allowed()) - 1;
        Self {
            cores: if last == 0 { "0".into() } else { format!("0-{last}") },
            real_time: may_be_real_time(),
            connections: None,
        }
    }

    /// The same with room for so many connections.
    pub fn holding(self, connections: usize) -> Self {
        let needed = connections as u64 + DESCRIPTORS_SPARE;
        Self { connections: (needed > descriptors_max()).then_some(needed), ..self }
    }

    /// The load generator's place: the last core.
    pub fn client() -> Self {
        Self { cores: (allowed() - 1).to_string(), real_time: may_be_real_time(), connections: None }
    }

    /// A command that starts `program` there; the process keeps the id of the one that is spawned.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setsid");
        command.args(["taskset", "-c", &self.cores]);
        if self.real_time {
            command.args(["chrt", "-r", "1"]);
        }
        if let Some(descriptors) = self.connections {
            command.args(["prlimit", &format!("--nofile={descriptors}:{descriptors}")]);
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

/// Descriptors that this process, and what it starts, may have at most.
pub fn descriptors_max() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct it is given.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    if got == 0 { limit.rlim_max } else { u64::MAX }
}

fn allowed() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn may_be_real_time() -> bool {
    let tried =
        Command::new("chrt").args(["-r", "1", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}
