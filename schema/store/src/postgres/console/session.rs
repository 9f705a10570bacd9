//! Sessions of the console: opened, found again, ended. Whoever lost the role, or the account, has none.

use schema_wire::UserId;
use tokio_postgres::Row;

use super::lock::forget;
use crate::accept::cut;
use crate::accounts::{AccountError, Answer};
use crate::console::{SEEN_EVERY_MS, SESSION_IDLE_MS};
use crate::postgres::account::audit::record;
use crate::postgres::account::read::{account_role, address, hash};
use crate::postgres::account::{must_be_active, own, standing_of};
use crate::postgres::fault::Failed;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{ConsoleSession, NewConsoleSession, Stage};
use crate::rows::role::AccountRole;
use crate::stored::address_text;
use crate::token::TokenHash;

/// Longest user agent kept, in bytes.
const AGENT_BYTES_MAX: usize = 256;

const FOUND: &str =
    "SELECT s.id_hash, s.user_id, u.name, s.role, s.stage, s.created_at, s.seen_at, s.expires_at,
       abbrev(s.ip_address), s.user_agent
     FROM sessions s JOIN users u ON u.id = s.user_id
     WHERE s.expires_at > $2 AND s.seen_at > $3 AND s.role = u.role
       AND (u.status = 'ACTIVE' OR (u.status = 'SUSPENDED' AND u.suspended_until <= $2))";

pub async fn open(tx: &Tx, new: &NewConsoleSession, by: &Origin, now: u64) -> Answer<()> {
    own(tx, new.user).await?;
    must_be_active(Some(standing_of(tx, new.user, now).await?))?;
    let role =
        account_role(&tx.query_one("SELECT role FROM users WHERE id = $1", &[&Id(new.user.0)]).await?, 0)?;
    if role == AccountRole::User {
        return Err(AccountError::NotAllowed);
    }
    if let Some(old) = new.replaces {
        tx.execute("DELETE FROM sessions WHERE id_hash = $1", &[&old.0.as_slice()]).await?;
    }
    tx.execute("DELETE FROM sessions WHERE user_id = $1 AND expires_at <= $2", &[&Id(new.user.0), &At(now)])
        .await?;
    let agent = by.user_agent.as_deref().map(|agent| cut(agent, AGENT_BYTES_MAX));
    tx.execute(
        "INSERT INTO sessions (id_hash, user_id, data, created_at, expires_at, stage, role, seen_at, ip_address,
           user_agent)
         VALUES ($1, $2, '', $3, $4, $5, $6, $3, $7::inet, $8)",
        &[
            &new.token.hash.0.as_slice(),
            &Id(new.user.0),
            &At(now),
            &At(new.token.expires_at),
            &new.stage.name(),
            &role.name(),
            &by.address.map(address_text),
            &agent,
        ],
    )
    .await?;
    if new.stage == Stage::Full {
        if let Some(subject) = &new.lock_subject {
            forget(tx, subject).await?;
        }
        tx.execute("UPDATE users SET last_active_at = $2 WHERE id = $1", &[&Id(new.user.0), &At(now)])
            .await?;
        let by = Origin { actor: Some(new.user), ..by.clone() };
        record(tx, audit_event::LOGIN, Some(new.user), "console", &by, now).await?;
    }
    Ok(())
}

/// The session, and whether its use is to be written down.
pub async fn find(tx: &Tx, wanted: TokenHash, now: u64) -> Answer<Option<(ConsoleSession, bool)>> {
    let found = tx
        .query_opt(
            &format!("{FOUND} AND s.id_hash = $1"),
            &[&wanted.0.as_slice(), &At(now), &At(idle_before(now))],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    let session = session(&row)?;
    let is_due = session.seen_at + SEEN_EVERY_MS <= now;
    Ok(Some((session, is_due)))
}

pub async fn touch(tx: &Tx, wanted: TokenHash, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE sessions SET seen_at = greatest(seen_at, $2) WHERE id_hash = $1",
        &[&wanted.0.as_slice(), &At(now)],
    )
    .await?;
    Ok(())
}

pub async fn list(tx: &Tx, user: UserId, now: u64) -> Answer<Vec<ConsoleSession>> {
    let rows = tx
        .query(
            &format!("{FOUND} AND s.user_id = $1 AND s.stage = 'FULL' ORDER BY s.created_at DESC"),
            &[&Id(user.0), &At(now), &At(idle_before(now))],
        )
        .await?;
    rows.iter().map(session).collect()
}

pub async fn close(tx: &Tx, user: UserId, wanted: TokenHash, by: &Origin, now: u64) -> Answer<()> {
    let closed = tx
        .execute(
            "DELETE FROM sessions WHERE id_hash = $1 AND user_id = $2",
            &[&wanted.0.as_slice(), &Id(user.0)],
        )
        .await?;
    if closed == 0 {
        return Err(AccountError::NotFound);
    }
    record(tx, audit_event::LOGOUT, Some(user), "console", by, now).await?;
    Ok(())
}

pub async fn close_others(tx: &Tx, user: UserId, keep: TokenHash, by: &Origin, now: u64) -> Answer<u64> {
    let closed = tx
        .execute(
            "DELETE FROM sessions WHERE user_id = $1 AND id_hash <> $2",
            &[&Id(user.0), &keep.0.as_slice()],
        )
        .await?;
    if closed > 0 {
        record(tx, audit_event::SESSIONS_REVOKED, Some(user), "console", by, now).await?;
    }
    Ok(closed)
}

fn idle_before(now: u64) -> u64 {
    now.saturating_sub(SESSION_IDLE_MS)
}

fn session(row: &Row) -> Answer<ConsoleSession> {
    let stage = Stage::parse(row.try_get(4)?).ok_or(Failed::Unreadable("a session's stage"))?;
    Ok(ConsoleSession {
        id: TokenHash(hash(row, 0)?),
        user: id(row, 1)?,
        name: row.try_get(2)?,
        role: account_role(row, 3)?,
        stage,
        created_at: time(row, 5)?,
        seen_at: time(row, 6)?,
        expires_at: time(row, 7)?,
        address: address(row, 8)?,
        user_agent: row.try_get(9)?,
    })
}
