//! Copying the database while it is in use, and looking into a copy that nobody uses.

use std::path::{Path, PathBuf};

use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use schema_wire::Generation;

use super::account::audit;
use super::value::{id, uint};
use crate::rows::backup::{Contents, Erased};

/// Rows of the erasure ledger read; more accounts than this are not erased.
const ERASURES_MAX: u32 = 10_000_000;

/// Why a copy could not be made or read. The text is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("{path}: there is no database; name the data folder with --data")]
    Missing { path: PathBuf },
    #[error("{path}: no room for a copy of the database; free as much as it has")]
    Full { path: PathBuf },
    #[error("{path}: damaged or not a database ({why})")]
    Damaged { path: PathBuf, why: String },
    #[error("{path}: cannot be copied: {why}")]
    Failed { path: PathBuf, why: String },
}

/// Copies the database as of one moment; writers go on meanwhile. `into` must not be there, and has a log of its own
/// only once somebody opens it for writing.
pub fn copy(from: &Path, into: &Path) -> Result<(), CopyError> {
    if !from.is_file() {
        return Err(CopyError::Missing { path: from.to_owned() });
    }
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let source = source.map_err(|error| explain(from, &error))?;
    super::open::create_private(into)
        .map_err(|error| CopyError::Failed { path: into.to_owned(), why: error.to_string() })?;
    let mut target = Connection::open(into).map_err(|error| explain(into, &error))?;
    // Whoever copies flushes what it makes of the copy; a crash leaves a copy that nobody uses.
    let done = target
        .pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))
        .and_then(|()| target.pragma_update(None, "synchronous", "OFF"))
        .and_then(|()| source.busy_timeout(super::open::BUSY_TIMEOUT))
        // One step: a copy in several begins again whenever another process writes.
        .and_then(|()| Backup::new(&source, &mut target)?.step(-1));
    match done {
        Ok(rusqlite::backup::StepResult::Done) => Ok(()),
        Ok(_) => {
            Err(CopyError::Failed { path: from.to_owned(), why: "locked by another process".to_owned() })
        }
        Err(error) => Err(explain(into, &error)),
    }
}

/// Version of a database's schema, also while it is in use.
pub fn schema_of(path: &Path) -> Result<u32, CopyError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let found = connection.and_then(|connection| {
        connection.busy_timeout(super::open::BUSY_TIMEOUT)?;
        connection.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))
    });
    found.map_err(|error| explain(path, &error))
}

/// Opens a file that nobody writes to; nothing is made beside it.
fn still(path: &Path) -> Result<Connection, CopyError> {
    let text = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)
        .map_err(|error| explain(path, &error))
}

/// What a copy holds, and its erasure ledger.
pub fn contents(path: &Path) -> Result<(Contents, Vec<Erased>), CopyError> {
    let mut connection = still(path)?;
    read(&mut connection).map_err(|error| explain(path, &error))
}

/// Checks every page and index, and that the offsets of each conversation are dense.
pub fn check_copy(path: &Path) -> Result<(), CopyError> {
    let connection = still(path)?;
    let fail = |error: rusqlite::Error| explain(path, &error);
    let damaged = |why: String| Err(CopyError::Damaged { path: path.to_owned(), why });
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(fail)?;
    if found != "ok" {
        return damaged(found.replace('\n', " "));
    }
    let gaps: u32 = connection.query_row(GAPS, [], |row| row.get(0)).map_err(fail)?;
    if gaps > 0 {
        return damaged(format!("{gaps} conversations miss messages"));
    }
    Ok(())
}

/// Conversations whose log is not dense up to its head.
const GAPS: &str = "SELECT count(*) FROM conversations c WHERE next_offset - first_offset <>
  (SELECT count(*) FROM messages m
   WHERE m.conversation_id = c.id AND m.log_offset >= c.first_offset AND m.log_offset < c.next_offset)";

fn read(connection: &mut Connection) -> rusqlite::Result<(Contents, Vec<Erased>)> {
    let tx = connection.transaction()?;
    let count = |table: &str| tx.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| uint(row, 0));
    let schema =
        tx.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get::<_, u32>(0))?;
    let generation = tx.query_row("SELECT max(generation) FROM store_generation", [], |row| row.get(0))?;
    let contents = Contents {
        schema,
        generation: Generation(generation),
        audit: audit::head(&tx)?,
        users: count("users")?,
        conversations: count("conversations")?,
        messages: count("messages")?,
    };
    let mut find =
        tx.prepare("SELECT user_id, reason, erased_at FROM erasure_ledger ORDER BY id LIMIT ?1")?;
    let erased = find.query_map([ERASURES_MAX], |row| {
        Ok(Erased { user: id(row, 0)?, reason: row.get(1)?, erased_at: uint(row, 2)? })
    })?;
    let erased = erased.collect::<rusqlite::Result<_>>()?;
    drop(find);
    Ok((contents, erased))
}

fn explain(path: &Path, error: &rusqlite::Error) -> CopyError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => CopyError::Full { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => CopyError::Damaged { path, why },
        _ => CopyError::Failed { path, why },
    }
}
