//! Second factors: a secret until it is confirmed, then one code per time step.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::UserId;

use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::SecondFactor;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::must_be_active;
use crate::sqlite::value::uint;
use crate::stored::int;

pub fn find(tx: &Transaction<'_>, user: UserId) -> Answer<Option<SecondFactor>> {
    let found = tx
        .prepare_cached(
            "SELECT secret, confirmed_at IS NOT NULL, last_step FROM second_factors WHERE user_id = ?1",
        )?
        .query_row([user.0], |row| {
            Ok(SecondFactor { secret: row.get(0)?, confirmed: row.get(1)?, last_step: uint(row, 2)? })
        })
        .optional()?;
    Ok(found)
}

pub fn begin(tx: &Transaction<'_>, user: UserId, secret: &[u8], now: u64) -> Answer<SecondFactor> {
    must_be_active(tx, user, now)?;
    if find(tx, user)?.is_some_and(|factor| factor.confirmed) {
        return Err(AccountError::NotAllowed);
    }
    // A page that is loaded again shows the same secret: it may have been scanned already.
    tx.prepare_cached(
        "INSERT INTO second_factors (user_id, secret, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute(params![user.0, secret, int(now)])?;
    find(tx, user)?.ok_or(AccountError::NotFound)
}

pub fn rewrite(tx: &Transaction<'_>, user: UserId, from: &[u8], to: &[u8]) -> Answer<()> {
    tx.prepare_cached("UPDATE second_factors SET secret = ?3 WHERE user_id = ?1 AND secret = ?2")?
        .execute(params![user.0, from, to])?;
    Ok(())
}

pub fn use_step(tx: &Transaction<'_>, user: UserId, step: u64, by: &Origin, now: u64) -> Answer<bool> {
    let Some(factor) = find(tx, user)? else { return Err(AccountError::NotFound) };
    let used = tx
        .prepare_cached(
            "UPDATE second_factors SET last_step = ?2, confirmed_at = coalesce(confirmed_at, ?3)
             WHERE user_id = ?1 AND last_step < ?2",
        )?
        .execute(params![user.0, int(step), int(now)])?;
    if used > 0 && !factor.confirmed {
        record(tx, audit_event::SECOND_FACTOR_ADDED, Some(user), "", by, now)?;
    }
    Ok(used > 0)
}
