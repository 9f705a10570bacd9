//! Signing in and out: devices, refresh token families, what an access token's bearer is now.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::record::UserStatus;
use schema_wire::{DeviceId, UserId, v1};

use super::audit::record;
use super::{must_be_active, standing_of};
use crate::accept::clean_name;
use crate::accounts::{AccountError, Answer, DEVICES_MAX};
use crate::email::normalise_email;
use crate::rows::account::{LoginRecord, Origin, audit_event};
use crate::rows::device::{Device, NewSession, SessionGrant};
use crate::sqlite::changes::{note_device_revoked, note_tokens_revoked};
use crate::sqlite::stream::push;
use crate::sqlite::value::{account_role, count, id, int, status, uint, uint_opt};
use crate::token::{NewToken, TokenHash};

pub fn login_record(tx: &Transaction<'_>, email: &str, now: u64) -> Answer<Option<LoginRecord>> {
    let Some(email) = normalise_email(email) else { return Ok(None) };
    let found = tx
        .prepare_cached(
            "SELECT id, password_hash, status, suspended_until, role FROM users
             WHERE email = ?1 AND password_hash IS NOT NULL AND status <> 'DELETED'",
        )?
        .query_row([email], |row| {
            Ok(LoginRecord {
                user: id(row, 0)?,
                password_hash: row.get(1)?,
                status: status(row, 2, now)?,
                role: account_role(row, 4)?,
            })
        });
    Ok(found.optional()?)
}

pub fn login_failed(
    tx: &Transaction<'_>,
    user: Option<UserId>,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    record(tx, audit_event::LOGIN_FAILED, user, reason, by, now)?;
    Ok(())
}

pub fn open(tx: &Transaction<'_>, new: &NewSession, by: &Origin, now: u64) -> Answer<SessionGrant> {
    must_be_active(tx, new.user, now)?;
    let device = match new.device {
        Some(device) if reopen_device(tx, new, device, now)? => device,
        _ => create_device(tx, new, now)?,
    };
    if let Some(hash) = &new.rehash {
        tx.execute("UPDATE users SET password_hash = ?2 WHERE id = ?1", params![new.user.0, hash])?;
    }
    tx.execute("UPDATE users SET last_active_at = ?2 WHERE id = ?1", params![new.user.0, int(now)])?;
    insert_refresh(tx, crate::fresh_id(now), (new.user, device), new.refresh, now)?;
    let by = Origin { actor: Some(new.user), ..by.clone() };
    record(tx, audit_event::LOGIN, Some(new.user), &format!("device {device}"), &by, now)?;
    grant(tx, new.user, device)
}

/// Whether the device was this user's; then it is active again and its earlier refresh tokens are void.
fn reopen_device(tx: &Transaction<'_>, new: &NewSession, device: DeviceId, now: u64) -> Answer<bool> {
    let was_revoked = tx
        .query_row(
            "SELECT revoked_at IS NOT NULL FROM devices WHERE id = ?1 AND user_id = ?2",
            params![device.0, new.user.0],
            |row| row.get::<_, bool>(0),
        )
        .optional()?;
    let Some(was_revoked) = was_revoked else { return Ok(false) };
    if was_revoked {
        must_have_room(tx, new.user)?;
    }
    let name = clean_name("device_name", &new.device_name)?;
    tx.execute(
        "UPDATE devices SET revoked_at = NULL, name = ?2, last_seen_at = ?3 WHERE id = ?1",
        params![device.0, name, int(now)],
    )?;
    revoke_refresh_of(tx, device, now)?;
    if was_revoked {
        announce(tx, new.user, device, false, &name, now)?;
    }
    Ok(true)
}

fn create_device(tx: &Transaction<'_>, new: &NewSession, now: u64) -> Answer<DeviceId> {
    let name = clean_name("device_name", &new.device_name)?;
    must_have_room(tx, new.user)?;
    let device = DeviceId(crate::fresh_id(now));
    tx.execute(
        "INSERT INTO devices (id, user_id, name, created_at, last_seen_at) VALUES (?1, ?2, ?3, ?4, ?4)",
        params![device.0, new.user.0, name, int(now)],
    )?;
    announce(tx, new.user, device, false, &name, now)?;
    Ok(device)
}

fn must_have_room(tx: &Transaction<'_>, user: UserId) -> Answer<()> {
    let active = tx.query_row(
        "SELECT count(*) FROM devices WHERE user_id = ?1 AND revoked_at IS NULL",
        [user.0],
        |row| count(row, 0),
    )?;
    if active >= DEVICES_MAX { Err(AccountError::TooMany { limit: DEVICES_MAX }) } else { Ok(()) }
}

fn announce(
    tx: &Transaction<'_>,
    user: UserId,
    device: DeviceId,
    revoked: bool,
    name: &str,
    now: u64,
) -> rusqlite::Result<()> {
    let name = name.to_owned();
    let event = v1::DeviceChanged { device: device.to_bytes(), revoked, name, ..Default::default() };
    push(tx, user, event, now)
}

fn insert_refresh(
    tx: &Transaction<'_>,
    family: [u8; 16],
    (user, device): (UserId, DeviceId),
    token: NewToken,
    now: u64,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO refresh_tokens (token_hash, family_id, user_id, device_id, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![token.hash.0, family, user.0, device.0, int(now), int(token.expires_at)],
    )?;
    Ok(())
}

fn grant(tx: &Transaction<'_>, user: UserId, device: DeviceId) -> Answer<SessionGrant> {
    let (role, name) = tx.query_row("SELECT role, name FROM users WHERE id = ?1", [user.0], |row| {
        Ok((account_role(row, 0)?, row.get(1)?))
    })?;
    Ok(SessionGrant { user, device, role, name })
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
pub fn rotate(
    tx: &Transaction<'_>,
    old: TokenHash,
    new: NewToken,
    by: &Origin,
    now: u64,
) -> Answer<Result<SessionGrant, AccountError>> {
    let Some(found) = find_refresh(tx, old)? else { return Err(AccountError::TokenInvalid) };
    if found.revoked || found.expires_at <= now {
        return Err(AccountError::TokenInvalid);
    }
    let (user, device) = (found.user, found.device);
    if found.used {
        tx.execute(
            "UPDATE refresh_tokens SET revoked_at = ?2 WHERE family_id = ?1 AND revoked_at IS NULL",
            params![found.family, int(now)],
        )?;
        close_device(tx, user, device, now)?;
        let detail = format!("refresh token used twice, device {device}");
        record(tx, audit_event::SUSPICIOUS_ACTIVITY, Some(user), &detail, by, now)?;
        return Ok(Err(AccountError::RefreshReused { user, device }));
    }
    must_be_active(tx, user, now)?;
    tx.execute("UPDATE refresh_tokens SET used_at = ?2 WHERE token_hash = ?1", params![old.0, int(now)])?;
    insert_refresh(tx, found.family, (user, device), new, now)?;
    tx.execute("UPDATE devices SET last_seen_at = ?2 WHERE id = ?1", params![device.0, int(now)])?;
    tx.execute("UPDATE users SET last_active_at = ?2 WHERE id = ?1", params![user.0, int(now)])?;
    grant(tx, user, device).map(Ok)
}

fn find_refresh(tx: &Transaction<'_>, token: TokenHash) -> rusqlite::Result<Option<Refresh>> {
    tx.prepare_cached(
        "SELECT family_id, user_id, device_id, expires_at, used_at IS NOT NULL, revoked_at IS NOT NULL
         FROM refresh_tokens WHERE token_hash = ?1",
    )?
    .query_row([token.0], |row| {
        Ok(Refresh {
            family: row.get(0)?,
            user: id(row, 1)?,
            device: id(row, 2)?,
            expires_at: uint(row, 3)?,
            used: row.get(4)?,
            revoked: row.get(5)?,
        })
    })
    .optional()
}

pub fn authorise(
    tx: &Transaction<'_>,
    user: UserId,
    device: DeviceId,
    issued_at: u64,
    now: u64,
) -> Answer<SessionGrant> {
    match standing_of(tx, user, now)? {
        UserStatus::Active => {}
        other => return Err(AccountError::NotActive(other)),
    }
    let floor = tx
        .prepare_cached(
            "SELECT max(u.tokens_not_before, d.tokens_not_before) FROM devices d JOIN users u ON u.id = d.user_id
             WHERE d.id = ?1 AND d.user_id = ?2 AND d.revoked_at IS NULL",
        )?
        .query_row(params![device.0, user.0], |row| uint_opt(row, 0))
        .optional()?
        .flatten();
    match floor {
        Some(floor) if issued_at >= floor => grant(tx, user, device),
        _ => Err(AccountError::NotFound),
    }
}

pub fn revoke_device(
    tx: &Transaction<'_>,
    user: UserId,
    device: DeviceId,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    let active: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM devices WHERE id = ?1 AND user_id = ?2 AND revoked_at IS NULL)",
        params![device.0, user.0],
        |row| row.get(0),
    )?;
    if !active {
        return Err(AccountError::NotFound);
    }
    close_device(tx, user, device, now)?;
    record(tx, audit_event::LOGOUT, Some(user), &format!("device {device}"), by, now)?;
    Ok(())
}

pub fn revoke_all(
    tx: &Transaction<'_>,
    user: UserId,
    keep: Option<DeviceId>,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    standing_of(tx, user, now)?;
    close_all(tx, user, keep, now)?;
    record(tx, audit_event::SESSIONS_REVOKED, Some(user), "", by, now)?;
    Ok(())
}

/// Logs out every device of a user, except one.
pub fn close_all(
    tx: &Transaction<'_>,
    user: UserId,
    keep: Option<DeviceId>,
    now: u64,
) -> rusqlite::Result<()> {
    let kept = keep.unwrap_or_default();
    let mut find =
        tx.prepare_cached("SELECT id FROM devices WHERE user_id = ?1 AND revoked_at IS NULL AND id <> ?2")?;
    let devices: Vec<DeviceId> =
        find.query_map(params![user.0, kept.0], |row| id(row, 0))?.collect::<rusqlite::Result<_>>()?;
    for device in devices {
        close_device(tx, user, device, now)?;
    }
    tx.execute("DELETE FROM sessions WHERE user_id = ?1", [user.0])?;
    if keep.is_none() {
        tx.execute(
            "UPDATE users SET tokens_not_before = ?2 WHERE id = ?1",
            params![user.0, int(now / 1000)],
        )?;
        note_tokens_revoked(tx, user, now / 1000, now)?;
    }
    Ok(())
}

fn close_device(tx: &Transaction<'_>, user: UserId, device: DeviceId, now: u64) -> rusqlite::Result<()> {
    let name: String = tx.query_row(
        "UPDATE devices SET revoked_at = ?2, tokens_not_before = ?3 WHERE id = ?1 RETURNING name",
        params![device.0, int(now), int(now / 1000)],
        |row| row.get(0),
    )?;
    revoke_refresh_of(tx, device, now)?;
    note_device_revoked(tx, user, device, now)?;
    announce(tx, user, device, true, &name, now)
}

fn revoke_refresh_of(tx: &Transaction<'_>, device: DeviceId, now: u64) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE refresh_tokens SET revoked_at = ?2 WHERE device_id = ?1 AND revoked_at IS NULL",
        params![device.0, int(now)],
    )?;
    Ok(())
}

pub fn devices(tx: &Transaction<'_>, user: UserId) -> Answer<Vec<Device>> {
    let mut find = tx.prepare_cached(
        "SELECT id, name, created_at, last_seen_at, EXISTS (SELECT 1 FROM key_bundles k WHERE k.device_id = d.id)
         FROM devices d WHERE user_id = ?1 AND revoked_at IS NULL ORDER BY id",
    )?;
    let found = find.query_map([user.0], |row| {
        Ok(Device {
            id: id(row, 0)?,
            name: row.get(1)?,
            created_at: uint(row, 2)?,
            last_seen_at: uint(row, 3)?,
            has_keys: row.get(4)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
