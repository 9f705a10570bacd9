//! SQLite's errors as faults: a full disk is told apart, everything else is "unavailable" and logged without data.

use rusqlite::{Error, ErrorCode};
use schema_wire::record::StoreFault;

use crate::accounts::AccountError;

/// What the caller is told.
pub fn fault(error: &Error) -> StoreFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            tracing::warn!("the disk is full: nothing is stored until there is room again");
            StoreFault::Full
        }
        code => {
            tracing::warn!(?code, extended = ?error.sqlite_error().map(|e| e.extended_code), "the store failed");
            StoreFault::Unavailable
        }
    }
}

impl From<Error> for AccountError {
    fn from(error: Error) -> Self {
        Self::Fault(fault(&error))
    }
}

/// Whether an insert met a row with the same unique value.
pub fn is_taken(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
        && error.sqlite_error().is_some_and(|e| {
            matches!(
                e.extended_code,
                rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            )
        })
}
