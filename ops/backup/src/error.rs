//! Why a backup, a check or a restore did not come about. Each text says what to do.

use schema_store::sqlite::CopyError;
use schema_store::{AccountError, OpenError as DatabaseError};

use crate::key::KeyError;
use crate::manifest::ManifestError;
use crate::name::NotAName;
use crate::place::PlaceError;
use crate::seal::{OpenError, SealError};

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Name(#[from] NotAName),
    #[error("{name}: {why}; use another backup")]
    Manifest { name: String, why: ManifestError },
    #[error("{object}: {why}; use another backup")]
    Object { object: String, why: OpenError },
    #[error("{object}: {bytes} bytes, where the manifest says {expected}; use another backup")]
    Size { object: String, bytes: u64, expected: u64 },
    #[error("{object}: not the object of the manifest; use another backup")]
    Hash { object: String },
    #[error("{name}: the database in it is not as the manifest says; use another backup")]
    Contents { name: String },
    #[error("{name}: {why}")]
    Unsound { name: String, why: CopyError },
    #[error("{place}: no backup there yet; make one with `messenger backup run`")]
    None { place: String },
    #[error("{name}: no such backup, or it was interrupted; `messenger backup list` shows them")]
    NoSuch { name: String },
    #[error(
        "{name}: made by a newer version (schema {schema}, this program knows {known}); update this program"
    )]
    Newer { name: String, schema: u32, known: u32 },
    #[error("another backup or restore runs on {folder}; wait for it")]
    Busy { folder: String },
    #[error("another drill runs in {folder}; wait for it")]
    Drilling { folder: String },
    #[error(
        "{place}: the newest backup there, {name}, is of the future: set this machine's clock, or move that backup out of the place if it was made under a wrong one"
    )]
    Clock { place: String, name: String },
    #[error("{object} went while the backup was made; see who prunes there, and make another")]
    Pruned { object: String },
    #[error("others take every name there; try again")]
    SameSecond,
    #[error("{folder}: not empty; name another folder with --data, or say --replace")]
    NotEmpty { folder: String },
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the restored database does not work: {0}")]
    Prepare(AccountError),
    #[error(
        "{name}: the audit trail in it is broken at entry {entry}; use another backup and find out who changed it"
    )]
    Audit { name: String, entry: u64 },
    #[error("sealing failed: {0}")]
    Seal(#[from] SealError),
    #[error("{path}: no room left; free some")]
    NoRoom { path: String },
    #[error("{path}: {why}")]
    File { path: String, why: std::io::Error },
    #[error("io_uring cannot be used: {0}; allow it in the container's seccomp profile")]
    Ring(std::io::Error),
    #[error(transparent)]
    Tools(#[from] crate::postgres::ToolsError),
    #[error("DATABASE_URL: {0}")]
    Server(schema_store::postgres::OpenError),
    #[error(transparent)]
    Migrate(schema_store::postgres::MigrateError),
    #[error("the copy of the database could not be read: {0}")]
    Stream(std::io::Error),
    #[error("{segment} in {place}: {why}; recovery ends before it")]
    Log { place: String, segment: String, why: String },
    #[error(
        "the server is on timeline {timeline}, and timeline {sealed} of its log is sealed in {place} already: follow the server that took its place, or name another place"
    )]
    Left { place: String, timeline: u32, sealed: u32 },
    #[error("{0}")]
    Target(String),
    #[error("a thread of the backup ended early; try again")]
    Thread,
}

impl BackupError {
    /// An error of a file of this machine.
    pub(crate) fn file(path: &std::path::Path, why: std::io::Error) -> Self {
        let path = path.display().to_string();
        match why.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::NoRoom { path },
            _ => Self::File { path, why },
        }
    }
}
