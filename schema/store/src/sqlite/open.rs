//! Opening the file: folder, lock, damage, schema version – each with one clear line when it is not as it should be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// How long a statement waits for another process that holds the lock (a backup, the operator CLI).
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection.
const STATEMENTS_MAX: usize = 128;

/// Files up to this size are checked whole when they are opened (about a second); larger ones by the backup jobs.
const CHECKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What may differ from the usual.
#[derive(Clone)]
pub struct Options {
    /// Reader threads.
    pub readers: usize,
    /// Requests waiting for the writer, and as many for the readers; more are refused as unavailable.
    pub queue_max: usize,
    /// Largest file in pages of 4 KiB; beyond it the store says `Full`. 0: only the disk bounds it.
    pub pages_max: u32,
    /// How long a statement waits for another process that holds the lock.
    pub busy_timeout: Duration,
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        let clock: Clock = Arc::new(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_millis().try_into().unwrap_or(u64::MAX))
        });
        Self { readers: 2, queue_max: 4096, pages_max: 0, busy_timeout: BUSY_TIMEOUT, clock }
    }
}

/// Why the store could not be opened. The text is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: cannot be read and written: {why}; check the folder and its permissions")]
    NotWritable { path: PathBuf, why: String },
    #[error("{path}: locked by another process; stop it, or choose another data folder")]
    Locked { path: PathBuf },
    #[error("{path}: damaged or not a database ({why}); restore it from a backup")]
    Damaged { path: PathBuf, why: String },
    #[error(
        "{path}: written by a newer version (schema {found}, this program knows {known}); update this program"
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error(
        "{path}: migration {version} was applied in another form than this program has it; use the program that made it"
    )]
    Altered { path: PathBuf, version: u32 },
    #[error("{path}: the schema could not be brought up to date: {why}")]
    Migration { path: PathBuf, why: String },
    #[error("no thread could be started for the store: {0}")]
    Thread(std::io::Error),
}

/// Opens for writing, checks the file and applies what is missing of the schema.
pub fn writer(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    create_private(path)?;
    let mut connection = connect(path, options)?;
    check(path, &connection)?;
    migrate(path, &mut connection)?;
    if options.pages_max > 0 {
        let bounded: Result<i64, _> =
            connection.query_row(&format!("PRAGMA max_page_count = {}", options.pages_max), [], |r| r.get(0));
        bounded.map_err(|e| explain(path, &e))?;
    }
    Ok(connection)
}

/// Opens beside a writer, which has looked after file and schema.
pub fn beside(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    connect(path, options)
}

/// Opens for reading beside a writer.
pub fn reader(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let connection = beside(path, options)?;
    connection.pragma_update(None, "query_only", true).map_err(|e| explain(path, &e))?;
    Ok(connection)
}

fn connect(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| explain(path, &e))?;
    prepare(&connection, options).map_err(|e| explain(path, &e))?;
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(|e| explain(path, &e))? {
        return Err(OpenError::NotWritable { path: path.to_owned(), why: "read-only".to_owned() });
    }
    Ok(connection)
}

/// A new file is for the server's account alone; SQLite gives its log files the same mode.
pub fn create_private(path: &Path) -> Result<(), OpenError> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let not_writable =
        |e: std::io::Error| OpenError::NotWritable { path: path.to_owned(), why: e.to_string() };
    options.open(path).map(drop).map_err(not_writable)
}

/// Finds damage before the first request does.
fn check(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > CHECKED_BYTES_MAX) {
        return Ok(());
    }
    let found: Result<String, _> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match found.map_err(|e| explain(path, &e))? {
        ok if ok == "ok" => Ok(()),
        why => Err(OpenError::Damaged { path: path.to_owned(), why: why.replace('\n', " ") }),
    }
}

fn prepare(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    connection.busy_timeout(options.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Otherwise a statement whose table has a partial index on a constant is compiled again at each binding, in case the
    // value is that constant.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // FULL: a commit returns after the log is on the disk, which is what "acked means durable" rests on.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A deleted body must not linger in free pages.
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let report =
        embedded::migrations::runner().set_abort_missing(true).set_abort_divergent(true).run(connection);
    report.map(|_| ()).map_err(|error| {
        use refinery::error::Kind;
        let path = path.to_owned();
        match error.kind() {
            Kind::MissingVersion(found) => Newer::of(found).into_error(path),
            Kind::DivergentVersion(applied, _) => OpenError::Altered { path, version: version_of(applied) },
            Kind::Connection(what, source) => match source.downcast_ref::<rusqlite::Error>() {
                Some(sqlite) if sqlite.sqlite_error().is_some() => explain(&path, sqlite),
                _ => OpenError::Migration { path, why: format!("{what}: {source}") },
            },
            other => OpenError::Migration { path, why: other.to_string() },
        }
    })
}

/// Refinery numbers versions by 32 or 64 bits, signed; ours are small and positive.
fn version_of(migration: &refinery::Migration) -> u32 {
    migration.version().try_into().unwrap_or(u32::MAX)
}

/// Newest version of the schema that this program knows.
pub fn schema_version() -> u32 {
    embedded::migrations::runner().get_migrations().iter().map(version_of).max().unwrap_or(0)
}

struct Newer {
    found: u32,
}

impl Newer {
    fn of(migration: &refinery::Migration) -> Self {
        Self { found: version_of(migration) }
    }

    fn into_error(self, path: PathBuf) -> OpenError {
        let known = schema_version();
        if self.found > known {
            OpenError::Newer { path, found: self.found, known }
        } else {
            OpenError::Altered { path, version: self.found }
        }
    }
}

fn explain(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, why },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            OpenError::Locked { path }
        }
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull,
        ) => OpenError::NotWritable { path, why },
        _ => OpenError::Migration { path, why },
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn statements_are_compiled_once() {
        let folder = std::env::temp_dir().join(format!("store-open-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let connection = writer(&folder.join("store.db"), &Options::default()).unwrap();
        let mut find = connection.prepare("SELECT status FROM users WHERE id = ?1").unwrap();
        for id in [[1u8; 16], [2; 16], [3; 16]] {
            assert!(!find.exists([id]).unwrap());
        }
        assert_eq!(find.get_status(StatementStatus::RePrepare), 0);
        drop(find);
        drop(connection);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
