//! Key bundles: opaque bytes a device publishes, so that others can write to it. A package goes to one claimer only.

use bytes::Bytes;
use schema_wire::{DeviceId, UserId, v1};
use tokio_postgres::Row;

use super::audit::record;
use super::events::push_all;
use super::read::ids;
use super::{lock_users, own, own_shared};
use crate::accept::must_be_keys;
use crate::accounts::{AccountError, Answer, KEY_CHANGE_TOLD_MAX, KEY_PACKAGES_MAX};
use crate::postgres::standing::acquainted;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time, uint};
use crate::rows::account::{Origin, audit_event};
use crate::rows::device::{ClaimedKey, KeyUpload, KeysLeft, PublishedKey};

pub async fn publish(
    tx: &Tx,
    user: UserId,
    device: DeviceId,
    keys: &KeyUpload,
    by: &Origin,
    now: u64,
) -> Answer<KeysLeft> {
    own(tx, user).await?;
    must_own(tx, user, device).await?;
    must_be_keys(keys)?;
    let present = identity(tx, device).await?;
    let replaced = match (&keys.identity, &present) {
        (None, None) => {
            return Err(AccountError::Invalid {
                field: "identity",
                problem: "publish the identity key first",
            });
        }
        (Some(new), present) if Some(new) != present.as_ref() => {
            replace_identity(tx, user, device, new, now).await?;
            true
        }
        _ => false,
    };
    add(tx, device, keys).await?;
    let left = left(tx, user, device).await?;
    if replaced {
        tell_of_keys(tx, user, device, now).await?;
        record(tx, audit_event::KEY_CHANGE, Some(user), &format!("device {device}"), by, now).await?;
    }
    Ok(left)
}

async fn add(tx: &Tx, device: DeviceId, keys: &KeyUpload) -> Answer<()> {
    if let Some(last_resort) = &keys.last_resort {
        tx.execute(
            "UPDATE key_bundles SET last_resort = $2 WHERE device_id = $1",
            &[&Id(device.0), &last_resort.as_ref()],
        )
        .await?;
    }
    if count(tx, device).await? + keys.packages.len() > KEY_PACKAGES_MAX {
        return Err(AccountError::TooMany { limit: KEY_PACKAGES_MAX });
    }
    let packages: Vec<&[u8]> = keys.packages.iter().map(Bytes::as_ref).collect();
    tx.execute(
        "INSERT INTO key_packages (device_id, package) SELECT $1, package FROM unnest($2) AS package",
        &[&Id(device.0), &packages],
    )
    .await?;
    Ok(())
}

pub async fn left(tx: &Tx, user: UserId, device: DeviceId) -> Answer<KeysLeft> {
    must_own(tx, user, device).await?;
    let bundle = tx
        .query_opt("SELECT last_resort IS NOT NULL FROM key_bundles WHERE device_id = $1", &[&Id(device.0)])
        .await?;
    let has_last_resort = bundle.as_ref().map_or(Ok(false), |row| row.try_get(0))?;
    let packages = u32::try_from(count(tx, device).await?).unwrap_or(u32::MAX);
    Ok(KeysLeft { packages, has_identity: bundle.is_some(), has_last_resort })
}

pub async fn identities(tx: &Tx, user: UserId, by: UserId) -> Answer<Vec<PublishedKey>> {
    must_know(tx, user, by).await?;
    let found = tx
        .query(
            "SELECT k.device_id, k.identity_key, k.published_at
             FROM key_bundles k JOIN devices d ON d.id = k.device_id
             WHERE k.user_id = $1 AND d.revoked_at IS NULL ORDER BY k.device_id",
            &[&Id(user.0)],
        )
        .await?;
    let read = |row: &Row| {
        Ok(PublishedKey {
            device: id(row, 0)?,
            identity: Bytes::from(row.try_get::<_, Vec<u8>>(1)?),
            published_at: time(row, 2)?,
        })
    };
    found.iter().map(read).collect()
}

pub async fn claim(tx: &Tx, user: UserId, device: DeviceId, by: UserId) -> Answer<ClaimedKey> {
    // The identity must be the one that the package was signed with.
    own_shared(tx, user).await?;
    must_know(tx, user, by).await?;
    must_own(tx, user, device).await?;
    let identity = identity(tx, device).await?.ok_or(AccountError::NotFound)?;
    // Who comes second waits for the row, finds it gone and takes the next.
    let taken = tx
        .query_opt(
            "DELETE FROM key_packages WHERE id =
               (SELECT id FROM key_packages WHERE device_id = $1 ORDER BY id LIMIT 1 FOR UPDATE)
             RETURNING package",
            &[&Id(device.0)],
        )
        .await?;
    if let Some(row) = taken {
        let package = Some(Bytes::from(row.try_get::<_, Vec<u8>>(0)?));
        return Ok(ClaimedKey { identity, package, last_resort: false });
    }
    let bundle =
        tx.query_one("SELECT last_resort FROM key_bundles WHERE device_id = $1", &[&Id(device.0)]).await?;
    let last_resort: Option<Vec<u8>> = bundle.try_get(0)?;
    let is_last = last_resort.is_some();
    Ok(ClaimedKey { identity, package: last_resort.map(Bytes::from), last_resort: is_last })
}

async fn must_own(tx: &Tx, user: UserId, device: DeviceId) -> Answer<()> {
    let owned = tx
        .query_opt(
            "SELECT 1 FROM devices WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL",
            &[&Id(device.0), &Id(user.0)],
        )
        .await?;
    owned.map(drop).ok_or(AccountError::NotFound)
}

/// Strangers look like people who do not exist.
async fn must_know(tx: &Tx, user: UserId, by: UserId) -> Answer<()> {
    if user == by || acquainted(tx, user, by).await? { Ok(()) } else { Err(AccountError::NotFound) }
}

async fn identity(tx: &Tx, device: DeviceId) -> Answer<Option<Bytes>> {
    let found =
        tx.query_opt("SELECT identity_key FROM key_bundles WHERE device_id = $1", &[&Id(device.0)]).await?;
    found.map(|row| Ok(Bytes::from(row.try_get::<_, Vec<u8>>(0)?))).transpose()
}

async fn count(tx: &Tx, device: DeviceId) -> Answer<usize> {
    let row =
        tx.query_one("SELECT count(*) FROM key_packages WHERE device_id = $1", &[&Id(device.0)]).await?;
    Ok(uint(&row, 0)? as usize)
}

/// Packages belong to the identity they were signed with, so they go with it.
async fn replace_identity(tx: &Tx, user: UserId, device: DeviceId, key: &Bytes, now: u64) -> Answer<()> {
    tx.execute("DELETE FROM key_packages WHERE device_id = $1", &[&Id(device.0)]).await?;
    tx.execute(
        "INSERT INTO key_bundles (device_id, user_id, identity_key, published_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (device_id) DO UPDATE
         SET identity_key = excluded.identity_key, published_at = excluded.published_at, last_resort = NULL",
        &[&Id(device.0), &Id(user.0), &key.as_ref(), &At(now)],
    )
    .await?;
    Ok(())
}

async fn tell_of_keys(tx: &Tx, user: UserId, device: DeviceId, now: u64) -> Answer<()> {
    let found = tx
        .query(
            "SELECT b.user_id FROM conversation_members a
             JOIN conversations c ON c.id = a.conversation_id
             JOIN conversation_members b ON b.conversation_id = a.conversation_id AND b.left_offset IS NULL
             WHERE a.user_id = $1 AND a.left_offset IS NULL AND b.user_id <> $1
             GROUP BY b.user_id ORDER BY max(c.last_at) DESC LIMIT $2",
            &[&Id(user.0), &(KEY_CHANGE_TOLD_MAX as i64)],
        )
        .await?;
    let mut told: Vec<UserId> = ids(&found)?;
    told.push(user);
    lock_users(tx, told.iter().copied(), now).await?;
    let event = v1::KeysChanged { user: user.to_bytes(), device: device.to_bytes(), ..Default::default() };
    push_all(tx, told.into_iter().map(|other| (other, event.clone().into())).collect(), now).await
}
