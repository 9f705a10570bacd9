//! pg_receivewal and its slot, by which the server keeps what was not received: begun, begun again, and told apart from one
//! that asks for what its server no longer has.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::sealing::Sealing;
use super::stream::{RECEIVER, Settings};
use crate::error::BackupError;
use crate::postgres::run::Source;
use crate::postgres::{LogFile, Running, Tools, ToolsError};
use crate::run::on_thread;

/// How long a slot may stay taken by a receiver that has just ended.
const TAKEN_MAX: Duration = Duration::from_secs(10);
/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What pg_receivewal says, in whatever language its server complains.
const REFUSED: &str = "unexpected termination of replication stream";
/// What a server of a later version says of a slot that it gave up.
const GIVEN_UP: &str = "can no longer access replication slot";

/// How the log is received, and from whom.
pub(super) struct Receiver<'a> {
    pub source: &'a Source,
    pub settings: &'a Settings,
    pub tools: Tools,
}

impl Receiver<'_> {
    /// Waits until nobody receives the log by the slot: two would seal the same in turns.
    pub async fn free(&self) -> Result<(), BackupError> {
        let began = Instant::now();
        let is_followed = || async {
            self.source.store.is_followed(self.settings.slot.clone()).await.map_err(BackupError::Prepare)
        };
        while is_followed().await? {
            if began.elapsed() > TAKEN_MAX {
                let server = "this server's log (another `backup stream` has its slot)";
                return Err(BackupError::Busy { folder: server.to_owned() });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Makes the slot if it is missing.
    pub async fn make_slot(&self) -> Result<(), BackupError> {
        self.with_slot(&["--create-slot", "--if-not-exists"]).await
    }

    async fn with_slot(&self, what: &'static [&'static str]) -> Result<(), BackupError> {
        let (with, slot) = (self.tools.clone(), self.settings.slot.clone());
        let done = on_thread(move || {
            with.run("pg_receivewal", |command| {
                command.args(what).args(["--no-password", "--slot", &slot]);
            })
        });
        done.await??;
        Ok(())
    }

    /// Begins to receive.
    pub fn begin(&self) -> Result<Running, BackupError> {
        let mut command = self.tools.command("pg_receivewal")?;
        command.arg("--directory").arg(&self.settings.spool).args(["--slot", &self.settings.slot]);
        command.args(["--synchronous", "--no-password"]).env("PGAPPNAME", RECEIVER).stdout(Stdio::null());
        Ok(Running::start("pg_receivewal", &mut command)?)
    }

    /// Lets go of a place in the log that the server no longer has: what is in the spool is sealed and taken away, so that
    /// the log goes on from where the slot is, and from where the server is if that gave the slot up.
    pub async fn afresh(&self, sealing: &mut Sealing<'_>) -> Result<(), BackupError> {
        sealing.round(true).await?;
        let is_segment = |file: LogFile| matches!(file, LogFile::Segment { .. });
        let was_any = sealing.leave_all(|received| is_segment(received.file)).await?;
        let slot = self.settings.slot.clone();
        let is_lost = self.source.store.is_slot_lost(slot).await.map_err(BackupError::Prepare)?;
        if is_lost || !was_any {
            self.free().await?;
            self.with_slot(&["--drop-slot"]).await?;
            self.make_slot().await?;
        }
        tracing::error!(
            "the server no longer has the log that was to be received next; what it has now is followed, and if that \
             leaves a gap, a base backup must be made now"
        );
        Ok(())
    }
}

/// Whether the server no longer has what was asked for. It says so in its own language, but names the segment.
pub(super) fn is_gone(said: &str, segment_bytes: u64) -> bool {
    let is_segment = |word: &str| {
        let name = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        matches!(LogFile::parse(name, segment_bytes), Some(LogFile::Segment { .. }))
    };
    said.contains(GIVEN_UP) || said.contains(REFUSED) && said.split_whitespace().any(is_segment)
}

/// What a receiver that ended by itself said of that.
pub(super) async fn last_words(receiving: Running) -> BackupError {
    let why = "it ended by itself".to_owned();
    match on_thread(move || receiving.finish()).await {
        Ok(said) => said.err().unwrap_or(ToolsError::Failed { program: "pg_receivewal", why }).into(),
        Err(why) => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_a_server_has_no_more_is_told_in_any_language() {
        let bytes = 16 << 20;
        for (said, expected) in [
            (
                "unexpected termination of replication stream: ERROR:  requested WAL segment 000000010000000000000005 has already been removed",
                true,
            ),
            (
                "unexpected termination of replication stream: ERREUR:  le segment demandé du journal de transactions, 000000010000000000000005, a déjà été supprimé",
                true,
            ),
            (
                "could not send replication command \"START_REPLICATION\": ERROR:  can no longer access replication slot \"messenger_wal\"",
                true,
            ),
            ("unexpected termination of replication stream: FATAL:  terminating connection", false),
            ("could not open write-ahead log file \"x/000000010000000000000005.partial\"", false),
            ("connection to server at \"h\" failed: FATAL:  no pg_hba.conf entry", false),
        ] {
            assert_eq!(is_gone(said, bytes), expected, "{said}");
        }
    }
}
