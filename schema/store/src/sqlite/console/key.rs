//! Security keys and the challenges they answer: a challenge is taken once, a counter only grows.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use super::{factor, letter};
use crate::accept::clean_name;
use crate::accounts::{AccountError, Answer};
use crate::console::{CHALLENGE_MS, SECURITY_KEYS_MAX, counts_on};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{
    ChallengePurpose, FactorChange, KeyUse, NewSecurityKey, SecurityKey, SecurityKeyId,
};
use crate::rows::role::AccountRole;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::must_be_active;
use crate::sqlite::value::{account_role, id, small, uint, uint_opt};
use crate::stored::int;
use crate::token::TokenHash;

const ROW: &str =
    "SELECT id, name, credential, public_key, sign_count, created_at, last_used_at, backup_eligible
     FROM security_keys";

pub fn challenge(
    tx: &Transaction<'_>,
    session: TokenHash,
    purpose: ChallengePurpose,
    challenge: &[u8; 32],
    now: u64,
) -> Answer<()> {
    let kept = tx
        .prepare_cached(
            "INSERT INTO key_challenges (session, purpose, challenge, expires_at)
             SELECT id_hash, ?2, ?3, ?4 FROM sessions WHERE id_hash = ?1
             ON CONFLICT (session, purpose) DO UPDATE SET challenge = excluded.challenge, expires_at = excluded.expires_at",
        )?
        .execute(params![session.0, purpose.name(), challenge, int(now + CHALLENGE_MS)])?;
    if kept == 0 { Err(AccountError::NotFound) } else { Ok(()) }
}

pub fn answered(
    tx: &Transaction<'_>,
    session: TokenHash,
    purpose: ChallengePurpose,
    now: u64,
) -> Answer<Option<[u8; 32]>> {
    let taken: Option<([u8; 32], u64)> = tx
        .prepare_cached(
            "DELETE FROM key_challenges WHERE session = ?1 AND purpose = ?2 RETURNING challenge, expires_at",
        )?
        .query_row(params![session.0, purpose.name()], |row| Ok((row.get(0)?, uint(row, 1)?)))
        .optional()?;
    Ok(taken.filter(|(_, expires_at)| *expires_at > now).map(|(challenge, _)| challenge))
}

pub fn list(tx: &Transaction<'_>, user: UserId) -> Answer<Vec<SecurityKey>> {
    let mut find = tx.prepare_cached(&format!("{ROW} WHERE user_id = ?1 ORDER BY created_at, id"))?;
    let rows = find.query_map([user.0], security_key)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn add(
    tx: &Transaction<'_>,
    user: UserId,
    new: &NewSecurityKey,
    by: &Origin,
    now: u64,
) -> Answer<SecurityKeyId> {
    must_be_active(tx, user, now)?;
    let name = clean_name("name", &new.name)?;
    if list(tx, user)?.len() >= SECURITY_KEYS_MAX {
        return Err(AccountError::TooMany { limit: SECURITY_KEYS_MAX });
    }
    let key = SecurityKeyId(crate::fresh_id(now));
    let added = tx.execute(
        "INSERT INTO security_keys (id, user_id, credential, public_key, sign_count, name, created_at,
           backup_eligible)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        params![
            key.0,
            user.0,
            new.credential,
            new.public_key,
            new.sign_count,
            name,
            int(now),
            new.backup_eligible
        ],
    )?;
    if added == 0 {
        return Err(AccountError::Overtaken);
    }
    factor::forget_shown(tx, user)?;
    letter::owe(tx, user, FactorChange::KeyAdded, &name, now)?;
    record(tx, audit_event::SECURITY_KEY_ADDED, Some(user), &name, by, now)?;
    Ok(key)
}

pub fn used(
    tx: &Transaction<'_>,
    user: UserId,
    key: SecurityKeyId,
    said: KeyUse,
    by: &Origin,
    now: u64,
) -> Answer<bool> {
    let kept = find(tx, user, key)?;
    if !counts_on(kept.sign_count, said.sign_count) {
        let detail = format!("security key {}: its counter went back, it may have a copy", kept.name);
        record(tx, audit_event::SUSPICIOUS_ACTIVITY, Some(user), &detail, by, now)?;
        return Ok(false);
    }
    tx.execute(
        "UPDATE security_keys SET sign_count = ?2, last_used_at = ?3,
           backup_eligible = coalesce(backup_eligible, ?4)
         WHERE id = ?1",
        params![key.0, said.sign_count, int(now), said.backup_eligible],
    )?;
    Ok(true)
}

pub fn remove(tx: &Transaction<'_>, user: UserId, key: SecurityKeyId, by: &Origin, now: u64) -> Answer<()> {
    let kept = find(tx, user, key)?;
    let role = tx.query_row("SELECT role FROM users WHERE id = ?1", [user.0], |row| account_role(row, 0))?;
    let is_only = list(tx, user)?.len() == 1 && factor::find(tx, user)?.is_none();
    if role == AccountRole::Admin && is_only {
        return Err(AccountError::NotAllowed);
    }
    tx.execute("DELETE FROM security_keys WHERE id = ?1", [key.0])?;
    letter::owe(tx, user, FactorChange::KeyRemoved, &kept.name, now)?;
    record(tx, audit_event::SECURITY_KEY_REMOVED, Some(user), &kept.name, by, now)?;
    Ok(())
}

fn find(tx: &Transaction<'_>, user: UserId, key: SecurityKeyId) -> Answer<SecurityKey> {
    let found = tx
        .prepare_cached(&format!("{ROW} WHERE id = ?1 AND user_id = ?2"))?
        .query_row(params![key.0, user.0], security_key)
        .optional()?;
    found.ok_or(AccountError::NotFound)
}

fn security_key(row: &Row<'_>) -> rusqlite::Result<SecurityKey> {
    Ok(SecurityKey {
        id: id(row, 0)?,
        name: row.get(1)?,
        credential: row.get(2)?,
        public_key: row.get(3)?,
        sign_count: small(row, 4)?,
        created_at: uint(row, 5)?,
        last_used_at: uint_opt(row, 6)?,
        backup_eligible: row.get(7)?,
    })
}
