//! A server's process and its children: started with a log, sent signals by process id, gone with the value.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start or to end.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
/// Lines of a log shown when a server does not do what it should.
const LOG_LINES: usize = 30;

/// A running process.
pub struct Process {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output appended to `log`.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).expect("the log is writable");
        let err = out.try_clone().expect("one more descriptor");
        let started = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = started.unwrap_or_else(|e| panic!("{name} could not be started: {e}"));
        Self { child, name, log: log.to_owned() }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so; panics with the log when it ends before or takes too long.
    pub fn until(&mut self, mut ready: impl FnMut() -> bool) {
        let began = Instant::now();
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended with {status}; its log ends:\n{}", self.name, tail(&self.log));
            }
            if began.elapsed() > PATIENCE {
                panic!("{} did not get ready; its log ends:\n{}", self.name, tail(&self.log));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        send(self.id(), signal);
    }

    /// Sends it and all its children a signal. While it happens it can't have more of them.
    pub fn signal_tree(&self, signal: libc::c_int) {
        if signal != libc::SIGCONT {
            self.signal(libc::SIGSTOP);
        }
        children(self.id()).into_iter().for_each(|child| send(child, signal));
        self.signal(signal);
    }

    /// Whether it ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            if began.elapsed() > PATIENCE {
                panic!("{} did not end; its log ends:\n{}", self.name, tail(&self.log));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends it and its children without a chance to say anything; returns when all are gone.
    pub fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(libc::SIGSTOP);
        let family = children(self.id());
        family.iter().for_each(|child| send(*child, libc::SIGKILL));
        self.signal(libc::SIGKILL);
        // The status is that of SIGKILL.
        let _ = self.child.wait();
        let began = Instant::now();
        while family.iter().any(|child| is_alive(*child)) && began.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn send(id: u32, signal: libc::c_int) {
    // SAFETY: two numbers; the process is a child of this one not waited for yet, or a child of such a child.
    unsafe { libc::kill(id as libc::pid_t, signal) };
}

/// State letter and parent of a process.
fn stat(id: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn is_alive(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn children(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten();
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, of)| of == parent)).collect()
}
