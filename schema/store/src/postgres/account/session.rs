//! Signing in and out: devices, refresh token families, what an access token's bearer is now.

use schema_wire::record::UserStatus;
use schema_wire::{DeviceId, UserId, v1};
use tokio_postgres::Row;

use super::audit::record;
use super::events::push_all;
use super::note::{note_devices_revoked, note_tokens_revoked};
use super::read::account_role;
use super::{must_be_active, must_stand, own, standing_of};
use crate::accept::clean_name;
use crate::accounts::{AccountError, Answer, DEVICES_MAX};
use crate::email::normalise_email;
use crate::postgres::stream::push;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, status, time, uint};
use crate::rows::account::{LoginRecord, Origin, audit_event};
use crate::rows::device::{Device, NewSession, SessionGrant};
use crate::stored::int;
use crate::token::{NewToken, TokenHash};

pub async fn login_record(tx: &Tx, email: &str, now: u64) -> Answer<Option<LoginRecord>> {
    let Some(email) = normalise_email(email) else { return Ok(None) };
    let found = tx
        .query_opt(
            "SELECT id, password_hash, status, suspended_until, role FROM users
             WHERE email = $1 AND password_hash IS NOT NULL AND status <> 'DELETED'",
            &[&email],
        )
        .await?;
    let read = |row: Row| {
        Ok(LoginRecord {
            user: id(&row, 0)?,
            password_hash: row.try_get(1)?,
            status: status(&row, 2, now)?,
            role: account_role(&row, 4)?,
        })
    };
    found.map(read).transpose()
}

pub async fn login_failed(tx: &Tx, user: Option<UserId>, reason: &str, by: &Origin, now: u64) -> Answer<()> {
    record(tx, audit_event::LOGIN_FAILED, user, reason, by, now).await?;
    Ok(())
}

pub async fn open(tx: &Tx, new: &NewSession, by: &Origin, now: u64) -> Answer<SessionGrant> {
    own(tx, new.user).await?;
    must_be_active(Some(standing_of(tx, new.user, now).await?))?;
    let device = match new.device {
        Some(device) if reopen_device(tx, new, device, now).await? => device,
        _ => create_device(tx, new, now).await?,
    };
    insert_refresh(tx, crate::fresh_id(now), (new.user, device), new.refresh, now).await?;
    let grant = grant(tx, new.user, device, (now, new.rehash.as_deref())).await?;
    let by = Origin { actor: Some(new.user), ..by.clone() };
    record(tx, audit_event::LOGIN, Some(new.user), &format!("device {device}"), &by, now).await?;
    Ok(grant)
}

/// Whether the device was this user's; then it is active again and its earlier refresh tokens are void.
async fn reopen_device(tx: &Tx, new: &NewSession, device: DeviceId, now: u64) -> Answer<bool> {
    let found = tx
        .query_opt(
            "SELECT revoked_at IS NOT NULL FROM devices WHERE id = $1 AND user_id = $2",
            &[&Id(device.0), &Id(new.user.0)],
        )
        .await?;
    let Some(found) = found else { return Ok(false) };
    let was_revoked = found.try_get(0)?;
    if was_revoked {
        must_have_room(tx, new.user).await?;
    }
    let name = clean_name("device_name", &new.device_name)?;
    tx.execute(
        "UPDATE devices SET revoked_at = NULL, name = $2, last_seen_at = $3 WHERE id = $1",
        &[&Id(device.0), &name, &At(now)],
    )
    .await?;
    revoke_refresh_of(tx, &[device], now).await?;
    if was_revoked {
        push(tx, new.user, changed(device, false, name), now).await?;
    }
    Ok(true)
}

async fn create_device(tx: &Tx, new: &NewSession, now: u64) -> Answer<DeviceId> {
    let name = clean_name("device_name", &new.device_name)?;
    must_have_room(tx, new.user).await?;
    let device = DeviceId(crate::fresh_id(now));
    tx.execute(
        "INSERT INTO devices (id, user_id, name, created_at, last_seen_at) VALUES ($1, $2, $3, $4, $4)",
        &[&Id(device.0), &Id(new.user.0), &name, &At(now)],
    )
    .await?;
    push(tx, new.user, changed(device, false, name), now).await?;
    Ok(device)
}

async fn must_have_room(tx: &Tx, user: UserId) -> Answer<()> {
    let active = tx
        .query_one("SELECT count(*) FROM devices WHERE user_id = $1 AND revoked_at IS NULL", &[&Id(user.0)])
        .await?;
    if uint(&active, 0)? >= DEVICES_MAX as u64 {
        Err(AccountError::TooMany { limit: DEVICES_MAX })
    } else {
        Ok(())
    }
}

fn changed(device: DeviceId, revoked: bool, name: String) -> v1::DeviceChanged {
    v1::DeviceChanged { device: device.to_bytes(), revoked, name, ..Default::default() }
}

async fn insert_refresh(
    tx: &Tx,
    family: [u8; 16],
    (user, device): (UserId, DeviceId),
    token: NewToken,
    now: u64,
) -> Answer<()> {
    tx.execute(
        "INSERT INTO refresh_tokens (token_hash, family_id, user_id, device_id, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[&token.hash.0.as_slice(), &Id(family), &Id(user.0), &Id(device.0), &At(now), &At(token.expires_at)],
    )
    .await?;
    Ok(())
}

/// Notes that the user is active, with a fresh hash of the password if there is one, and says what they are.
async fn grant(
    tx: &Tx,
    user: UserId,
    device: DeviceId,
    (now, rehash): (u64, Option<&str>),
) -> Answer<SessionGrant> {
    let row = tx
        .query_one(
            "UPDATE users SET last_active_at = $2, password_hash = coalesce($3, password_hash) WHERE id = $1
             RETURNING role, name",
            &[&Id(user.0), &At(now), &rehash],
        )
        .await?;
    Ok(SessionGrant { user, device, role: account_role(&row, 0)?, name: row.try_get(1)? })
}

/// A refresh token as it was found.
struct Refresh {
    family: [u8; 16],
    user: UserId,
    device: DeviceId,
    expires_at: u64,
    used: bool,
    revoked: bool,
}

/// Rotates. The inner error of a reused token comes with changes that must be committed.
pub async fn rotate(
    tx: &Tx,
    old: TokenHash,
    new: NewToken,
    by: &Origin,
    now: u64,
) -> Answer<Result<SessionGrant, AccountError>> {
    let owner = find_refresh(tx, old).await?.ok_or(AccountError::TokenInvalid)?.user;
    own(tx, owner).await?;
    // Whoever owned the account before may have used it.
    let found = find_refresh(tx, old).await?.ok_or(AccountError::TokenInvalid)?;
    if found.revoked || found.expires_at <= now {
        return Err(AccountError::TokenInvalid);
    }
    let (user, device) = (found.user, found.device);
    if found.used {
        end_family(tx, &found, by, now).await?;
        return Ok(Err(AccountError::RefreshReused { user, device }));
    }
    must_be_active(Some(standing_of(tx, user, now).await?))?;
    tx.execute(
        "UPDATE refresh_tokens SET used_at = $2 WHERE token_hash = $1",
        &[&old.0.as_slice(), &At(now)],
    )
    .await?;
    insert_refresh(tx, found.family, (user, device), new, now).await?;
    tx.execute("UPDATE devices SET last_seen_at = $2 WHERE id = $1", &[&Id(device.0), &At(now)]).await?;
    grant(tx, user, device, (now, None)).await.map(Ok)
}

async fn end_family(tx: &Tx, found: &Refresh, by: &Origin, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE refresh_tokens SET revoked_at = $2 WHERE family_id = $1 AND revoked_at IS NULL",
        &[&Id(found.family), &At(now)],
    )
    .await?;
    close(tx, found.user, &[found.device], now).await?;
    let detail = format!("refresh token used twice, device {}", found.device);
    record(tx, audit_event::SUSPICIOUS_ACTIVITY, Some(found.user), &detail, by, now).await?;
    Ok(())
}

async fn find_refresh(tx: &Tx, token: TokenHash) -> Answer<Option<Refresh>> {
    let found = tx
        .query_opt(
            "SELECT family_id, user_id, device_id, expires_at, used_at IS NOT NULL, revoked_at IS NOT NULL
             FROM refresh_tokens WHERE token_hash = $1",
            &[&token.0.as_slice()],
        )
        .await?;
    let read = |row: Row| {
        Ok(Refresh {
            family: id(&row, 0)?,
            user: id(&row, 1)?,
            device: id(&row, 2)?,
            expires_at: time(&row, 3)?,
            used: row.try_get(4)?,
            revoked: row.try_get(5)?,
        })
    };
    found.map(read).transpose()
}

pub async fn authorise(
    tx: &Tx,
    user: UserId,
    device: DeviceId,
    issued_at: u64,
    now: u64,
) -> Answer<SessionGrant> {
    let found = tx
        .query_opt(
            "SELECT u.status, u.suspended_until, u.role, u.name, d.id IS NOT NULL,
               greatest(u.tokens_not_before, d.tokens_not_before)
             FROM users u LEFT JOIN devices d ON d.id = $2 AND d.user_id = u.id AND d.revoked_at IS NULL
             WHERE u.id = $1",
            &[&Id(user.0), &Id(device.0)],
        )
        .await?;
    let row = found.ok_or(AccountError::NotFound)?;
    match must_stand(Some(status(&row, 0, now)?))? {
        UserStatus::Active => {}
        other => return Err(AccountError::NotActive(other)),
    }
    if !row.try_get::<_, bool>(4)? || issued_at < uint(&row, 5)? {
        return Err(AccountError::NotFound);
    }
    Ok(SessionGrant { user, device, role: account_role(&row, 2)?, name: row.try_get(3)? })
}

pub async fn revoke_device(tx: &Tx, user: UserId, device: DeviceId, by: &Origin, now: u64) -> Answer<()> {
    own(tx, user).await?;
    let active = tx
        .query_opt(
            "SELECT 1 FROM devices WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL",
            &[&Id(device.0), &Id(user.0)],
        )
        .await?;
    if active.is_none() {
        return Err(AccountError::NotFound);
    }
    close(tx, user, &[device], now).await?;
    record(tx, audit_event::LOGOUT, Some(user), &format!("device {device}"), by, now).await?;
    Ok(())
}

pub async fn revoke_all(tx: &Tx, user: UserId, keep: Option<DeviceId>, by: &Origin, now: u64) -> Answer<()> {
    own(tx, user).await?;
    standing_of(tx, user, now).await?;
    close_all(tx, user, keep, now).await?;
    record(tx, audit_event::SESSIONS_REVOKED, Some(user), "", by, now).await?;
    Ok(())
}

/// Logs out every device of a user, except one.
pub async fn close_all(tx: &Tx, user: UserId, keep: Option<DeviceId>, now: u64) -> Answer<()> {
    let found = tx
        .query(
            "SELECT id FROM devices WHERE user_id = $1 AND revoked_at IS NULL AND id <> $2 ORDER BY id",
            &[&Id(user.0), &Id(keep.unwrap_or_default().0)],
        )
        .await?;
    close(tx, user, &super::read::ids(&found)?, now).await?;
    tx.execute("DELETE FROM sessions WHERE user_id = $1", &[&Id(user.0)]).await?;
    if keep.is_none() {
        tx.execute("UPDATE users SET tokens_not_before = $2 WHERE id = $1", &[&Id(user.0), &int(now / 1000)])
            .await?;
        note_tokens_revoked(tx, user, now / 1000, now).await?;
    }
    Ok(())
}

async fn close(tx: &Tx, user: UserId, devices: &[DeviceId], now: u64) -> Answer<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let ids: Vec<Id> = devices.iter().map(|device| Id(device.0)).collect();
    let closed = tx
        .query(
            "UPDATE devices SET revoked_at = $2, tokens_not_before = $3 WHERE id = ANY ($1) RETURNING id, name",
            &[&ids, &At(now), &int(now / 1000)],
        )
        .await?;
    revoke_refresh_of(tx, devices, now).await?;
    note_devices_revoked(tx, user, devices, now).await?;
    let tell = |row: &Row| Ok((user, changed(id(row, 0)?, true, row.try_get(1)?).into()));
    push_all(tx, closed.iter().map(tell).collect::<Answer<_>>()?, now).await
}

async fn revoke_refresh_of(tx: &Tx, devices: &[DeviceId], now: u64) -> Answer<()> {
    let devices: Vec<Id> = devices.iter().map(|device| Id(device.0)).collect();
    tx.execute(
        "UPDATE refresh_tokens SET revoked_at = $2 WHERE device_id = ANY ($1) AND revoked_at IS NULL",
        &[&devices, &At(now)],
    )
    .await?;
    Ok(())
}

pub async fn devices(tx: &Tx, user: UserId) -> Answer<Vec<Device>> {
    let found = tx
        .query(
            "SELECT id, name, created_at, last_seen_at,
               EXISTS (SELECT 1 FROM key_bundles k WHERE k.device_id = d.id)
             FROM devices d WHERE user_id = $1 AND revoked_at IS NULL ORDER BY id",
            &[&Id(user.0)],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Device {
            id: id(row, 0)?,
            name: row.try_get(1)?,
            created_at: time(row, 2)?,
            last_seen_at: time(row, 3)?,
            has_keys: row.try_get(4)?,
        })
    };
    found.iter().map(read).collect()
}
