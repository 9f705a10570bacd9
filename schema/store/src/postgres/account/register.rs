//! Becoming a user: registration, approval, mail verification, the operator's first administrator.

use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::audit::record;
use super::read::ids;
use super::{erase, invite, own, profile, standing_of};
use crate::accept::{REFUSED, clean_name, must_be_email, page};
use crate::accounts::{AccountError, Answer};
use crate::postgres::content;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id};
use crate::rows::account::{Activation, Origin, Profile, Registration, audit_event};
use crate::rows::role::AccountRole;
use crate::token::{NewToken, TokenHash};

/// An account as it is inserted.
struct Draft<'a> {
    email: &'a str,
    name: &'a str,
    password_hash: &'a str,
    role: AccountRole,
    /// `NONE`: active at once.
    waits_for: &'static str,
}

pub async fn register(tx: &Tx, new: &Registration, by: &Origin, now: u64) -> Answer<UserId> {
    let email = must_be_email(&new.email)?;
    let name = clean_name("name", &new.name)?;
    let invite = match new.invite {
        Some(token) => Some(invite::open(tx, token, &email, now).await?),
        None => None,
    };
    let role = invite.as_ref().map_or(AccountRole::User, |i| i.role);
    let waits_for = match new.activation {
        Activation::Immediate => "NONE",
        Activation::Approval => "APPROVAL",
        Activation::Mail(_) => "MAIL",
    };
    let draft = Draft { email: &email, name: &name, password_hash: &new.password_hash, role, waits_for };
    let user = insert(tx, &draft, now).await?;
    if let Some(invite) = invite {
        invite::consume(tx, invite.id, user, now).await?;
    }
    if let Activation::Mail(token) = new.activation {
        keep_token(tx, user, "VERIFY", token, now).await?;
    }
    content::look(tx, user, "profile", &name, now).await?;
    record(tx, audit_event::REGISTERED, Some(user), waits_for, by, now).await?;
    Ok(user)
}

pub async fn create_admin(
    tx: &Tx,
    (email, name, password_hash): (&str, &str, &str),
    role: AccountRole,
    now: u64,
) -> Answer<UserId> {
    let (email, name) = (must_be_email(email)?, clean_name("name", name)?);
    let draft = Draft { email: &email, name: &name, password_hash, role, waits_for: "NONE" };
    let user = insert(tx, &draft, now).await?;
    tx.execute("UPDATE users SET email_verified_at = $2 WHERE id = $1", &[&Id(user.0), &At(now)]).await?;
    record(tx, audit_event::REGISTERED, Some(user), role.name(), &Origin::system(), now).await?;
    Ok(user)
}

pub async fn approve(tx: &Tx, user: UserId, by: &Origin, now: u64) -> Answer<()> {
    own(tx, user).await?;
    match standing_of(tx, user, now).await? {
        UserStatus::Pending => {}
        UserStatus::Active => return Ok(()),
        other => return Err(AccountError::NotActive(other)),
    }
    activate(tx, user, now).await?;
    record(tx, audit_event::APPROVED, Some(user), "", by, now).await?;
    Ok(())
}

pub async fn refuse(tx: &Tx, user: UserId, by: &Origin, now: u64) -> Answer<UserId> {
    own(tx, user).await?;
    match standing_of(tx, user, now).await? {
        UserStatus::Pending => {}
        other => return Err(AccountError::NotActive(other)),
    }
    erase::erase(tx, user, REFUSED, by, now).await?;
    record(tx, audit_event::REGISTRATION_REFUSED, Some(user), "", by, now).await?;
    Ok(user)
}

pub async fn renew_verification(tx: &Tx, user: UserId, token: NewToken, now: u64) -> Answer<()> {
    own(tx, user).await?;
    match standing_of(tx, user, now).await? {
        UserStatus::Pending => keep_token(tx, user, "VERIFY", token, now).await,
        other => Err(AccountError::NotActive(other)),
    }
}

pub async fn verify_mail(tx: &Tx, token: TokenHash, by: &Origin, now: u64) -> Answer<UserId> {
    let user = take_token(tx, "VERIFY", token, now).await?;
    let verified = tx
        .query_one(
            "UPDATE users SET email_verified_at = $2 WHERE id = $1
             RETURNING status = 'PENDING' AND activation = 'MAIL'",
            &[&Id(user.0), &At(now)],
        )
        .await?;
    if verified.try_get(0)? {
        activate(tx, user, now).await?;
    }
    record(tx, audit_event::EMAIL_VERIFIED, Some(user), "", by, now).await?;
    Ok(user)
}

pub async fn pending(tx: &Tx, after: Option<UserId>, limit: u32, now: u64) -> Answer<Vec<Profile>> {
    let found = tx
        .query(
            &format!(
                "SELECT {} FROM users WHERE status = 'PENDING' AND id > $1 ORDER BY id LIMIT $2",
                profile::COLUMNS
            ),
            &[&Id(after.unwrap_or_default().0), &i64::from(page(limit))],
        )
        .await?;
    found.iter().map(|row| profile::row(row, now)).collect()
}

/// Keeps a one-time token; earlier ones for the same purpose stop working.
pub async fn keep_token(tx: &Tx, user: UserId, purpose: &str, token: NewToken, now: u64) -> Answer<()> {
    tx.execute("DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose = $2", &[&Id(user.0), &purpose])
        .await?;
    tx.execute(
        "INSERT INTO one_time_tokens (token_hash, purpose, user_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5)",
        &[&token.hash.0.as_slice(), &purpose, &Id(user.0), &At(now), &At(token.expires_at)],
    )
    .await?;
    Ok(())
}

/// Uses a one-time token up and says whose it was; the account is the caller's to change then.
pub async fn take_token(tx: &Tx, purpose: &str, token: TokenHash, now: u64) -> Answer<UserId> {
    let found = tx
        .query(
            "SELECT user_id FROM one_time_tokens WHERE token_hash = $1 AND purpose = $2",
            &[&token.0.as_slice(), &purpose],
        )
        .await?;
    let owner = ids::<UserId>(&found)?.pop().ok_or(AccountError::TokenInvalid)?;
    own(tx, owner).await?;
    let taken = tx
        .query_opt(
            "DELETE FROM one_time_tokens WHERE token_hash = $1 AND purpose = $2 AND expires_at > $3
             RETURNING user_id",
            &[&token.0.as_slice(), &purpose, &At(now)],
        )
        .await?;
    Ok(id(&taken.ok_or(AccountError::TokenInvalid)?, 0)?)
}

async fn activate(tx: &Tx, user: UserId, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE users SET status = 'ACTIVE', activation = 'NONE', updated_at = $2 WHERE id = $1",
        &[&Id(user.0), &At(now)],
    )
    .await?;
    Ok(())
}

async fn insert(tx: &Tx, draft: &Draft<'_>, now: u64) -> Answer<UserId> {
    let user = UserId(crate::fresh_id(now));
    let status = if draft.waits_for == "NONE" { "ACTIVE" } else { "PENDING" };
    let inserted = tx
        .execute(
            "INSERT INTO users (id, email, name, password_hash, role, status, activation, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (email) DO NOTHING",
            &[
                &Id(user.0),
                &draft.email,
                &draft.name,
                &draft.password_hash,
                &draft.role.name(),
                &status,
                &draft.waits_for,
                &At(now),
            ],
        )
        .await?;
    if inserted == 0 { Err(AccountError::EmailTaken) } else { Ok(user) }
}
