//! The account side in SQL: one function per call, run inside the call's transaction, while other nodes run theirs.
//!
//! Locks are taken in one order, so that no two transactions wait for each other: the account's own (`own`), then
//! conversations by id, then whatever belongs to them, then rows of `users` by id, last the audit chain. Rows that refer
//! to other people are inserted after those people's rows were locked.

pub mod admin;
pub mod administrators;
pub mod audit;
pub mod conversation;
pub mod erase;
pub mod events;
pub mod export;
pub mod invitation;
pub mod invite;
pub mod keys;
pub mod listing;
pub mod membership;
pub mod note;
pub mod password;
pub mod profile;
pub mod read;
pub mod register;
pub mod request;
pub mod session;

use std::collections::BTreeMap;

use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::transaction::Tx;
use super::value::{Id, id, status};
use crate::accounts::{AccountError, Answer};

/// First half of the keys of accounts' own locks; the second is made of the id.
const OWN_LOCK: i32 = 0x4143_4354;

/// Nobody else changes this account, its devices, keys, tokens and settings until the transaction ends. The first lock of
/// a transaction, and the only one of its kind.
pub async fn own(tx: &Tx, user: UserId) -> Answer<()> {
    tx.query("SELECT pg_advisory_xact_lock($1, $2)", &[&OWN_LOCK, &own_key(user)]).await?;
    Ok(())
}

/// The same beside others who only take something.
pub async fn own_shared(tx: &Tx, user: UserId) -> Answer<()> {
    tx.query("SELECT pg_advisory_xact_lock_shared($1, $2)", &[&OWN_LOCK, &own_key(user)]).await?;
    Ok(())
}

/// The random end of the id: two accounts with the same one only wait for each other.
fn own_key(user: UserId) -> i32 {
    let [.., a, b, c, d] = user.0;
    i32::from_be_bytes([a, b, c, d])
}

/// Locks people's rows in order of id and says what they are; the unknown are missing.
pub async fn lock_users(
    tx: &Tx,
    users: impl IntoIterator<Item = UserId>,
    now: u64,
) -> Answer<BTreeMap<UserId, UserStatus>> {
    locked(tx, users, "FOR NO KEY UPDATE", now).await
}

/// The same before an address is taken away: rows that refer to these people wait as well.
pub async fn lock_users_whole(
    tx: &Tx,
    users: impl IntoIterator<Item = UserId>,
    now: u64,
) -> Answer<BTreeMap<UserId, UserStatus>> {
    locked(tx, users, "FOR UPDATE", now).await
}

async fn locked(
    tx: &Tx,
    users: impl IntoIterator<Item = UserId>,
    strength: &str,
    now: u64,
) -> Answer<BTreeMap<UserId, UserStatus>> {
    let users: Vec<Id> = users.into_iter().map(|user| Id(user.0)).collect();
    let found = tx
        .query(
            &format!(
                "SELECT id, status, suspended_until FROM users WHERE id = ANY ($1) ORDER BY id {strength}"
            ),
            &[&users],
        )
        .await?;
    found.iter().map(|row| Ok((id(row, 0)?, status(row, 1, now)?))).collect()
}

/// The status of an account that exists and is not deleted.
pub async fn standing_of(tx: &Tx, user: UserId, now: u64) -> Answer<UserStatus> {
    let found =
        tx.query_opt("SELECT status, suspended_until FROM users WHERE id = $1", &[&Id(user.0)]).await?;
    let standing = found.map(|row| status(&row, 0, now)).transpose()?;
    must_stand(standing)
}

/// The same of one that was looked up.
pub fn must_stand(found: Option<UserStatus>) -> Answer<UserStatus> {
    match found {
        None | Some(UserStatus::Deleted) => Err(AccountError::NotFound),
        Some(status) => Ok(status),
    }
}

/// Refused unless the account is active.
pub fn must_be_active(found: Option<UserStatus>) -> Answer<()> {
    match must_stand(found)? {
        UserStatus::Active => Ok(()),
        other => Err(AccountError::NotActive(other)),
    }
}

/// Somebody who can be written to: not deleted, not banned, not still pending.
pub fn must_exist(found: Option<UserStatus>) -> Answer<()> {
    match must_stand(found)? {
        UserStatus::Active | UserStatus::Suspended { .. } => Ok(()),
        _ => Err(AccountError::NotFound),
    }
}
