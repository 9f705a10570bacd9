//! Service tokens in SQL: found by their hash.

use tokio_postgres::Row;

use super::PostgresStore;
use super::account::audit::record;
use super::account::own_shared;
use super::account::read::account_role;
use super::transaction::Tx;
use super::value::{At, Id, id, time, time_opt};
use crate::accept::{clean_name, page};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Origin, audit_event};
use crate::rows::role::AccountRole;
use crate::rows::service::{NewServiceToken, ServiceGrant, ServiceToken, ServiceTokenId};
use crate::services::{Services, USED_EVERY_MS};
use crate::token::TokenHash;

impl Services for PostgresStore {
    async fn create_service_token(&self, new: NewServiceToken, by: Origin) -> Answer<ServiceTokenId> {
        self.write(async move |tx, now| create(tx, &new, &by, now).await).await
    }

    async fn service_tokens(&self, limit: u32) -> Answer<Vec<ServiceToken>> {
        self.read(async move |tx, _| list(tx, limit).await).await
    }

    async fn revoke_service_token(&self, id: ServiceTokenId, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| revoke(tx, id, &by, now).await).await
    }

    async fn service_grant(&self, token: TokenHash) -> Answer<Option<ServiceGrant>> {
        let found = self.read(async move |tx, now| find(tx, token, now).await).await?;
        let Some((grant, is_due)) = found else { return Ok(None) };
        if is_due {
            self.write(async move |tx, now| touch(tx, token, now).await).await?;
        }
        Ok(Some(grant))
    }
}

async fn create(tx: &Tx, new: &NewServiceToken, by: &Origin, now: u64) -> Answer<ServiceTokenId> {
    let maker = by.actor.ok_or(AccountError::NotAllowed)?;
    let name = clean_name("name", &new.name)?;
    // Whoever takes the role away holds the lock alone.
    own_shared(tx, maker).await?;
    let admin = tx
        .query_opt(
            "SELECT 1 FROM users WHERE id = $1 AND role = 'ADMIN' AND status = 'ACTIVE'",
            &[&Id(maker.0)],
        )
        .await?;
    if admin.is_none() || new.role == AccountRole::User {
        return Err(AccountError::NotAllowed);
    }
    let token = ServiceTokenId(crate::fresh_id(now));
    tx.execute(
        "INSERT INTO service_tokens (id, token_hash, name, role, created_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &Id(token.0),
            &new.token.hash.0.as_slice(),
            &name,
            &new.role.name(),
            &Id(maker.0),
            &At(now),
            &At(new.token.expires_at),
        ],
    )
    .await?;
    let detail = format!("{name}: {}", new.role.name());
    record(tx, audit_event::SERVICE_TOKEN_CREATED, None, &detail, by, now).await?;
    Ok(token)
}

async fn list(tx: &Tx, limit: u32) -> Answer<Vec<ServiceToken>> {
    let rows = tx
        .query(
            "SELECT s.id, s.name, s.role, coalesce(u.name, ''), s.created_at, s.expires_at, s.last_used_at,
               s.revoked_at
             FROM service_tokens s LEFT JOIN users u ON u.id = s.created_by ORDER BY s.id DESC LIMIT $1",
            &[&i64::from(page(limit))],
        )
        .await?;
    let read = |row: &Row| {
        Ok(ServiceToken {
            id: id(row, 0)?,
            name: row.try_get(1)?,
            role: account_role(row, 2)?,
            created_by: row.try_get(3)?,
            created_at: time(row, 4)?,
            expires_at: time(row, 5)?,
            last_used_at: time_opt(row, 6)?,
            revoked_at: time_opt(row, 7)?,
        })
    };
    rows.iter().map(read).collect()
}

async fn revoke(tx: &Tx, token: ServiceTokenId, by: &Origin, now: u64) -> Answer<()> {
    let revoked = tx
        .query_opt(
            "UPDATE service_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING name",
            &[&Id(token.0), &At(now)],
        )
        .await?;
    let name: String = revoked.ok_or(AccountError::NotFound)?.try_get(0)?;
    record(tx, audit_event::SERVICE_TOKEN_REVOKED, None, &name, by, now).await?;
    Ok(())
}

/// The grant, and whether its use is to be written down.
async fn find(tx: &Tx, token: TokenHash, now: u64) -> Answer<Option<(ServiceGrant, bool)>> {
    let found = tx
        .query_opt(
            "SELECT s.created_by, s.name, s.role, s.last_used_at
             FROM service_tokens s JOIN users u ON u.id = s.created_by
             WHERE s.token_hash = $1 AND s.revoked_at IS NULL AND s.expires_at > $2
               AND u.role = 'ADMIN' AND u.status = 'ACTIVE'",
            &[&token.0.as_slice(), &At(now)],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    let grant = ServiceGrant { user: id(&row, 0)?, name: row.try_get(1)?, role: account_role(&row, 2)? };
    let is_due = time_opt(&row, 3)?.is_none_or(|used| used + USED_EVERY_MS <= now);
    Ok(Some((grant, is_due)))
}

async fn touch(tx: &Tx, token: TokenHash, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE service_tokens SET last_used_at = $2 WHERE token_hash = $1",
        &[&token.0.as_slice(), &At(now)],
    )
    .await?;
    Ok(())
}
