//! Where a restore or a failover left the log that is in the spool: pg_receivewal would ask to go on after what the server's
//! timeline does not go through, and be refused for ever.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::branch::Branch;
use super::sealing::Sealing;
use super::spool::Received;
use crate::error::BackupError;
use crate::postgres::{LogFile, Lsn, Tools};
use crate::run::on_thread;

/// Where a history is received, inside the spool.
const SCRATCH: &str = "history";
/// A position that every log is past: nothing but the history is received.
const BEGINNING: &str = "0/1";

/// Seals what is in the spool and takes away what the server's timeline does not go through; whether there was any.
pub(super) async fn make_way(
    sealing: &mut Sealing<'_>,
    tools: &Tools,
    timeline: u32,
) -> Result<bool, BackupError> {
    let is_of_another = |received: &Received| match received.file {
        LogFile::Segment { timeline: of, .. } => of != timeline,
        LogFile::History { .. } => false,
    };
    if !sealing.spool.list()?.iter().any(is_of_another) {
        return Ok(false);
    }
    sealing.round(true).await?;
    let branch = history(tools, &sealing.spool.folder, timeline).await?;
    let was_any = sealing.leave_all(|received| is_beyond(received, &branch)).await?;
    if was_any {
        tracing::warn!(timeline, "the server's log goes on from an earlier position than was received");
    }
    Ok(was_any)
}

/// Whether pg_receivewal would ask for what lies behind the place where its timeline was left.
fn is_beyond(received: &Received, branch: &Branch) -> bool {
    let LogFile::Segment { number, timeline, bytes } = received.file else { return false };
    let next = if received.is_whole { number + 1 } else { number };
    !branch.holds(timeline, Lsn(next * bytes))
}

/// The history of the server's timeline, as it sends it to whoever receives its log.
async fn history(tools: &Tools, spool: &Path, timeline: u32) -> Result<Branch, BackupError> {
    let file = LogFile::History { timeline };
    let scratch = spool.join(SCRATCH);
    let fail = |why| BackupError::file(&scratch, why);
    let empty = || match std::fs::remove_dir_all(&scratch) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    };
    empty().and_then(|()| std::fs::DirBuilder::new().mode(0o700).create(&scratch)).map_err(fail)?;
    let (with, into) = (tools.clone(), scratch.clone());
    let received = on_thread(move || {
        with.run("pg_receivewal", |command| {
            command.arg("--directory").arg(&into).args(["--no-loop", "--no-password", "--endpos", BEGINNING]);
        })
    });
    received.await??;
    let text = match std::fs::read_to_string(scratch.join(file.to_string())) {
        // The first timeline has none.
        Err(why) if why.kind() == std::io::ErrorKind::NotFound && timeline == 1 => String::new(),
        read => read.map_err(fail)?,
    };
    empty().map_err(fail)?;
    Ok(Branch::parse(timeline, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_would_refuse_to_go_on_from_is_taken_away() {
        let (bytes, branch) = (16 << 20, Branch::parse(2, "1\t0/5000300\tx\n"));
        let received = |number, timeline, is_whole| Received {
            file: LogFile::Segment { number, timeline, bytes },
            path: "x".into(),
            is_whole,
        };
        for (number, timeline, is_whole, is_gone) in [
            (4, 1, true, false),
            (5, 1, false, false),
            (5, 1, true, true),
            (6, 1, false, true),
            (5, 2, true, false),
            (90, 2, false, false),
            (3, 3, true, true),
        ] {
            let found = is_beyond(&received(number, timeline, is_whole), &branch);
            assert_eq!(found, is_gone, "{number} of {timeline}");
        }
    }
}
