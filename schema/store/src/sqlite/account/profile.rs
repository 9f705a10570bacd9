//! Oneself: profile, blocks, settings.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::{UserId, v1};

use super::audit::record;
use super::{request, standing_of};
use crate::accept::{ABOUT_BYTES_MAX, clean_name, cut, must_be_email, must_be_setting, page};
use crate::accounts::{AccountError, Answer, BLOCKS_MAX, SETTINGS_MAX};
use crate::rows::account::{Origin, Profile, ProfileChange, audit_event};
use crate::sqlite::content;
use crate::sqlite::stream::push;
use crate::sqlite::value::{account_role, count, id, int, status, uint, uint_opt};

pub fn profile(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<Profile> {
    tx.prepare_cached(
        "SELECT id, email, name, about, status, suspended_until, role, created_at, last_active_at,
           email_verified_at IS NOT NULL
         FROM users WHERE id = ?1 AND status <> 'DELETED'",
    )?
    .query_row([user.0], |row| {
        Ok(Profile {
            user: id(row, 0)?,
            email: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
            name: row.get(2)?,
            about: row.get(3)?,
            status: status(row, 4, now)?,
            role: account_role(row, 6)?,
            created_at: uint(row, 7)?,
            last_active_at: uint_opt(row, 8)?,
            email_verified: row.get(9)?,
        })
    })
    .optional()?
    .ok_or(AccountError::NotFound)
}

pub fn find(tx: &Transaction<'_>, email: &str, now: u64) -> Answer<Profile> {
    let email = must_be_email(email)?;
    let user = tx
        .prepare_cached("SELECT id FROM users WHERE email = ?1")?
        .query_row([email], |row| id(row, 0))
        .optional()?;
    profile(tx, user.ok_or(AccountError::NotFound)?, now)
}

pub fn update(
    tx: &Transaction<'_>,
    user: UserId,
    change: &ProfileChange,
    by: &Origin,
    now: u64,
) -> Answer<Profile> {
    standing_of(tx, user, now)?;
    if let Some(name) = &change.name {
        let name = clean_name("name", name)?;
        tx.execute(
            "UPDATE users SET name = ?2, updated_at = ?3 WHERE id = ?1",
            params![user.0, name, int(now)],
        )?;
    }
    if let Some(about) = &change.about {
        let about = cut(about.trim(), ABOUT_BYTES_MAX);
        tx.execute(
            "UPDATE users SET about = ?2, updated_at = ?3 WHERE id = ?1",
            params![user.0, about, int(now)],
        )?;
    }
    for text in change.name.iter().chain(&change.about) {
        content::look(tx, user, "profile", text, now)?;
    }
    record(tx, audit_event::PROFILE_CHANGED, Some(user), "", by, now)?;
    profile(tx, user, now)
}

pub fn set_block(tx: &Transaction<'_>, user: UserId, other: UserId, blocked: bool, now: u64) -> Answer<()> {
    if user == other {
        return Err(AccountError::Invalid { field: "user", problem: "that is yourself" });
    }
    standing_of(tx, other, now)?;
    let changed = if blocked {
        let present =
            tx.query_row("SELECT count(*) FROM blocks WHERE user_id = ?1", [user.0], |row| count(row, 0))?;
        if present >= BLOCKS_MAX {
            return Err(AccountError::TooMany { limit: BLOCKS_MAX });
        }
        tx.execute(
            "INSERT INTO blocks (user_id, blocked_id, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![user.0, other.0, int(now)],
        )?
    } else {
        tx.execute("DELETE FROM blocks WHERE user_id = ?1 AND blocked_id = ?2", params![user.0, other.0])?
    };
    if changed > 0 {
        push(tx, user, v1::BlockChanged { user: other.to_bytes(), blocked, ..Default::default() }, now)?;
    }
    if blocked {
        request::drop_between(tx, user, other, now)?;
    }
    Ok(())
}

pub fn blocks(tx: &Transaction<'_>, user: UserId, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
    let mut find = tx.prepare_cached(
        "SELECT blocked_id FROM blocks WHERE user_id = ?1 AND blocked_id > ?2 ORDER BY blocked_id LIMIT ?3",
    )?;
    let found =
        find.query_map(params![user.0, after.unwrap_or_default().0, page(limit)], |row| id(row, 0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Whether either of two people blocked the other.
pub fn either_blocked(tx: &Transaction<'_>, a: UserId, b: UserId) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM blocks
         WHERE (user_id = ?1 AND blocked_id = ?2) OR (user_id = ?2 AND blocked_id = ?1))",
    )?
    .query_row(params![a.0, b.0], |row| row.get(0))
}

pub fn set_setting(tx: &Transaction<'_>, user: UserId, name: &str, value: &str, now: u64) -> Answer<()> {
    must_be_setting(name, value)?;
    standing_of(tx, user, now)?;
    if value.is_empty() {
        tx.execute("DELETE FROM settings WHERE user_id = ?1 AND name = ?2", params![user.0, name])?;
    } else {
        let others = tx.query_row(
            "SELECT count(*) FROM settings WHERE user_id = ?1 AND name <> ?2",
            params![user.0, name],
            |row| count(row, 0),
        )?;
        if others >= SETTINGS_MAX {
            return Err(AccountError::TooMany { limit: SETTINGS_MAX });
        }
        tx.execute(
            "INSERT INTO settings (user_id, name, value, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
            params![user.0, name, value, int(now)],
        )?;
    }
    let (name, value) = (name.to_owned(), value.to_owned());
    push(tx, user, v1::SettingChanged { name, value, ..Default::default() }, now)?;
    Ok(())
}

pub fn settings(tx: &Transaction<'_>, user: UserId) -> Answer<Vec<(String, String)>> {
    let mut find = tx.prepare_cached("SELECT name, value FROM settings WHERE user_id = ?1 ORDER BY name")?;
    let found = find.query_map([user.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
