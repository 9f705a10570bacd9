//! Sessions of the console: opened, found again, ended. Whoever lost the role, or the account, has none.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use super::lock::forget;
use crate::accept::cut;
use crate::accounts::{AccountError, Answer};
use crate::console::{SEEN_EVERY_MS, SESSION_IDLE_MS};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{ConsoleSession, NewConsoleSession, Stage};
use crate::rows::role::AccountRole;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::must_be_active;
use crate::sqlite::value::{account_role, id, uint, unknown};
use crate::stored::{address_text, int};
use crate::token::TokenHash;

/// Longest user agent kept, in bytes.
const AGENT_BYTES_MAX: usize = 256;

const FOUND: &str =
    "SELECT s.id_hash, s.user_id, u.name, s.role, s.stage, s.created_at, s.seen_at, s.expires_at,
       s.ip_address, s.user_agent
     FROM sessions s JOIN users u ON u.id = s.user_id
     WHERE s.expires_at > ?2 AND s.seen_at > ?3 AND s.role = u.role
       AND (u.status = 'ACTIVE' OR (u.status = 'SUSPENDED' AND u.suspended_until <= ?2))";

pub fn open(tx: &Transaction<'_>, new: &NewConsoleSession, by: &Origin, now: u64) -> Answer<()> {
    must_be_active(tx, new.user, now)?;
    let role =
        tx.query_row("SELECT role FROM users WHERE id = ?1", [new.user.0], |row| account_role(row, 0))?;
    if role == AccountRole::User {
        return Err(AccountError::NotAllowed);
    }
    if let Some(old) = new.replaces {
        tx.execute("DELETE FROM sessions WHERE id_hash = ?1", [old.0])?;
    }
    tx.execute("DELETE FROM sessions WHERE expires_at <= ?1", [int(now)])?;
    let agent = by.user_agent.as_deref().map(|agent| cut(agent, AGENT_BYTES_MAX));
    tx.execute(
        "INSERT INTO sessions (id_hash, user_id, data, created_at, expires_at, stage, role, seen_at, ip_address,
           user_agent)
         VALUES (?1, ?2, x'', ?3, ?4, ?5, ?6, ?3, ?7, ?8)",
        params![
            new.token.hash.0,
            new.user.0,
            int(now),
            int(new.token.expires_at),
            new.stage.name(),
            role.name(),
            by.address.map(address_text),
            agent
        ],
    )?;
    if new.stage == Stage::Full {
        if let Some(subject) = &new.lock_subject {
            forget(tx, subject)?;
        }
        tx.execute("UPDATE users SET last_active_at = ?2 WHERE id = ?1", params![new.user.0, int(now)])?;
        let by = Origin { actor: Some(new.user), ..by.clone() };
        record(tx, audit_event::LOGIN, Some(new.user), "console", &by, now)?;
    }
    Ok(())
}

/// The session, and whether its use is to be written down.
pub fn find(tx: &Transaction<'_>, wanted: TokenHash, now: u64) -> Answer<Option<(ConsoleSession, bool)>> {
    let found = tx
        .prepare_cached(&format!("{FOUND} AND s.id_hash = ?1"))?
        .query_row(params![wanted.0, int(now), int(idle_before(now))], session)
        .optional()?;
    Ok(found.map(|session| {
        let is_due = session.seen_at + SEEN_EVERY_MS <= now;
        (session, is_due)
    }))
}

pub fn touch(tx: &Transaction<'_>, wanted: TokenHash, now: u64) -> Answer<()> {
    tx.prepare_cached("UPDATE sessions SET seen_at = max(seen_at, ?2) WHERE id_hash = ?1")?
        .execute(params![wanted.0, int(now)])?;
    Ok(())
}

pub fn list(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<Vec<ConsoleSession>> {
    let mut find = tx.prepare_cached(&format!(
        "{FOUND} AND s.user_id = ?1 AND s.stage = 'FULL' ORDER BY s.created_at DESC"
    ))?;
    let rows = find.query_map(params![user.0, int(now), int(idle_before(now))], session)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn close(tx: &Transaction<'_>, user: UserId, wanted: TokenHash, by: &Origin, now: u64) -> Answer<()> {
    let closed =
        tx.execute("DELETE FROM sessions WHERE id_hash = ?1 AND user_id = ?2", params![wanted.0, user.0])?;
    if closed == 0 {
        return Err(AccountError::NotFound);
    }
    record(tx, audit_event::LOGOUT, Some(user), "console", by, now)?;
    Ok(())
}

pub fn close_others(
    tx: &Transaction<'_>,
    user: UserId,
    keep: TokenHash,
    by: &Origin,
    now: u64,
) -> Answer<u64> {
    let closed =
        tx.execute("DELETE FROM sessions WHERE user_id = ?1 AND id_hash <> ?2", params![user.0, keep.0])?;
    if closed > 0 {
        record(tx, audit_event::SESSIONS_REVOKED, Some(user), "console", by, now)?;
    }
    Ok(closed as u64)
}

fn idle_before(now: u64) -> u64 {
    now.saturating_sub(SESSION_IDLE_MS)
}

fn session(row: &Row<'_>) -> rusqlite::Result<ConsoleSession> {
    let stage: String = row.get(4)?;
    let address: Option<String> = row.get(8)?;
    Ok(ConsoleSession {
        id: TokenHash(row.get(0)?),
        user: id(row, 1)?,
        name: row.get(2)?,
        role: account_role(row, 3)?,
        stage: Stage::parse(&stage).ok_or_else(|| unknown(4))?,
        created_at: uint(row, 5)?,
        seen_at: uint(row, 6)?,
        expires_at: uint(row, 7)?,
        address: address.map(|text| text.parse().map_err(|_| unknown(8))).transpose()?,
        user_agent: row.get(9)?,
    })
}
