//! What is known of backups and of what a restored database went through.

use schema_wire::{Generation, UserId};

use super::account::AuditHead;

/// What a database holds, as a backup's manifest says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Version of the schema.
    pub schema: u32,
    pub generation: Generation,
    pub audit: AuditHead,
    pub users: u64,
    pub conversations: u64,
    pub messages: u64,
}

/// A PostgreSQL server, as backups need to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// What tells it from every other server, and stays the same for its standbys and restored copies.
    pub system: String,
    /// As the server counts: 150004 is 15.4.
    pub version: u32,
    /// Bytes of a segment of its log.
    pub segment_bytes: u64,
    /// Bytes of all its databases.
    pub bytes: u64,
    /// Whose connection it was.
    pub user: String,
    pub database: String,
}

/// How far a server's log goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogHead {
    /// The end of what is durable there, as PostgreSQL writes it.
    pub flushed: String,
    pub timeline: u32,
}

/// A line of the erasure ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erased {
    pub user: UserId,
    pub reason: String,
    /// Unix milliseconds.
    pub erased_at: u64,
}

/// What the first steps after a restore did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The new life of the store; clients of the old one are told to rewind.
    pub generation: Generation,
    /// One-time key packages dropped: each might have been handed out after the backup.
    pub packages_dropped: u64,
    /// Accounts erased again.
    pub erased_again: u64,
}

/// How a backup ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackupEnd {
    Done { bytes: u64, manifest_sha256: [u8; 32], generation: Generation, audit: AuditHead },
    Failed { why: String },
}

/// One attempt at a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupRow {
    /// SCHEDULED, MANUAL or SAFETY.
    pub kind: String,
    /// Place and name.
    pub location: String,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Unix milliseconds.
    pub finished_at: u64,
    pub end: BackupEnd,
}

/// A restore made to prove a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DrillRow {
    /// Whether the backup came back whole.
    pub passed: bool,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Unix milliseconds; all checks of what came back are over.
    pub finished_at: u64,
    /// From the first byte to a database that answers, in milliseconds; none when it never did.
    pub took_ms: Option<u64>,
    /// One line: the backup's name and what came back, or why it did not.
    pub detail: String,
}

impl DrillRow {
    /// What a restore takes; of a row from before that was kept, with the checks.
    pub fn restore_ms(&self) -> u64 {
        self.took_ms.unwrap_or(self.finished_at.saturating_sub(self.started_at))
    }
}

/// A reading of everything in backups that proves them authentic and whole, and the log after them without a gap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckRow {
    pub passed: bool,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Unix milliseconds.
    pub finished_at: u64,
    /// One line: what was checked, or what is wrong with it.
    pub detail: String,
}

/// How far the log of a server is sealed, said by whoever follows it. Times are unix milliseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogNote {
    /// All that the server had made durable by then is sealed.
    pub safe_at: u64,
    /// Bytes that the server had written then and that had not arrived.
    pub lag_bytes: u64,
    /// The position up to which it is sealed, as PostgreSQL writes it.
    pub sealed_to: String,
    /// The position from which on nothing is missing.
    pub unbroken_from: String,
    /// When that was sealed.
    pub unbroken_since: u64,
    /// Whether it goes on from the newest base backup: if not, it makes nothing any safer.
    pub continues: bool,
}

/// The same, and when that was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogNoted {
    pub note: LogNote,
    pub noted_at: u64,
}

impl LogNoted {
    /// The moment that a restore reaches by it.
    pub fn safe_at(&self) -> Option<u64> {
        self.note.continues.then_some(self.note.safe_at)
    }
}

/// What somebody asks of whoever makes backups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackupWork {
    /// A backup now.
    Run,
    /// A restore that proves the newest one.
    Drill,
}

impl BackupWork {
    /// As it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "RUN",
            Self::Drill => "DRILL",
        }
    }

    /// The work of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Run, Self::Drill].into_iter().find(|work| work.name() == name)
    }
}

/// Names such a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BackupRequestId(pub [u8; 16]);

impl From<[u8; 16]> for BackupRequestId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A request, and what became of it. Times are unix milliseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupRequest {
    pub id: BackupRequestId,
    pub work: BackupWork,
    /// A name; empty when its account is gone.
    pub asker: String,
    pub asked_at: u64,
    pub state: RequestState,
}

/// How far a request is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestState {
    /// Nobody has taken it yet.
    Waits,
    /// Nobody took it for an hour, and nobody will.
    Lapsed,
    Taken {
        at: u64,
    },
    Ended {
        at: u64,
        succeeded: bool,
        /// One line.
        detail: String,
    },
}
