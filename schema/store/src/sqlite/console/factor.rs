//! Second factors: a secret until it is confirmed, then one code per time step.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::UserId;

use crate::accounts::{AccountError, Answer};
use crate::console::UNCONFIRMED_FACTOR_MS;
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::SecondFactor;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::{must_be_active, standing_of};
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
    let old = now.saturating_sub(UNCONFIRMED_FACTOR_MS);
    tx.prepare_cached("DELETE FROM second_factors WHERE user_id = ?1 AND created_at <= ?2")?
        .execute(params![user.0, int(old)])?;
    // A page that is loaded again shows the same secret: it may have been scanned already.
    tx.prepare_cached(
        "INSERT INTO second_factors (user_id, secret, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute(params![user.0, secret, int(now)])?;
    find(tx, user)?.ok_or(AccountError::NotFound)
}

/// Forgets a secret that was never confirmed.
pub fn forget_unconfirmed(tx: &Transaction<'_>, user: UserId) -> Answer<()> {
    tx.prepare_cached("DELETE FROM second_factors WHERE user_id = ?1 AND confirmed_at IS NULL")?
        .execute([user.0])?;
    Ok(())
}

/// Forgets codes and keys, and ends the account's sessions; how many factors.
pub fn forget_all(tx: &Transaction<'_>, user: UserId, by: &Origin, now: u64) -> Answer<u64> {
    standing_of(tx, user, now)?;
    let codes = tx.execute("DELETE FROM second_factors WHERE user_id = ?1", [user.0])?;
    let keys = tx.execute("DELETE FROM security_keys WHERE user_id = ?1", [user.0])?;
    tx.execute("DELETE FROM sessions WHERE user_id = ?1", [user.0])?;
    record(tx, audit_event::SECOND_FACTORS_FORGOTTEN, Some(user), "", by, now)?;
    Ok((codes + keys) as u64)
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
