//! PostgreSQL's own programs: found in the version of the server, told where it is through their environment, and
//! quoted in one line when they fail.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Where Debian keeps each version's programs.
const PACKAGED: &str = "/usr/lib/postgresql";
/// Beginning of what this program says.
const OWN: &str = "messenger: ";
/// End of what a program said that is kept.
const SAID_BYTES_MAX: usize = 64 * 1024;

/// Why a program of PostgreSQL did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    #[error(
        "{program} of PostgreSQL {major} is not installed here; fix: apt-get install postgresql-{major}, or put it in PATH"
    )]
    Missing { program: &'static str, major: u32 },
    #[error("{program} is of PostgreSQL {found}, the server of {major}; install that version's programs")]
    Version { program: &'static str, found: u32, major: u32 },
    #[error("{program}: {why}")]
    Failed { program: &'static str, why: String },
}

/// The programs of one version.
#[derive(Clone, Debug)]
pub struct Tools {
    major: u32,
    /// Variables that lead to the server.
    environment: Vec<(&'static str, String)>,
}

impl Tools {
    /// Those of a server's version, such as 150004.
    pub fn of(version: u32, environment: Vec<(&'static str, String)>) -> Self {
        Self { major: version / 10_000, environment }
    }

    /// The program, in this version, with the server's variables and nothing on its input.
    pub fn command(&self, program: &'static str) -> Result<Command, ToolsError> {
        let mut command = Command::new(self.find(program)?);
        // In other languages it says other things.
        command.env("LC_ALL", "C").envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())));
        command.env("PGAPPNAME", "messenger_backup").stdin(Stdio::null());
        Ok(command)
    }

    fn find(&self, program: &'static str) -> Result<PathBuf, ToolsError> {
        let packaged = Path::new(PACKAGED).join(self.major.to_string()).join("bin").join(program);
        if packaged.is_file() {
            return Ok(packaged);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|at| at.is_file());
        let found = found.ok_or(ToolsError::Missing { program, major: self.major })?;
        match major_of(&found) {
            Some(major) if major == self.major => Ok(found),
            Some(found) => Err(ToolsError::Version { program, found, major: self.major }),
            None => Err(ToolsError::Missing { program, major: self.major }),
        }
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &'static str, with: impl FnOnce(&mut Command)) -> Result<String, ToolsError> {
        let mut command = self.command(program)?;
        with(&mut command);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.map_err(|error| ToolsError::Failed { program, why: error.to_string() })?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(ToolsError::Failed { program, why: last_line(&said, &output.status.to_string()) })
    }
}

/// The version that a program says it has.
fn major_of(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What a program said last that explains something.
pub fn last_line(said: &str, otherwise: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    // Our own program, called back for the log, explains more than the server that stops because of it.
    let own = lines.clone().rfind(|line| line.starts_with(OWN));
    let telling =
        own.or_else(|| lines.clone().rfind(|line| line.contains("error:") || line.contains("FATAL:")));
    let line = telling.or_else(|| lines.clone().next_back()).unwrap_or(otherwise);
    let line = line.rsplit_once("error: ").map_or(line, |(_, why)| why);
    line.trim_start_matches(OWN).trim_start_matches("FATAL:").trim().to_owned()
}

/// A program under way whose complaints are collected; ends with the value.
pub struct Running {
    pub child: Child,
    program: &'static str,
    said: Arc<Mutex<Vec<u8>>>,
    collecting: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts it. It ends with the thread that starts it, however that ends.
    pub fn start(program: &'static str, command: &mut Command) -> Result<Self, ToolsError> {
        end_with_this_thread(command);
        let failed = |error: std::io::Error| ToolsError::Failed { program, why: error.to_string() };
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let into = said.clone();
        let collecting =
            child.stderr.take().map(|mut from| std::thread::spawn(move || collect(&mut from, &into)));
        Ok(Self { child, program, said, collecting })
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits for its end; gives back what it said.
    pub fn finish(mut self) -> Result<String, ToolsError> {
        let status = self.child.wait();
        if let Some(collecting) = self.collecting.take() {
            // What it had collected stays said.
            let _ = collecting.join();
        }
        let (said, program) = (self.said(), self.program);
        match status {
            Ok(status) if status.success() => Ok(said),
            Ok(status) => Err(ToolsError::Failed { program, why: last_line(&said, &status.to_string()) }),
            Err(error) => Err(ToolsError::Failed { program, why: error.to_string() }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An orphan would hold on to the slot, the lock or the folder that the next process needs.
fn end_with_this_thread(command: &mut Command) {
    // SAFETY: between fork and exec only prctl is called, which takes numbers and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as libc::c_ulong);
            Ok(())
        });
    }
}

/// The end of what is said, until there is no more.
fn collect(from: &mut impl Read, kept: &Mutex<Vec<u8>>) {
    let mut block = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut block) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&block[..count]);
        if kept.len() > 2 * SAID_BYTES_MAX {
            let first = kept.len() - SAID_BYTES_MAX;
            kept.drain(..first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_explains_is_quoted() {
        let said = "pg_basebackup: error: connection to server failed: FATAL:  no pg_hba.conf entry\n";
        assert_eq!(last_line(said, "x"), "connection to server failed: FATAL:  no pg_hba.conf entry");
        assert_eq!(last_line("a: error: why\na: removing data directory\n", "x"), "why");
        assert_eq!(last_line("\n", "exit status: 1"), "exit status: 1");
    }

    #[test]
    fn another_version_than_the_servers_is_named() {
        let tools = Tools::of(990_001, Vec::new());
        let refused = tools.command("pg_basebackup").unwrap_err().to_string();
        assert!(refused.contains("99"), "{refused}");
    }
}
