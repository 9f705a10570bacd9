//! The life of a private PostgreSQL server: started, stopped in each of its ways, killed, paused, started again.

use std::process::ExitStatus;

use super::{LOG, Postgres, Segment};
use crate::machine::Machine;
use crate::process::Process;

/// How it is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// SIGTERM: lets sessions end by themselves.
    Smart,
    /// SIGINT: cuts sessions, then writes everything down.
    Fast,
    /// SIGQUIT: leaves at once; the next start recovers.
    Immediate,
}

impl Postgres {
    /// Starts it on its folder and port, and waits until it takes connections. Panics when it runs already.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        // What is left of a dead one would look like a ready one.
        let _ = std::fs::remove_file(self.seen("postmaster.pid"));
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.socket());
        command.args(["-p", &self.port.number.to_string()]);
        command.envs(self.machine.iter().flat_map(Machine::variables));
        let mut process = Process::start("PostgreSQL", &mut command, &self.folder.join(LOG));
        let mark = self.seen("postmaster.pid");
        process.until(|| {
            let text = std::fs::read_to_string(&mark).unwrap_or_default();
            text.lines().nth(7).is_some_and(|state| matches!(state.trim(), "ready" | "standby"))
        });
        self.process = Some(process);
        self.segments.extend(Segment::named(&mark));
    }

    /// What the server of now shares with its children.
    pub fn segment(&self) -> Segment {
        *self.segments.last().expect("it was started")
    }

    /// Whether it was started and neither stopped nor killed since.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it ended by itself, as it does without room for its log.
    pub fn has_ended(&mut self) -> bool {
        if self.process.as_mut().is_some_and(Process::has_ended) {
            self.process = None;
        }
        self.process.is_none()
    }

    /// Asks it to end and waits for that.
    pub fn stop(&mut self, how: Stop) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        process.signal(match how {
            Stop::Smart => libc::SIGTERM,
            Stop::Fast => libc::SIGINT,
            Stop::Immediate => libc::SIGQUIT,
        });
        process.wait()
    }

    /// Asks it to end, and does not wait: a smart stop waits for sessions.
    pub fn ask_to_stop(&self) {
        self.process.as_ref().expect("it runs").signal(libc::SIGTERM);
    }

    /// SIGKILL to it and all its children; returns when they are gone.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Its machine loses its power, as `Machine::lose_power` has it; to be started again.
    pub fn lose_power(&mut self, survives: impl FnMut() -> bool) {
        self.kill();
        self.machine().lose_power(survives);
    }

    /// Stops it and its children in their tracks, as a machine that hangs.
    pub fn pause(&self) {
        self.process.as_ref().expect("it runs").signal_tree(libc::SIGSTOP);
    }

    /// Ends `pause`.
    pub fn resume(&self) {
        self.process.as_ref().expect("it runs").signal_tree(libc::SIGCONT);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A kill leaves the segment, and nobody starts here again who would take it over.
        drop(self.process.take());
        self.segments.drain(..).for_each(Segment::remove);
    }
}
