//! Oneself: profile, blocks, settings.

use std::collections::BTreeSet;

use schema_wire::{UserId, v1};
use tokio_postgres::Row;

use super::audit::record;
use super::events::push_all;
use super::read::{account_role, ids};
use super::{invitation, lock_users, must_stand, own, request, standing_of};
use crate::accept::{ABOUT_BYTES_MAX, clean_name, cut, must_be_email, must_be_setting, page};
use crate::accounts::{AccountError, Answer, BLOCKS_MAX, SETTINGS_MAX};
use crate::postgres::content;
use crate::postgres::stream::push;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, status, time, time_opt, uint};
use crate::rows::account::{Origin, Profile, ProfileChange, audit_event};

/// What `row` reads of `users`.
pub const COLUMNS: &str = "id, email, name, about, status, suspended_until, role, created_at, last_active_at, email_verified_at IS NOT NULL";

pub fn row(row: &Row, now: u64) -> Answer<Profile> {
    Ok(Profile {
        user: id(row, 0)?,
        email: row.try_get::<_, Option<String>>(1)?.unwrap_or_default(),
        name: row.try_get(2)?,
        about: row.try_get(3)?,
        status: status(row, 4, now)?,
        role: account_role(row, 6)?,
        created_at: time(row, 7)?,
        last_active_at: time_opt(row, 8)?,
        email_verified: row.try_get(9)?,
    })
}

pub async fn profile(tx: &Tx, user: UserId, now: u64) -> Answer<Profile> {
    let found = tx
        .query_opt(
            &format!("SELECT {COLUMNS} FROM users WHERE id = $1 AND status <> 'DELETED'"),
            &[&Id(user.0)],
        )
        .await?;
    row(&found.ok_or(AccountError::NotFound)?, now)
}

pub async fn find(tx: &Tx, email: &str, now: u64) -> Answer<Profile> {
    let email = must_be_email(email)?;
    let found = tx
        .query_opt(
            &format!("SELECT {COLUMNS} FROM users WHERE email = $1 AND status <> 'DELETED'"),
            &[&email],
        )
        .await?;
    row(&found.ok_or(AccountError::NotFound)?, now)
}

pub async fn update(tx: &Tx, user: UserId, change: &ProfileChange, by: &Origin, now: u64) -> Answer<Profile> {
    own(tx, user).await?;
    standing_of(tx, user, now).await?;
    let name = change.name.as_deref().map(|name| clean_name("name", name)).transpose()?;
    let about = change.about.as_deref().map(|about| cut(about.trim(), ABOUT_BYTES_MAX));
    if name.is_some() || about.is_some() {
        tx.execute(
            "UPDATE users SET name = coalesce($2, name), about = coalesce($3, about), updated_at = $4
             WHERE id = $1",
            &[&Id(user.0), &name, &about, &At(now)],
        )
        .await?;
    }
    for text in change.name.iter().chain(&change.about) {
        content::look(tx, user, "profile", text, now).await?;
    }
    record(tx, audit_event::PROFILE_CHANGED, Some(user), "", by, now).await?;
    profile(tx, user, now).await
}

pub async fn set_block(tx: &Tx, user: UserId, other: UserId, blocked: bool, now: u64) -> Answer<()> {
    if user == other {
        return Err(AccountError::Invalid { field: "user", problem: "that is yourself" });
    }
    own(tx, user).await?;
    let hidden = if blocked { request::hide_from(tx, user, other).await? } else { None };
    let found = lock_users(tx, [user, other], now).await?;
    must_stand(found.get(&other).copied())?;
    let changed = if blocked {
        let present = tx.query_one("SELECT count(*) FROM blocks WHERE user_id = $1", &[&Id(user.0)]).await?;
        if uint(&present, 0)? >= BLOCKS_MAX as u64 {
            return Err(AccountError::TooMany { limit: BLOCKS_MAX });
        }
        tx.execute(
            "INSERT INTO blocks (user_id, blocked_id, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            &[&Id(user.0), &Id(other.0), &At(now)],
        )
        .await?
    } else {
        tx.execute("DELETE FROM blocks WHERE user_id = $1 AND blocked_id = $2", &[&Id(user.0), &Id(other.0)])
            .await?
    };
    if changed > 0 {
        let event = v1::BlockChanged { user: other.to_bytes(), blocked, ..Default::default() };
        push(tx, user, event, now).await?;
    }
    let mut dropped: Vec<_> = hidden.map(|conversation| (user, conversation)).into_iter().collect();
    if blocked {
        dropped.extend(invitation::take_between(tx, user, other).await?);
    }
    let deleted = v1::RequestAnswer::Deleted;
    let told =
        dropped.into_iter().map(|(user, conversation)| (user, request::answered(conversation, deleted)));
    push_all(tx, told.collect(), now).await
}

pub async fn blocks(tx: &Tx, user: UserId, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
    let found = tx
        .query(
            "SELECT blocked_id FROM blocks WHERE user_id = $1 AND blocked_id > $2 ORDER BY blocked_id LIMIT $3",
            &[&Id(user.0), &Id(after.unwrap_or_default().0), &i64::from(page(limit))],
        )
        .await?;
    ids(&found)
}

/// Those of `others` who blocked one, or whom one blocked.
pub async fn blocked_among(tx: &Tx, user: UserId, others: &[UserId]) -> Answer<BTreeSet<UserId>> {
    let others: Vec<Id> = others.iter().map(|other| Id(other.0)).collect();
    let found = tx
        .query(
            "SELECT blocked_id FROM blocks WHERE user_id = $1 AND blocked_id = ANY ($2)
             UNION SELECT user_id FROM blocks WHERE blocked_id = $1 AND user_id = ANY ($2)",
            &[&Id(user.0), &others],
        )
        .await?;
    Ok(ids(&found)?.into_iter().collect())
}

pub async fn set_setting(tx: &Tx, user: UserId, name: &str, value: &str, now: u64) -> Answer<()> {
    must_be_setting(name, value)?;
    own(tx, user).await?;
    standing_of(tx, user, now).await?;
    if value.is_empty() {
        tx.execute("DELETE FROM settings WHERE user_id = $1 AND name = $2", &[&Id(user.0), &name]).await?;
    } else {
        let others = tx
            .query_one(
                "SELECT count(*) FROM settings WHERE user_id = $1 AND name <> $2",
                &[&Id(user.0), &name],
            )
            .await?;
        if uint(&others, 0)? >= SETTINGS_MAX as u64 {
            return Err(AccountError::TooMany { limit: SETTINGS_MAX });
        }
        tx.execute(
            "INSERT INTO settings (user_id, name, value, updated_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
            &[&Id(user.0), &name, &value, &At(now)],
        )
        .await?;
    }
    let (name, value) = (name.to_owned(), value.to_owned());
    Ok(push(tx, user, v1::SettingChanged { name, value, ..Default::default() }, now).await?)
}

pub async fn settings(tx: &Tx, user: UserId) -> Answer<Vec<(String, String)>> {
    // By bytes, as names are compared everywhere else.
    let found = tx
        .query(
            "SELECT name, value FROM settings WHERE user_id = $1 ORDER BY name COLLATE \"C\"",
            &[&Id(user.0)],
        )
        .await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
