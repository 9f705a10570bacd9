//! Key bundles: opaque bytes a device publishes, so that others can write to it. A package goes to one claimer only.

use bytes::Bytes;
use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::{DeviceId, UserId, v1};

use super::audit::record;
use crate::accept::must_be_keys;
use crate::accounts::{AccountError, Answer, KEY_CHANGE_TOLD_MAX, KEY_PACKAGES_MAX};
use crate::rows::account::{Origin, audit_event};
use crate::rows::device::{ClaimedKey, KeyUpload, KeysLeft, PublishedKey};
use crate::sqlite::standing::acquainted;
use crate::sqlite::stream::push;
use crate::sqlite::value::{id, int, uint};

pub fn publish(
    tx: &Transaction<'_>,
    user: UserId,
    device: DeviceId,
    keys: &KeyUpload,
    by: &Origin,
    now: u64,
) -> Answer<KeysLeft> {
    must_own(tx, user, device)?;
    must_be_keys(keys)?;
    let present = identity(tx, device)?;
    match (&keys.identity, &present) {
        (None, None) => {
            return Err(AccountError::Invalid {
                field: "identity",
                problem: "publish the identity key first",
            });
        }
        (Some(new), present) if Some(new) != present.as_ref() => {
            replace_identity(tx, user, device, new, now)?;
            record(tx, audit_event::KEY_CHANGE, Some(user), &format!("device {device}"), by, now)?;
            tell_of_keys(tx, user, device, now)?;
        }
        _ => {}
    }
    if let Some(last_resort) = &keys.last_resort {
        tx.execute(
            "UPDATE key_bundles SET last_resort = ?2 WHERE device_id = ?1",
            params![device.0, last_resort.as_ref()],
        )?;
    }
    if count(tx, device)? as usize + keys.packages.len() > KEY_PACKAGES_MAX {
        return Err(AccountError::TooMany { limit: KEY_PACKAGES_MAX });
    }
    for package in &keys.packages {
        tx.prepare_cached("INSERT INTO key_packages (device_id, package) VALUES (?1, ?2)")?
            .execute(params![device.0, package.as_ref()])?;
    }
    left(tx, user, device)
}

pub fn left(tx: &Transaction<'_>, user: UserId, device: DeviceId) -> Answer<KeysLeft> {
    must_own(tx, user, device)?;
    let bundle = tx
        .query_row(
            "SELECT last_resort IS NOT NULL FROM key_bundles WHERE device_id = ?1",
            [device.0],
            |row| row.get(0),
        )
        .optional()?;
    Ok(KeysLeft {
        packages: count(tx, device)?,
        has_identity: bundle.is_some(),
        has_last_resort: bundle.unwrap_or(false),
    })
}

pub fn identities(tx: &Transaction<'_>, user: UserId, by: UserId) -> Answer<Vec<PublishedKey>> {
    must_know(tx, user, by)?;
    let mut find = tx.prepare_cached(
        "SELECT k.device_id, k.identity_key, k.published_at FROM key_bundles k JOIN devices d ON d.id = k.device_id
         WHERE k.user_id = ?1 AND d.revoked_at IS NULL ORDER BY k.device_id",
    )?;
    let found = find.query_map([user.0], |row| {
        Ok(PublishedKey {
            device: id(row, 0)?,
            identity: Bytes::from(row.get::<_, Vec<u8>>(1)?),
            published_at: uint(row, 2)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub fn claim(tx: &Transaction<'_>, user: UserId, device: DeviceId, by: UserId) -> Answer<ClaimedKey> {
    must_know(tx, user, by)?;
    must_own(tx, user, device)?;
    let identity = identity(tx, device)?.ok_or(AccountError::NotFound)?;
    let taken: Option<Vec<u8>> = tx
        .query_row(
            "DELETE FROM key_packages WHERE id = (SELECT min(id) FROM key_packages WHERE device_id = ?1)
             RETURNING package",
            [device.0],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(package) = taken {
        return Ok(ClaimedKey { identity, package: Some(Bytes::from(package)), last_resort: false });
    }
    let last_resort: Option<Vec<u8>> =
        tx.query_row("SELECT last_resort FROM key_bundles WHERE device_id = ?1", [device.0], |row| {
            row.get(0)
        })?;
    let is_last = last_resort.is_some();
    Ok(ClaimedKey { identity, package: last_resort.map(Bytes::from), last_resort: is_last })
}

fn must_own(tx: &Transaction<'_>, user: UserId, device: DeviceId) -> Answer<()> {
    let owned: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM devices WHERE id = ?1 AND user_id = ?2 AND revoked_at IS NULL)",
        params![device.0, user.0],
        |row| row.get(0),
    )?;
    if owned { Ok(()) } else { Err(AccountError::NotFound) }
}

/// Strangers look like people who do not exist.
fn must_know(tx: &Transaction<'_>, user: UserId, by: UserId) -> Answer<()> {
    if user == by || acquainted(tx, user, by)? { Ok(()) } else { Err(AccountError::NotFound) }
}

fn identity(tx: &Transaction<'_>, device: DeviceId) -> rusqlite::Result<Option<Bytes>> {
    tx.query_row("SELECT identity_key FROM key_bundles WHERE device_id = ?1", [device.0], |row| {
        row.get::<_, Vec<u8>>(0).map(Bytes::from)
    })
    .optional()
}

fn count(tx: &Transaction<'_>, device: DeviceId) -> rusqlite::Result<u32> {
    tx.query_row("SELECT count(*) FROM key_packages WHERE device_id = ?1", [device.0], |row| row.get(0))
}

/// Packages belong to the identity they were signed with, so they go with it.
fn replace_identity(
    tx: &Transaction<'_>,
    user: UserId,
    device: DeviceId,
    key: &Bytes,
    now: u64,
) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM key_packages WHERE device_id = ?1", [device.0])?;
    tx.execute(
        "INSERT INTO key_bundles (device_id, user_id, identity_key, published_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (device_id) DO UPDATE
         SET identity_key = excluded.identity_key, published_at = excluded.published_at, last_resort = NULL",
        params![device.0, user.0, key.as_ref(), int(now)],
    )?;
    Ok(())
}

fn tell_of_keys(tx: &Transaction<'_>, user: UserId, device: DeviceId, now: u64) -> rusqlite::Result<()> {
    let mut find = tx.prepare_cached(
        "SELECT b.user_id FROM conversation_members a
         JOIN conversations c ON c.id = a.conversation_id
         JOIN conversation_members b ON b.conversation_id = a.conversation_id AND b.left_offset IS NULL
         WHERE a.user_id = ?1 AND a.left_offset IS NULL AND b.user_id <> ?1
         GROUP BY b.user_id ORDER BY max(c.last_at) DESC LIMIT ?2",
    )?;
    let told: Vec<UserId> = find
        .query_map(params![user.0, KEY_CHANGE_TOLD_MAX as i64], |row| id(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    for other in told.into_iter().chain([user]) {
        let event =
            v1::KeysChanged { user: user.to_bytes(), device: device.to_bytes(), ..Default::default() };
        push(tx, other, event, now)?;
    }
    Ok(())
}
