//! Service tokens in SQL: found by their hash.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::SqliteStore;
use super::account::audit::record;
use super::value::{account_role, id, int, uint, uint_opt};
use crate::accept::{clean_name, page};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Origin, audit_event};
use crate::rows::role::AccountRole;
use crate::rows::service::{NewServiceToken, ServiceGrant, ServiceToken, ServiceTokenId};
use crate::services::{Services, USED_EVERY_MS};
use crate::token::TokenHash;

impl Services for SqliteStore {
    async fn create_service_token(&self, new: NewServiceToken, by: Origin) -> Answer<ServiceTokenId> {
        self.write(move |tx, now| create(tx, &new, &by, now)).await
    }

    async fn service_tokens(&self, limit: u32) -> Answer<Vec<ServiceToken>> {
        self.read(move |tx, _| list(tx, limit)).await
    }

    async fn revoke_service_token(&self, id: ServiceTokenId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| revoke(tx, id, &by, now)).await
    }

    async fn service_grant(&self, token: TokenHash) -> Answer<Option<ServiceGrant>> {
        let Some((grant, is_due)) = self.read(move |tx, now| find(tx, token, now)).await? else {
            return Ok(None);
        };
        if is_due {
            self.write(move |tx, now| touch(tx, token, now)).await?;
        }
        Ok(Some(grant))
    }
}

fn create(tx: &Transaction<'_>, new: &NewServiceToken, by: &Origin, now: u64) -> Answer<ServiceTokenId> {
    let maker = by.actor.ok_or(AccountError::NotAllowed)?;
    let name = clean_name("name", &new.name)?;
    let is_admin: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1 AND role = 'ADMIN' AND status = 'ACTIVE')",
        [maker.0],
        |row| row.get(0),
    )?;
    if !is_admin || new.role == AccountRole::User {
        return Err(AccountError::NotAllowed);
    }
    let token = ServiceTokenId(crate::fresh_id(now));
    tx.execute(
        "INSERT INTO service_tokens (id, token_hash, name, role, created_by, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            token.0,
            new.token.hash.0,
            name,
            new.role.name(),
            maker.0,
            int(now),
            int(new.token.expires_at)
        ],
    )?;
    let detail = format!("{name}: {}", new.role.name());
    record(tx, audit_event::SERVICE_TOKEN_CREATED, None, &detail, by, now)?;
    Ok(token)
}

fn list(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<ServiceToken>> {
    let mut find = tx.prepare_cached(
        "SELECT s.id, s.name, s.role, coalesce(u.name, ''), s.created_at, s.expires_at, s.last_used_at, s.revoked_at
         FROM service_tokens s LEFT JOIN users u ON u.id = s.created_by ORDER BY s.id DESC LIMIT ?1",
    )?;
    let read = |row: &Row<'_>| {
        Ok(ServiceToken {
            id: id(row, 0)?,
            name: row.get(1)?,
            role: account_role(row, 2)?,
            created_by: row.get(3)?,
            created_at: uint(row, 4)?,
            expires_at: uint(row, 5)?,
            last_used_at: uint_opt(row, 6)?,
            revoked_at: uint_opt(row, 7)?,
        })
    };
    let rows = find.query_map([page(limit)], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn revoke(tx: &Transaction<'_>, token: ServiceTokenId, by: &Origin, now: u64) -> Answer<()> {
    let name: Option<String> = tx
        .query_row(
            "UPDATE service_tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING name",
            params![token.0, int(now)],
            |row| row.get(0),
        )
        .optional()?;
    let name = name.ok_or(AccountError::NotFound)?;
    record(tx, audit_event::SERVICE_TOKEN_REVOKED, None, &name, by, now)?;
    Ok(())
}

/// The grant, and whether its use is to be written down.
fn find(tx: &Transaction<'_>, token: TokenHash, now: u64) -> Answer<Option<(ServiceGrant, bool)>> {
    let found = tx
        .prepare_cached(
            "SELECT s.created_by, s.name, s.role, coalesce(s.last_used_at, 0)
             FROM service_tokens s JOIN users u ON u.id = s.created_by
             WHERE s.token_hash = ?1 AND s.revoked_at IS NULL AND s.expires_at > ?2
               AND u.role = 'ADMIN' AND u.status = 'ACTIVE'",
        )?
        .query_row(params![token.0, int(now)], |row| {
            let grant = ServiceGrant { user: id(row, 0)?, name: row.get(1)?, role: account_role(row, 2)? };
            Ok((grant, uint(row, 3)? + USED_EVERY_MS <= now))
        })
        .optional()?;
    Ok(found)
}

fn touch(tx: &Transaction<'_>, token: TokenHash, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE service_tokens SET last_used_at = ?2 WHERE token_hash = ?1",
        params![token.0, int(now)],
    )?;
    Ok(())
}
