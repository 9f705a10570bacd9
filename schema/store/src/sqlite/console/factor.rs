//! Second factors by codes: a secret is shown to one session until that confirms it, then one code per time step.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::UserId;

use super::letter;
use crate::accounts::{AccountError, Answer};
use crate::console::UNCONFIRMED_FACTOR_MS;
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{FactorChange, SecondFactor};
use crate::sqlite::account::audit::record;
use crate::sqlite::account::{must_be_active, standing_of};
use crate::sqlite::value::uint;
use crate::stored::int;
use crate::token::TokenHash;

pub fn find(tx: &Transaction<'_>, user: UserId) -> Answer<Option<SecondFactor>> {
    let found = tx
        .prepare_cached(
            "SELECT secret, last_step FROM second_factors WHERE user_id = ?1 AND confirmed_at IS NOT NULL",
        )?
        .query_row([user.0], |row| Ok(SecondFactor { secret: row.get(0)?, last_step: uint(row, 1)? }))
        .optional()?;
    Ok(found)
}

pub fn begin(
    tx: &Transaction<'_>,
    user: UserId,
    session: TokenHash,
    secret: &[u8],
    now: u64,
) -> Answer<Vec<u8>> {
    must_be_active(tx, user, now)?;
    if find(tx, user)?.is_some() {
        return Err(AccountError::Overtaken);
    }
    let old = now.saturating_sub(UNCONFIRMED_FACTOR_MS);
    tx.prepare_cached("DELETE FROM shown_factors WHERE session = ?1 AND created_at <= ?2")?
        .execute(params![session.0, int(old)])?;
    // A page that is loaded again shows the same secret: it may have been scanned already.
    tx.prepare_cached(
        "INSERT INTO shown_factors (session, user_id, secret, created_at)
         SELECT id_hash, user_id, ?3, ?4 FROM sessions WHERE id_hash = ?1 AND user_id = ?2
         ON CONFLICT DO NOTHING",
    )?
    .execute(params![session.0, user.0, secret, int(now)])?;
    shown(tx, user, session)?.ok_or(AccountError::NotFound)
}

pub fn shown(tx: &Transaction<'_>, user: UserId, session: TokenHash) -> Answer<Option<Vec<u8>>> {
    let found = tx
        .prepare_cached("SELECT secret FROM shown_factors WHERE session = ?1 AND user_id = ?2")?
        .query_row(params![session.0, user.0], |row| row.get(0))
        .optional()?;
    Ok(found)
}

pub fn confirm(
    tx: &Transaction<'_>,
    (user, session): (UserId, TokenHash),
    (secret, step): (&[u8], u64),
    by: &Origin,
    now: u64,
) -> Answer<()> {
    let is_shown = shown(tx, user, session)?.as_deref() == Some(secret);
    if !is_shown || find(tx, user)?.is_some() {
        return Err(AccountError::Overtaken);
    }
    // An earlier version kept here what was not confirmed.
    forget_shown(tx, user)?;
    tx.execute(
        "INSERT INTO second_factors (user_id, secret, created_at, confirmed_at, last_step)
         VALUES (?1, ?2, ?3, ?3, ?4)",
        params![user.0, secret, int(now), int(step)],
    )?;
    letter::owe(tx, user, FactorChange::CodesAdded, "", now)?;
    record(tx, audit_event::SECOND_FACTOR_ADDED, Some(user), "", by, now)?;
    Ok(())
}

/// Forgets secrets that were never confirmed.
pub fn forget_shown(tx: &Transaction<'_>, user: UserId) -> Answer<()> {
    tx.prepare_cached("DELETE FROM shown_factors WHERE user_id = ?1")?.execute([user.0])?;
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
    if codes + keys > 0 {
        letter::owe(tx, user, FactorChange::Forgotten, "", now)?;
    }
    record(tx, audit_event::SECOND_FACTORS_FORGOTTEN, Some(user), "", by, now)?;
    Ok((codes + keys) as u64)
}

pub fn rewrite(tx: &Transaction<'_>, user: UserId, from: &[u8], to: &[u8]) -> Answer<()> {
    tx.prepare_cached("UPDATE second_factors SET secret = ?3 WHERE user_id = ?1 AND secret = ?2")?
        .execute(params![user.0, from, to])?;
    Ok(())
}

pub fn use_step(tx: &Transaction<'_>, user: UserId, step: u64) -> Answer<bool> {
    let used = tx
        .prepare_cached(
            "UPDATE second_factors SET last_step = ?2
             WHERE user_id = ?1 AND last_step < ?2 AND confirmed_at IS NOT NULL",
        )?
        .execute(params![user.0, int(step)])?;
    Ok(used > 0)
}
