//! The account side in SQL: one function per call, run inside the call's transaction.

pub mod admin;
pub mod audit;
pub mod conversation;
pub mod erase;
pub mod export;
pub mod invite;
pub mod keys;
pub mod listing;
pub mod membership;
pub mod password;
pub mod profile;
pub mod register;
pub mod session;

use rusqlite::{OptionalExtension, Transaction};
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::value::status;
use crate::accounts::{AccountError, Answer, NAME_BYTES_MAX, PAGE_ROWS_MAX};

/// A trimmed name of sensible length without control characters.
pub fn clean_name(field: &'static str, text: &str) -> Answer<String> {
    let name = text.trim();
    if name.is_empty() {
        return Err(AccountError::Invalid { field, problem: "must not be empty" });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(AccountError::Invalid { field, problem: "at most 128 bytes" });
    }
    if name.chars().any(char::is_control) {
        return Err(AccountError::Invalid { field, problem: "no control characters" });
    }
    Ok(name.to_owned())
}

/// Cuts a text to so many bytes at a character boundary.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Rows of one page.
pub fn page(limit: u32) -> u32 {
    limit.clamp(1, PAGE_ROWS_MAX)
}

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
