//! Invites: a token that lets one person register.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::UserId;

use super::audit::record;
use crate::accept::{must_be_email, page};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Invite, InviteId, NewInvite, Origin, audit_event};
use crate::rows::role::AccountRole;
use crate::sqlite::value::{account_role, id_opt, int, uint, uint_opt};
use crate::token::TokenHash;

/// An invite somebody holds the token of.
pub struct Open {
    pub id: InviteId,
    pub role: AccountRole,
}

pub fn create(tx: &Transaction<'_>, new: &NewInvite, by: &Origin, now: u64) -> Answer<InviteId> {
    let invite = InviteId(crate::fresh_id(now));
    let email = new.email.as_deref().map(must_be_email).transpose()?;
    tx.execute(
        "INSERT INTO invites (id, token_hash, email, role, created_by, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            invite.0,
            new.token.hash.0,
            email,
            new.role.name(),
            by.actor.map(|u| u.0),
            int(now),
            int(new.token.expires_at)
        ],
    )?;
    record(tx, audit_event::INVITE_CREATED, None, new.role.name(), by, now)?;
    Ok(invite)
}

pub fn list(tx: &Transaction<'_>, before: Option<InviteId>, limit: u32) -> Answer<Vec<Invite>> {
    let mut find = tx.prepare_cached(
        "SELECT id, email, role, created_by, created_at, expires_at, used_by, used_at, revoked_at
         FROM invites WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let before = before.map_or([0xff; 16], |i| i.0);
    let found = find.query_map(params![before, page(limit)], |row| {
        Ok(Invite {
            id: InviteId(row.get(0)?),
            email: row.get(1)?,
            role: account_role(row, 2)?,
            created_by: id_opt(row, 3)?,
            created_at: uint(row, 4)?,
            expires_at: uint(row, 5)?,
            used_by: id_opt(row, 6)?,
            used_at: uint_opt(row, 7)?,
            revoked_at: uint_opt(row, 8)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub fn revoke(tx: &Transaction<'_>, invite: InviteId, by: &Origin, now: u64) -> Answer<()> {
    let revoked = tx.execute(
        "UPDATE invites SET revoked_at = ?2 WHERE id = ?1 AND used_at IS NULL AND revoked_at IS NULL",
        params![invite.0, int(now)],
    )?;
    if revoked == 0 {
        return Err(AccountError::NotFound);
    }
    record(tx, audit_event::INVITE_REVOKED, None, "", by, now)?;
    Ok(())
}

/// The invite of a token, if it can be used for this address.
pub fn open(tx: &Transaction<'_>, token: TokenHash, email: &str, now: u64) -> Answer<Open> {
    tx.query_row(
        "SELECT id, role FROM invites WHERE token_hash = ?1 AND used_at IS NULL AND revoked_at IS NULL
           AND expires_at > ?2 AND (email IS NULL OR email = ?3)",
        params![token.0, int(now), email],
        |row| Ok(Open { id: InviteId(row.get(0)?), role: account_role(row, 1)? }),
    )
    .optional()?
    .ok_or(AccountError::TokenInvalid)
}

pub fn consume(tx: &Transaction<'_>, invite: InviteId, user: UserId, now: u64) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE invites SET used_by = ?2, used_at = ?3 WHERE id = ?1",
        params![invite.0, user.0, int(now)],
    )?;
    Ok(())
}
