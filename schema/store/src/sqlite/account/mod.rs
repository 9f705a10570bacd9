//! The account side in SQL: one function per call, run inside the call's transaction.

pub mod admin;
pub mod administrators;
pub mod audit;
pub mod conversation;
pub mod erase;
pub mod export;
pub mod invitation;
pub mod invite;
pub mod keys;
pub mod listing;
pub mod membership;
pub mod password;
pub mod profile;
pub mod register;
pub mod request;
pub mod session;

use rusqlite::{OptionalExtension, Transaction};
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::value::status;
use crate::accounts::{AccountError, Answer};

/// The status of an account that exists and is not deleted.
pub fn standing_of(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<UserStatus> {
    let found = tx
        .prepare_cached("SELECT status, suspended_until FROM users WHERE id = ?1")?
        .query_row([user.0], |row| status(row, 0, now))
        .optional()?;
    match found {
        None | Some(UserStatus::Deleted) => Err(AccountError::NotFound),
        Some(status) => Ok(status),
    }
}

/// The same, refused unless the account is active.
pub fn must_be_active(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<()> {
    match standing_of(tx, user, now)? {
        UserStatus::Active => Ok(()),
        other => Err(AccountError::NotActive(other)),
    }
}
