//! How a command ends when it cannot do its work: one clear line, and an exit code a script can act on.

use std::fmt::Display;
use std::process::ExitCode;

use ::backup::BackupError;
use ::backup::place::PlaceError;
use relay_server::lease::LeaseError;
use relay_server::mesh::nodes::BusError;
use relay_server::ring::socket::SocketError;
use relay_server::start::StartError;
use schema_store::OpenError;
use schema_store::postgres::{self, MigrateError};

/// What PostgreSQL's programs say without room.
const NO_ROOM: &str = "No space left on device";

/// Exit codes, documented in CONFIGURATION.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Other = 1,
    Settings = 2,
    Port = 3,
    Folder = 4,
    Damaged = 5,
    Newer = 6,
    Host = 7,
    Database = 8,
    Older = 9,
    Key = 10,
    Place = 11,
    Room = 12,
    Busy = 13,
    Refused = 14,
    NoBackup = 15,
    Old = 16,
    Warning = 17,
    Unwell = 18,
    Chain = 19,
}

#[cfg(test)]
impl Code {
    /// All of them, in order.
    pub const ALL: [Self; 19] = [
        Self::Other,
        Self::Settings,
        Self::Port,
        Self::Folder,
        Self::Damaged,
        Self::Newer,
        Self::Host,
        Self::Database,
        Self::Older,
        Self::Key,
        Self::Place,
        Self::Room,
        Self::Busy,
        Self::Refused,
        Self::NoBackup,
        Self::Old,
        Self::Warning,
        Self::Unwell,
        Self::Chain,
    ];

    /// What it tells a script.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Other => "Anything else.",
            Self::Settings => "A flag, variable or file of settings is wrong.",
            Self::Port => "A port is in use or not ours to take.",
            Self::Folder => "The data folder cannot be used, or another process uses it.",
            Self::Damaged => "The database is damaged.",
            Self::Newer => "The database was written by a newer version.",
            Self::Database => "PostgreSQL cannot be reached, or refuses this program.",
            Self::Older => "The database has an older schema: run `messenger migrate`.",
            Self::Host => {
                "The host lacks something: io_uring, locked memory, programs of PostgreSQL, the right time."
            }
            Self::Key => "There is no backup key, it is refused, or it is not the one that sealed.",
            Self::Place => "The place of backups is not there, is not reached, or denies.",
            Self::Room => "No room left on this machine or in the place of backups.",
            Self::Busy => "Another backup or restore runs.",
            Self::Refused => "A backup was altered or is damaged; nothing was restored.",
            Self::NoBackup => "There is no such backup.",
            Self::Old => "What is safe in backups is too old.",
            Self::Warning => "`health`: something should be looked at.",
            Self::Unwell => "`health`: something does not work.",
            Self::Chain => "The audit trail is broken, or lacks entries that are known to have been in it.",
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

impl Failure {
    /// A failure with its code.
    pub fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// One without a code of its own.
    pub fn other(error: impl Display) -> Self {
        Self::new(Code::Other, format!("{error:#}"))
    }

    /// The store could not be opened.
    pub fn store(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Damaged { .. } | OpenError::Altered { .. } => Code::Damaged,
            OpenError::Newer { .. } => Code::Newer,
            OpenError::NotWritable { .. } | OpenError::Locked { .. } => Code::Folder,
            OpenError::Migration { .. } | OpenError::Thread(_) => Code::Other,
        };
        Self::new(code, error)
    }

    /// PostgreSQL could not be opened.
    pub fn database(error: postgres::OpenError) -> Self {
        use postgres::OpenError::*;
        let code = match &error {
            Url | SslMode | NoCertificates | Certificates { .. } | ReadOnly { .. } => Code::Settings,
            Older { .. } => Code::Older,
            Newer { .. } => Code::Newer,
            Unreachable { .. } | Tls { .. } | Refused { .. } | NoDatabase { .. } | NotAllowed { .. } => {
                Code::Database
            }
            Failed { .. } => Code::Database,
            Redis(fault) => return Self::new(Code::Settings, format!("REDIS_URL: {fault}")),
            Thread(_) => Code::Other,
        };
        Self::new(code, format!("DATABASE_URL: {error}"))
    }

    /// The schema could not be brought up to date.
    pub fn migrate(error: MigrateError) -> Self {
        let code = match error {
            MigrateError::Open(error) => return Self::database(error),
            MigrateError::Newer { .. } => Code::Newer,
            MigrateError::Altered { .. } => Code::Damaged,
            MigrateError::Failed(_) => Code::Database,
        };
        Self::new(code, error)
    }

    /// The relay could not start.
    pub fn start(error: StartError) -> Self {
        let code = match &error {
            StartError::Ring(_) => Code::Host,
            StartError::Socket(SocketError::Other { .. }) => Code::Other,
            StartError::Socket(_) => Code::Port,
            StartError::Keys(_) | StartError::Certificate(_) | StartError::Bus(BusError::Redis(_)) => {
                Code::Settings
            }
            StartError::File { .. } | StartError::LocalCa(_) => Code::Folder,
            StartError::Io { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Code::Port,
            _ => Code::Other,
        };
        Self::new(code, error)
    }

    /// The node got no number.
    pub fn lease(error: LeaseError) -> Self {
        let code = match &error {
            LeaseError::Taken(_) | LeaseError::None => Code::Settings,
            LeaseError::Lost(_) | LeaseError::Store(_) => Code::Other,
        };
        Self::new(code, error)
    }

    /// The account API could not start.
    pub fn api(error: console::ServeFault) -> Self {
        let code = match &error {
            console::ServeFault::Bind { .. } => Code::Port,
            console::ServeFault::Key(_)
            | console::ServeFault::Seal(_)
            | console::ServeFault::Mail(_)
            | console::ServeFault::Redis(_) => Code::Settings,
            console::ServeFault::Store(_) => Code::Other,
        };
        Self::new(code, error)
    }

    /// A backup, a check or a restore did not come about.
    pub fn backup(error: BackupError) -> Self {
        use ::backup::manifest::ManifestError;
        use ::backup::postgres::ToolsError;
        use ::backup::seal::OpenError as Unopened;
        use schema_store::sqlite::CopyError;
        let code = match error {
            BackupError::Server(error) => return Self::database(error),
            BackupError::Migrate(error) => return Self::migrate(error),
            BackupError::Key(_)
            | BackupError::Manifest { why: ManifestError::UnknownKey(_), .. }
            | BackupError::Object { why: Unopened::UnknownKey(_), .. } => Code::Key,
            BackupError::Manifest { .. }
            | BackupError::Object { .. }
            | BackupError::Size { .. }
            | BackupError::Hash { .. }
            | BackupError::Contents { .. }
            | BackupError::Audit { .. }
            | BackupError::Unsound { .. }
            | BackupError::Place(PlaceError::Missing { .. }) => Code::Refused,
            BackupError::Place(PlaceError::Full { .. })
            | BackupError::NoRoom { .. }
            | BackupError::Copy(CopyError::Full { .. }) => Code::Room,
            BackupError::Tools(ToolsError::Failed { ref why, .. }) if why.contains(NO_ROOM) => Code::Room,
            BackupError::Clock { .. } | BackupError::Place(PlaceError::Clock { .. }) => Code::Host,
            BackupError::Place(_) => Code::Place,
            BackupError::Name(_) => Code::Settings,
            BackupError::None { .. } | BackupError::NoSuch { .. } => Code::NoBackup,
            BackupError::Newer { .. } => Code::Newer,
            BackupError::Busy { .. }
            | BackupError::Drilling { .. }
            | BackupError::SameSecond
            | BackupError::Pruned { .. } => Code::Busy,
            BackupError::NotEmpty { .. } | BackupError::File { .. } | BackupError::Copy(_) => Code::Folder,
            BackupError::Database(_)
            | BackupError::Prepare(_)
            | BackupError::Seal(_)
            | BackupError::Thread => Code::Other,
            BackupError::Ring(_) => Code::Host,
            BackupError::Tools(ToolsError::Missing { .. } | ToolsError::Version { .. }) => Code::Host,
            BackupError::Tools(_) | BackupError::Stream(_) => Code::Database,
            BackupError::Log { .. } | BackupError::Left { .. } => Code::Refused,
            BackupError::Target(_) => Code::Folder,
        };
        Self::new(code, error)
    }

    /// Prints the line and gives the code.
    pub fn report(&self) -> ExitCode {
        tell!("messenger: {}", self.message);
        ExitCode::from(self.code as u8)
    }
}
