//! Second factors: a secret until it is confirmed, then one code per time step.

use schema_wire::UserId;

use crate::accounts::{AccountError, Answer};
use crate::console::UNCONFIRMED_FACTOR_MS;
use crate::postgres::account::audit::record;
use crate::postgres::account::{must_be_active, own, standing_of};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, uint};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::SecondFactor;
use crate::stored::int;

pub async fn find(tx: &Tx, user: UserId) -> Answer<Option<SecondFactor>> {
    let found = tx
        .query_opt(
            "SELECT secret, confirmed_at IS NOT NULL, last_step FROM second_factors WHERE user_id = $1",
            &[&Id(user.0)],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(SecondFactor { secret: row.try_get(0)?, confirmed: row.try_get(1)?, last_step: uint(&row, 2)? }))
}

pub async fn begin(tx: &Tx, user: UserId, secret: &[u8], now: u64) -> Answer<SecondFactor> {
    own(tx, user).await?;
    must_be_active(Some(standing_of(tx, user, now).await?))?;
    if find(tx, user).await?.is_some_and(|factor| factor.confirmed) {
        return Err(AccountError::NotAllowed);
    }
    let old = At(now.saturating_sub(UNCONFIRMED_FACTOR_MS));
    tx.execute("DELETE FROM second_factors WHERE user_id = $1 AND created_at <= $2", &[&Id(user.0), &old])
        .await?;
    // A page that is loaded again shows the same secret: it may have been scanned already.
    tx.execute(
        "INSERT INTO second_factors (user_id, secret, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        &[&Id(user.0), &secret, &At(now)],
    )
    .await?;
    find(tx, user).await?.ok_or(AccountError::NotFound)
}

/// Forgets a secret that was never confirmed.
pub async fn forget_unconfirmed(tx: &Tx, user: UserId) -> Answer<()> {
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

pub async fn use_step(tx: &Tx, user: UserId, step: u64, by: &Origin, now: u64) -> Answer<bool> {
    own(tx, user).await?;
    let Some(factor) = find(tx, user).await? else { return Err(AccountError::NotFound) };
    let used = tx
        .execute(
            "UPDATE second_factors SET last_step = $2, confirmed_at = coalesce(confirmed_at, $3)
             WHERE user_id = $1 AND last_step < $2",
            &[&Id(user.0), &int(step), &At(now)],
        )
        .await?;
    if used > 0 && !factor.confirmed {
        record(tx, audit_event::SECOND_FACTOR_ADDED, Some(user), "", by, now).await?;
    }
    Ok(used > 0)
}
