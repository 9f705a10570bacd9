//! Invites: a token that lets one person register.

use schema_wire::UserId;
use tokio_postgres::Row;

use super::audit::record;
use super::read::{account_role, id_opt};
use crate::accept::{must_be_email, page};
use crate::accounts::{AccountError, Answer};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time, time_opt};
use crate::rows::account::{Invite, InviteId, NewInvite, Origin, audit_event};
use crate::rows::role::AccountRole;
use crate::token::TokenHash;

/// An invite somebody holds the token of.
pub struct Open {
    pub id: InviteId,
    pub role: AccountRole,
}

pub async fn create(tx: &Tx, new: &NewInvite, by: &Origin, now: u64) -> Answer<InviteId> {
    let invite = InviteId(crate::fresh_id(now));
    let email = new.email.as_deref().map(must_be_email).transpose()?;
    tx.execute(
        "INSERT INTO invites (id, token_hash, email, role, created_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &Id(invite.0),
            &new.token.hash.0.as_slice(),
            &email,
            &new.role.name(),
            &by.actor.map(|u| Id(u.0)),
            &At(now),
            &At(new.token.expires_at),
        ],
    )
    .await?;
    record(tx, audit_event::INVITE_CREATED, None, new.role.name(), by, now).await?;
    Ok(invite)
}

pub async fn list(tx: &Tx, before: Option<InviteId>, limit: u32) -> Answer<Vec<Invite>> {
    let before = before.map_or([0xff; 16], |i| i.0);
    let found = tx
        .query(
            "SELECT id, email, role, created_by, created_at, expires_at, used_by, used_at, revoked_at
             FROM invites WHERE id < $1 ORDER BY id DESC LIMIT $2",
            &[&Id(before), &i64::from(page(limit))],
        )
        .await?;
    found.iter().map(row).collect()
}

fn row(row: &Row) -> Answer<Invite> {
    Ok(Invite {
        id: InviteId(id(row, 0)?),
        email: row.try_get(1)?,
        role: account_role(row, 2)?,
        created_by: id_opt(row, 3)?,
        created_at: time(row, 4)?,
        expires_at: time(row, 5)?,
        used_by: id_opt(row, 6)?,
        used_at: time_opt(row, 7)?,
        revoked_at: time_opt(row, 8)?,
    })
}

pub async fn revoke(tx: &Tx, invite: InviteId, by: &Origin, now: u64) -> Answer<()> {
    let revoked = tx
        .execute(
            "UPDATE invites SET revoked_at = $2 WHERE id = $1 AND used_at IS NULL AND revoked_at IS NULL",
            &[&Id(invite.0), &At(now)],
        )
        .await?;
    if revoked == 0 {
        return Err(AccountError::NotFound);
    }
    record(tx, audit_event::INVITE_REVOKED, None, "", by, now).await?;
    Ok(())
}

/// The invite of a token, if it can be used for this address; nobody else can use it until the transaction ends.
pub async fn open(tx: &Tx, token: TokenHash, email: &str, now: u64) -> Answer<Open> {
    let found = tx
        .query_opt(
            "SELECT id, role FROM invites WHERE token_hash = $1 AND used_at IS NULL AND revoked_at IS NULL
               AND expires_at > $2 AND (email IS NULL OR email = $3) FOR UPDATE",
            &[&token.0.as_slice(), &At(now), &email],
        )
        .await?;
    let row = found.ok_or(AccountError::TokenInvalid)?;
    Ok(Open { id: InviteId(id(&row, 0)?), role: account_role(&row, 1)? })
}

pub async fn consume(tx: &Tx, invite: InviteId, user: UserId, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE invites SET used_by = $2, used_at = $3 WHERE id = $1",
        &[&Id(invite.0), &Id(user.0), &At(now)],
    )
    .await?;
    Ok(())
}
