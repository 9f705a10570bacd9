//! Changing and resetting the password. Only hashes come here; either way other sessions end.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::{DeviceId, UserId};

use super::audit::record;
use super::register::{keep_token, take_token};
use super::session::close_all;
use super::standing_of;
use crate::accounts::{AccountError, Answer};
use crate::email::normalise_email;
use crate::rows::account::{Origin, audit_event};
use crate::sqlite::value::{id, int};
use crate::token::{NewToken, TokenHash};

pub fn change(
    tx: &Transaction<'_>,
    user: UserId,
    password_hash: &str,
    keep: Option<DeviceId>,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    standing_of(tx, user, now)?;
    store(tx, user, password_hash, now)?;
    close_all(tx, user, keep, now)?;
    record(tx, audit_event::PASSWORD_CHANGED, Some(user), "", by, now)?;
    Ok(())
}

pub fn request_reset(
    tx: &Transaction<'_>,
    email: &str,
    token: NewToken,
    by: &Origin,
    now: u64,
) -> Answer<Option<UserId>> {
    let Some(email) = normalise_email(email) else { return Ok(None) };
    let user = tx
        .query_row(
            "SELECT id FROM users WHERE email = ?1 AND (status = 'ACTIVE'
               OR (status = 'SUSPENDED' AND suspended_until <= ?2))",
            params![email, int(now)],
            |row| id::<UserId>(row, 0),
        )
        .optional()?;
    if let Some(user) = user {
        keep_token(tx, user, "RESET", token, now)?;
        record(tx, audit_event::PASSWORD_RESET_REQUESTED, Some(user), "", by, now)?;
    }
    Ok(user)
}

pub fn reset(
    tx: &Transaction<'_>,
    token: TokenHash,
    password_hash: &str,
    by: &Origin,
    now: u64,
) -> Answer<UserId> {
    let user = take_token(tx, "RESET", token, now)?;
    standing_of(tx, user, now).map_err(|_| AccountError::TokenInvalid)?;
    store(tx, user, password_hash, now)?;
    close_all(tx, user, None, now)?;
    record(tx, audit_event::PASSWORD_RESET, Some(user), "", by, now)?;
    Ok(user)
}

fn store(tx: &Transaction<'_>, user: UserId, password_hash: &str, now: u64) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE users SET password_hash = ?2, updated_at = ?3 WHERE id = ?1",
        params![user.0, password_hash, int(now)],
    )?;
    // A reset that was asked for before is void now.
    tx.execute("DELETE FROM one_time_tokens WHERE user_id = ?1 AND purpose = 'RESET'", [user.0])?;
    Ok(())
}
