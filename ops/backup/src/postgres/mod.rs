//! Backups of a PostgreSQL server: its own programs copy, check and recover; what is ours is the sealing around them.

mod choose;
pub mod drill;
mod lsn;
pub mod restore;
pub mod run;
mod server;
mod tools;
mod unpack;

pub use lsn::{LogFile, Lsn, NotALsn};
pub(crate) use tools::{Running, last_line};
pub use tools::{Tools, ToolsError};

use serde::{Deserialize, Serialize};

/// Where a base backup lies in the log of its server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// What tells the server from every other one.
    pub system: String,
    /// As the server counts: 150004 is 15.4.
    pub version: u32,
    pub segment_bytes: u64,
    pub timeline: u32,
    pub start: Lsn,
    /// From here on the copy is consistent.
    pub stop: Lsn,
    /// Who restores as whom, into what.
    pub user: String,
    pub database: String,
}

impl Base {
    /// The beginning of the first segment of the log that is not in the copy.
    pub fn log_after(&self) -> Lsn {
        Lsn(self.stop.0.next_multiple_of(self.segment_bytes.max(1)))
    }
}
