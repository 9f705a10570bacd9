//! Becoming a user: registration, approval, mail verification, the operator's first administrator.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::UserId;

use super::audit::record;
use super::{erase, invite, profile, standing_of};
use crate::accept::{REFUSED, clean_name, must_be_email, page};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Activation, Origin, Profile, Registration, audit_event};
use crate::rows::role::AccountRole;
use crate::sqlite::content;
use crate::sqlite::fault::is_taken;
use crate::sqlite::value::{id, int};
use crate::token::{NewToken, TokenHash};
use schema_wire::record::UserStatus;

/// An account as it is inserted.
struct Draft<'a> {
    email: &'a str,
    name: &'a str,
    password_hash: &'a str,
    role: AccountRole,
    /// `NONE`: active at once.
    waits_for: &'static str,
}

pub fn register(tx: &Transaction<'_>, new: Registration, by: &Origin, now: u64) -> Answer<UserId> {
    let email = must_be_email(&new.email)?;
    let name = clean_name("name", &new.name)?;
    let invite = new.invite.map(|token| invite::open(tx, token, &email, now)).transpose()?;
    let role = invite.as_ref().map_or(AccountRole::User, |i| i.role);
    let waits_for = match new.activation {
        Activation::Immediate => "NONE",
        Activation::Approval => "APPROVAL",
        Activation::Mail(_) => "MAIL",
    };
    let draft = Draft { email: &email, name: &name, password_hash: &new.password_hash, role, waits_for };
    let user = insert(tx, &draft, now)?;
    if let Some(invite) = invite {
        invite::consume(tx, invite.id, user, now)?;
    }
    if let Activation::Mail(token) = new.activation {
        keep_token(tx, user, "VERIFY", token, now)?;
    }
    content::look(tx, user, "profile", &name, now)?;
    record(tx, audit_event::REGISTERED, Some(user), waits_for, by, now)?;
    Ok(user)
}

pub fn create_admin(
    tx: &Transaction<'_>,
    (email, name, password_hash): (&str, &str, &str),
    role: AccountRole,
    now: u64,
) -> Answer<UserId> {
    let (email, name) = (must_be_email(email)?, clean_name("name", name)?);
    let user =
        insert(tx, &Draft { email: &email, name: &name, password_hash, role, waits_for: "NONE" }, now)?;
    tx.execute("UPDATE users SET email_verified_at = ?2 WHERE id = ?1", params![user.0, int(now)])?;
    record(tx, audit_event::REGISTERED, Some(user), role.name(), &Origin::system(), now)?;
    Ok(user)
}

pub fn approve(tx: &Transaction<'_>, user: UserId, by: &Origin, now: u64) -> Answer<()> {
    match standing_of(tx, user, now)? {
        UserStatus::Pending => {}
        UserStatus::Active => return Ok(()),
        other => return Err(AccountError::NotActive(other)),
    }
    activate(tx, user, now)?;
    record(tx, audit_event::APPROVED, Some(user), "", by, now)?;
    Ok(())
}

pub fn refuse(tx: &Transaction<'_>, user: UserId, by: &Origin, now: u64) -> Answer<()> {
    match standing_of(tx, user, now)? {
        UserStatus::Pending => {}
        other => return Err(AccountError::NotActive(other)),
    }
    erase::erase(tx, user, REFUSED, by, now)?;
    record(tx, audit_event::REGISTRATION_REFUSED, Some(user), "", by, now)?;
    Ok(())
}

pub fn renew_verification(tx: &Transaction<'_>, user: UserId, token: NewToken, now: u64) -> Answer<()> {
    match standing_of(tx, user, now)? {
        UserStatus::Pending => Ok(keep_token(tx, user, "VERIFY", token, now)?),
        other => Err(AccountError::NotActive(other)),
    }
}

pub fn verify_mail(tx: &Transaction<'_>, token: TokenHash, by: &Origin, now: u64) -> Answer<UserId> {
    let user = take_token(tx, "VERIFY", token, now)?;
    tx.execute("UPDATE users SET email_verified_at = ?2 WHERE id = ?1", params![user.0, int(now)])?;
    let waits_for_mail: bool = tx.query_row(
        "SELECT status = 'PENDING' AND activation = 'MAIL' FROM users WHERE id = ?1",
        [user.0],
        |row| row.get(0),
    )?;
    if waits_for_mail {
        activate(tx, user, now)?;
    }
    record(tx, audit_event::EMAIL_VERIFIED, Some(user), "", by, now)?;
    Ok(user)
}

pub fn pending(tx: &Transaction<'_>, after: Option<UserId>, limit: u32, now: u64) -> Answer<Vec<Profile>> {
    let mut find =
        tx.prepare_cached("SELECT id FROM users WHERE status = 'PENDING' AND id > ?1 ORDER BY id LIMIT ?2")?;
    let found =
        find.query_map(params![after.unwrap_or_default().0, page(limit)], |row| id::<UserId>(row, 0))?;
    let users = found.collect::<rusqlite::Result<Vec<_>>>()?;
    users.into_iter().map(|user| profile::profile(tx, user, now)).collect()
}

/// Keeps a one-time token; earlier ones for the same purpose stop working.
pub fn keep_token(
    tx: &Transaction<'_>,
    user: UserId,
    purpose: &str,
    token: NewToken,
    now: u64,
) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM one_time_tokens WHERE user_id = ?1 AND purpose = ?2", params![user.0, purpose])?;
    tx.execute(
        "INSERT INTO one_time_tokens (token_hash, purpose, user_id, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![token.hash.0, purpose, user.0, int(now), int(token.expires_at)],
    )?;
    Ok(())
}

/// Uses a one-time token up and says whose it was.
pub fn take_token(tx: &Transaction<'_>, purpose: &str, token: TokenHash, now: u64) -> Answer<UserId> {
    tx.query_row(
        "DELETE FROM one_time_tokens WHERE token_hash = ?1 AND purpose = ?2 AND expires_at > ?3 RETURNING user_id",
        params![token.0, purpose, int(now)],
        |row| id(row, 0),
    )
    .optional()?
    .ok_or(AccountError::TokenInvalid)
}

fn activate(tx: &Transaction<'_>, user: UserId, now: u64) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE users SET status = 'ACTIVE', activation = 'NONE', updated_at = ?2 WHERE id = ?1",
        params![user.0, int(now)],
    )?;
    Ok(())
}

fn insert(tx: &Transaction<'_>, draft: &Draft<'_>, now: u64) -> Answer<UserId> {
    let user = UserId(crate::fresh_id(now));
    let status = if draft.waits_for == "NONE" { "ACTIVE" } else { "PENDING" };
    let inserted = tx.execute(
        "INSERT INTO users (id, email, name, password_hash, role, status, activation, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        params![
            user.0,
            draft.email,
            draft.name,
            draft.password_hash,
            draft.role.name(),
            status,
            draft.waits_for,
            int(now)
        ],
    );
    match inserted {
        Err(error) if is_taken(&error) => Err(AccountError::EmailTaken),
        other => Ok(other.map(|_| user)?),
    }
}
