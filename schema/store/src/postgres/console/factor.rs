//! Second factors by codes: a secret is shown to one session until that confirms it, then one code per time step.

use schema_wire::UserId;

use super::letter;
use crate::accounts::{AccountError, Answer};
use crate::console::UNCONFIRMED_FACTOR_MS;
use crate::postgres::account::audit::record;
use crate::postgres::account::{must_be_active, own, standing_of};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, uint};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{FactorChange, SecondFactor};
use crate::stored::int;
use crate::token::TokenHash;

pub async fn find(tx: &Tx, user: UserId) -> Answer<Option<SecondFactor>> {
    let found = tx
        .query_opt(
            "SELECT secret, last_step FROM second_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL",
            &[&Id(user.0)],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(SecondFactor { secret: row.try_get(0)?, last_step: uint(&row, 1)? }))
}

pub async fn begin(tx: &Tx, user: UserId, session: TokenHash, secret: &[u8], now: u64) -> Answer<Vec<u8>> {
    own(tx, user).await?;
    must_be_active(Some(standing_of(tx, user, now).await?))?;
    if find(tx, user).await?.is_some() {
        return Err(AccountError::Overtaken);
    }
    let old = At(now.saturating_sub(UNCONFIRMED_FACTOR_MS));
    tx.execute(
        "DELETE FROM shown_factors WHERE session = $1 AND created_at <= $2",
        &[&session.0.as_slice(), &old],
    )
    .await?;
    // A page that is loaded again shows the same secret: it may have been scanned already.
    tx.execute(
        "INSERT INTO shown_factors (session, user_id, secret, created_at)
         SELECT id_hash, user_id, $3, $4 FROM sessions WHERE id_hash = $1 AND user_id = $2
         ON CONFLICT DO NOTHING",
        &[&session.0.as_slice(), &Id(user.0), &secret, &At(now)],
    )
    .await?;
    shown(tx, user, session).await?.ok_or(AccountError::NotFound)
}

pub async fn shown(tx: &Tx, user: UserId, session: TokenHash) -> Answer<Option<Vec<u8>>> {
    let found = tx
        .query_opt(
            "SELECT secret FROM shown_factors WHERE session = $1 AND user_id = $2",
            &[&session.0.as_slice(), &Id(user.0)],
        )
        .await?;
    found.map_or(Ok(None), |row| Ok(Some(row.try_get(0)?)))
}

pub async fn confirm(
    tx: &Tx,
    (user, session): (UserId, TokenHash),
    (secret, step): (&[u8], u64),
    by: &Origin,
    now: u64,
) -> Answer<()> {
    own(tx, user).await?;
    let is_shown = shown(tx, user, session).await?.as_deref() == Some(secret);
    if !is_shown || find(tx, user).await?.is_some() {
        return Err(AccountError::Overtaken);
    }
    // An earlier version kept here what was not confirmed.
    tx.execute(
        "INSERT INTO second_factors (user_id, secret, created_at, confirmed_at, last_step) VALUES ($1, $2, $3, $3, $4)
         ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at,
           confirmed_at = excluded.confirmed_at, last_step = excluded.last_step",
        &[&Id(user.0), &secret, &At(now), &int(step)],
    )
    .await?;
    forget_shown(tx, user).await?;
    letter::owe(tx, user, FactorChange::CodesAdded, "", now).await?;
    record(tx, audit_event::SECOND_FACTOR_ADDED, Some(user), "", by, now).await?;
    Ok(())
}

/// Forgets secrets that were never confirmed.
pub async fn forget_shown(tx: &Tx, user: UserId) -> Answer<()> {
    tx.execute("DELETE FROM shown_factors WHERE user_id = $1", &[&Id(user.0)]).await?;
    tx.execute("DELETE FROM second_factors WHERE user_id = $1 AND confirmed_at IS NULL", &[&Id(user.0)])
        .await?;
    Ok(())
}

/// Forgets codes and keys, and ends the account's sessions; how many factors.
pub async fn forget_all(tx: &Tx, user: UserId, by: &Origin, now: u64) -> Answer<u64> {
    own(tx, user).await?;
    standing_of(tx, user, now).await?;
    let codes = tx.execute("DELETE FROM second_factors WHERE user_id = $1", &[&Id(user.0)]).await?;
    let keys = tx.execute("DELETE FROM security_keys WHERE user_id = $1", &[&Id(user.0)]).await?;
    tx.execute("DELETE FROM sessions WHERE user_id = $1", &[&Id(user.0)]).await?;
    if codes + keys > 0 {
        letter::owe(tx, user, FactorChange::Forgotten, "", now).await?;
    }
    record(tx, audit_event::SECOND_FACTORS_FORGOTTEN, Some(user), "", by, now).await?;
    Ok(codes + keys)
}

pub async fn rewrite(tx: &Tx, user: UserId, from: &[u8], to: &[u8]) -> Answer<()> {
    tx.execute(
        "UPDATE second_factors SET secret = $3 WHERE user_id = $1 AND secret = $2",
        &[&Id(user.0), &from, &to],
    )
    .await?;
    Ok(())
}

pub async fn use_step(tx: &Tx, user: UserId, step: u64) -> Answer<bool> {
    own(tx, user).await?;
    let used = tx
        .execute(
            "UPDATE second_factors SET last_step = $2
             WHERE user_id = $1 AND last_step < $2 AND confirmed_at IS NOT NULL",
            &[&Id(user.0), &int(step)],
        )
        .await?;
    Ok(used > 0)
}
