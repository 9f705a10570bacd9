//! Administration: the life of accounts, banned addresses and blocks of them.

use rusqlite::{Transaction, params};
use schema_wire::record::UserStatus;
use schema_wire::{Network, UserId};

use super::audit::record;
use super::{must_be_active, standing_of};
use crate::accept::{REASON_BYTES_MAX, cut, must_be_ahead};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Origin, StatusChange, audit_event};
use crate::sqlite::value::int;

pub fn set_status(
    tx: &Transaction<'_>,
    user: UserId,
    change: StatusChange,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    // An account that nobody let in yet is approved, not reactivated.
    if standing_of(tx, user, now)? == UserStatus::Pending && change == StatusChange::Reactivate {
        return Err(AccountError::NotActive(UserStatus::Pending));
    }
    let reason = cut(reason, REASON_BYTES_MAX);
    let (event, action, until) = match change {
        StatusChange::Suspend { until } => (audit_event::USER_SUSPENDED, "SUSPEND", until),
        StatusChange::Ban => (audit_event::USER_BANNED, "BAN", None),
        StatusChange::Reactivate => (audit_event::USER_REACTIVATED, "REACTIVATE", None),
    };
    must_be_ahead(until, now)?;
    store_status(tx, user, change, (until, reason, now), now)?;
    tx.execute(
        "INSERT INTO moderation_actions (id, user_id, moderator_id, action, reason, until, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            crate::fresh_id(now),
            user.0,
            by.actor.map(|u| u.0),
            action,
            reason,
            until.map(int),
            int(now)
        ],
    )?;
    record(tx, event, Some(user), reason, by, now)?;
    Ok(())
}

/// `since`: when it began. The trigger writes the change log.
pub fn store_status(
    tx: &Transaction<'_>,
    user: UserId,
    change: StatusChange,
    (until, reason, since): (Option<u64>, &str, u64),
    now: u64,
) -> rusqlite::Result<()> {
    let (status, suspended, banned) = match change {
        StatusChange::Suspend { .. } => ("SUSPENDED", Some(reason), None),
        StatusChange::Ban => ("BANNED", None, Some(reason)),
        StatusChange::Reactivate => ("ACTIVE", None, None),
    };
    tx.execute(
        "UPDATE users SET status = ?2, updated_at = ?3, suspended_until = ?4,
           suspended_at = iif(?5 IS NULL, NULL, ?7), suspension_reason = ?5,
           banned_at = iif(?6 IS NULL, NULL, ?7), ban_reason = ?6
         WHERE id = ?1",
        params![user.0, status, int(now), until.map(int), suspended, banned, int(since)],
    )?;
    Ok(())
}

pub fn suspend_active(
    tx: &Transaction<'_>,
    user: UserId,
    until: u64,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    must_be_active(tx, user, now)?;
    set_status(tx, user, StatusChange::Suspend { until: Some(until) }, reason, by, now)
}

/// Bans for good, whatever becomes of decisions, or lifts a ban.
pub fn set_address_ban(
    tx: &Transaction<'_>,
    network: Network,
    banned: bool,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    let text = network.to_string();
    let reason = cut(reason, REASON_BYTES_MAX);
    let event = if banned {
        tx.execute(
            "INSERT INTO banned_ips (ip_address, reason, created_at, created_by, kept) VALUES (?1, ?2, ?3, ?4, 1)
             ON CONFLICT (ip_address) DO UPDATE SET reason = excluded.reason, expires_at = NULL, kept = 1",
            params![text, reason, int(now), by.actor.map(|u| u.0)],
        )?;
        audit_event::ADDRESS_BANNED
    } else {
        if tx.execute("DELETE FROM banned_ips WHERE ip_address = ?1", [&text])? == 0 {
            return Err(AccountError::NotFound);
        }
        audit_event::ADDRESS_UNBANNED
    };
    record(tx, event, None, &format!("{text}: {reason}"), by, now)?;
    Ok(())
}
