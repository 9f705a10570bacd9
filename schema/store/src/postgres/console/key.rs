//! Security keys and the challenges they answer: a challenge is taken once, a counter only grows. Whoever changes an
//! account's keys holds its own lock.

use schema_wire::UserId;
use tokio_postgres::Row;

use super::{factor, letter};
use crate::accept::clean_name;
use crate::accounts::{AccountError, Answer};
use crate::console::{CHALLENGE_MS, SECURITY_KEYS_MAX, counts_on};
use crate::postgres::account::audit::record;
use crate::postgres::account::read::{account_role, hash};
use crate::postgres::account::{must_be_active, own, standing_of};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time, time_opt, uint};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{
    ChallengePurpose, FactorChange, KeyUse, NewSecurityKey, SecurityKey, SecurityKeyId,
};
use crate::rows::role::AccountRole;
use crate::token::TokenHash;

const ROW: &str =
    "SELECT id, name, credential, public_key, sign_count, created_at, last_used_at, backup_eligible
     FROM security_keys";

pub async fn challenge(
    tx: &Tx,
    session: TokenHash,
    purpose: ChallengePurpose,
    challenge: &[u8; 32],
    now: u64,
) -> Answer<()> {
    let kept = tx
        .execute(
            "INSERT INTO key_challenges (session, purpose, challenge, expires_at)
             SELECT id_hash, $2, $3, $4 FROM sessions WHERE id_hash = $1
             ON CONFLICT (session, purpose) DO UPDATE SET challenge = excluded.challenge, expires_at = excluded.expires_at",
            &[&session.0.as_slice(), &purpose.name(), &challenge.as_slice(), &At(now + CHALLENGE_MS)],
        )
        .await?;
    if kept == 0 { Err(AccountError::NotFound) } else { Ok(()) }
}

pub async fn answered(
    tx: &Tx,
    session: TokenHash,
    purpose: ChallengePurpose,
    now: u64,
) -> Answer<Option<[u8; 32]>> {
    let taken = tx
        .query_opt(
            "DELETE FROM key_challenges WHERE session = $1 AND purpose = $2 RETURNING challenge, expires_at",
            &[&session.0.as_slice(), &purpose.name()],
        )
        .await?;
    let Some(row) = taken else { return Ok(None) };
    if time(&row, 1)? > now { hash(&row, 0).map(Some) } else { Ok(None) }
}

pub async fn list(tx: &Tx, user: UserId) -> Answer<Vec<SecurityKey>> {
    let rows = tx.query(&format!("{ROW} WHERE user_id = $1 ORDER BY created_at, id"), &[&Id(user.0)]).await?;
    rows.iter().map(security_key).collect()
}

pub async fn add(
    tx: &Tx,
    user: UserId,
    new: &NewSecurityKey,
    by: &Origin,
    now: u64,
) -> Answer<SecurityKeyId> {
    own(tx, user).await?;
    must_be_active(Some(standing_of(tx, user, now).await?))?;
    let name = clean_name("name", &new.name)?;
    if list(tx, user).await?.len() >= SECURITY_KEYS_MAX {
        return Err(AccountError::TooMany { limit: SECURITY_KEYS_MAX });
    }
    let key = SecurityKeyId(crate::fresh_id(now));
    let added = tx
        .execute(
            "INSERT INTO security_keys (id, user_id, credential, public_key, sign_count, name, created_at,
               backup_eligible)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            &[
                &Id(key.0),
                &Id(user.0),
                &new.credential,
                &new.public_key,
                &i64::from(new.sign_count),
                &name,
                &At(now),
                &new.backup_eligible,
            ],
        )
        .await?;
    if added == 0 {
        return Err(AccountError::Overtaken);
    }
    factor::forget_shown(tx, user).await?;
    letter::owe(tx, user, FactorChange::KeyAdded, &name, now).await?;
    record(tx, audit_event::SECURITY_KEY_ADDED, Some(user), &name, by, now).await?;
    Ok(key)
}

pub async fn used(
    tx: &Tx,
    user: UserId,
    key: SecurityKeyId,
    said: KeyUse,
    by: &Origin,
    now: u64,
) -> Answer<bool> {
    own(tx, user).await?;
    let kept = find(tx, user, key).await?;
    if !counts_on(kept.sign_count, said.sign_count) {
        let detail = format!("security key {}: its counter went back, it may have a copy", kept.name);
        record(tx, audit_event::SUSPICIOUS_ACTIVITY, Some(user), &detail, by, now).await?;
        return Ok(false);
    }
    tx.execute(
        "UPDATE security_keys SET sign_count = $2, last_used_at = $3,
           backup_eligible = coalesce(backup_eligible, $4)
         WHERE id = $1",
        &[&Id(key.0), &i64::from(said.sign_count), &At(now), &said.backup_eligible],
    )
    .await?;
    Ok(true)
}

pub async fn remove(tx: &Tx, user: UserId, key: SecurityKeyId, by: &Origin, now: u64) -> Answer<()> {
    own(tx, user).await?;
    let kept = find(tx, user, key).await?;
    let role = account_role(&tx.query_one("SELECT role FROM users WHERE id = $1", &[&Id(user.0)]).await?, 0)?;
    let has_codes = factor::find(tx, user).await?.is_some();
    if role == AccountRole::Admin && !has_codes && list(tx, user).await?.len() == 1 {
        return Err(AccountError::NotAllowed);
    }
    tx.execute("DELETE FROM security_keys WHERE id = $1", &[&Id(key.0)]).await?;
    letter::owe(tx, user, FactorChange::KeyRemoved, &kept.name, now).await?;
    record(tx, audit_event::SECURITY_KEY_REMOVED, Some(user), &kept.name, by, now).await?;
    Ok(())
}

async fn find(tx: &Tx, user: UserId, key: SecurityKeyId) -> Answer<SecurityKey> {
    let found =
        tx.query_opt(&format!("{ROW} WHERE id = $1 AND user_id = $2"), &[&Id(key.0), &Id(user.0)]).await?;
    security_key(&found.ok_or(AccountError::NotFound)?)
}

fn security_key(row: &Row) -> Answer<SecurityKey> {
    Ok(SecurityKey {
        id: id(row, 0)?,
        name: row.try_get(1)?,
        credential: row.try_get(2)?,
        public_key: row.try_get(3)?,
        sign_count: u32::try_from(uint(row, 4)?).unwrap_or(u32::MAX),
        created_at: time(row, 5)?,
        last_used_at: time_opt(row, 6)?,
        backup_eligible: row.try_get(7)?,
    })
}
