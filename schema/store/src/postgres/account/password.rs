//! Changing and resetting the password. Only hashes come here; either way other sessions end.

use schema_wire::{DeviceId, UserId};

use super::audit::record;
use super::read::ids;
use super::register::{keep_token, take_token};
use super::session::close_all;
use super::{own, standing_of};
use crate::accounts::{AccountError, Answer};
use crate::email::normalise_email;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id};
use crate::rows::account::{Origin, audit_event};
use crate::token::{NewToken, TokenHash};

pub async fn change(
    tx: &Tx,
    user: UserId,
    password_hash: &str,
    keep: Option<DeviceId>,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    own(tx, user).await?;
    standing_of(tx, user, now).await?;
    store(tx, user, password_hash, now).await?;
    close_all(tx, user, keep, now).await?;
    record(tx, audit_event::PASSWORD_CHANGED, Some(user), "", by, now).await?;
    Ok(())
}

pub async fn request_reset(
    tx: &Tx,
    email: &str,
    token: NewToken,
    by: &Origin,
    now: u64,
) -> Answer<Option<UserId>> {
    let Some(email) = normalise_email(email) else { return Ok(None) };
    let Some(user) = resettable(tx, &email, now).await? else { return Ok(None) };
    own(tx, user).await?;
    // The account may have been another's to change until now.
    if resettable(tx, &email, now).await? != Some(user) {
        return Ok(None);
    }
    keep_token(tx, user, "RESET", token, now).await?;
    record(tx, audit_event::PASSWORD_RESET_REQUESTED, Some(user), "", by, now).await?;
    Ok(Some(user))
}

async fn resettable(tx: &Tx, email: &str, now: u64) -> Answer<Option<UserId>> {
    let found = tx
        .query(
            "SELECT id FROM users WHERE email = $1 AND (status = 'ACTIVE'
               OR (status = 'SUSPENDED' AND suspended_until <= $2))",
            &[&email, &At(now)],
        )
        .await?;
    Ok(ids(&found)?.pop())
}

pub async fn reset(tx: &Tx, token: TokenHash, password_hash: &str, by: &Origin, now: u64) -> Answer<UserId> {
    let user = take_token(tx, "RESET", token, now).await?;
    match standing_of(tx, user, now).await {
        Err(AccountError::NotFound) => return Err(AccountError::TokenInvalid),
        other => other?,
    };
    store(tx, user, password_hash, now).await?;
    close_all(tx, user, None, now).await?;
    record(tx, audit_event::PASSWORD_RESET, Some(user), "", by, now).await?;
    Ok(user)
}

async fn store(tx: &Tx, user: UserId, password_hash: &str, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1",
        &[&Id(user.0), &password_hash, &At(now)],
    )
    .await?;
    // A reset that was asked for before is void now.
    tx.execute("DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose = 'RESET'", &[&Id(user.0)])
        .await?;
    Ok(())
}
