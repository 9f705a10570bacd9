//! Administration: the life of accounts, banned addresses and blocks of them.

use schema_wire::record::UserStatus;
use schema_wire::{Network, UserId};

use super::audit::record;
use super::{must_be_active, own, standing_of};
use crate::accept::{REASON_BYTES_MAX, cut, must_be_ahead};
use crate::accounts::{AccountError, Answer};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id};
use crate::rows::account::{Origin, StatusChange, audit_event};

pub async fn set_status(
    tx: &Tx,
    user: UserId,
    change: StatusChange,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    own(tx, user).await?;
    // An account that nobody let in yet is approved, not reactivated.
    if standing_of(tx, user, now).await? == UserStatus::Pending && change == StatusChange::Reactivate {
        return Err(AccountError::NotActive(UserStatus::Pending));
    }
    let reason = cut(reason, REASON_BYTES_MAX);
    let (event, action, until) = match change {
        StatusChange::Suspend { until } => (audit_event::USER_SUSPENDED, "SUSPEND", until),
        StatusChange::Ban => (audit_event::USER_BANNED, "BAN", None),
        StatusChange::Reactivate => (audit_event::USER_REACTIVATED, "REACTIVATE", None),
    };
    must_be_ahead(until, now)?;
    store_status(tx, user, change, (until, reason, now), now).await?;
    tx.execute(
        "INSERT INTO moderation_actions (id, user_id, moderator_id, action, reason, until, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &Id(crate::fresh_id(now)),
            &Id(user.0),
            &by.actor.map(|u| Id(u.0)),
            &action,
            &reason,
            &until.map(At),
            &At(now),
        ],
    )
    .await?;
    record(tx, event, Some(user), reason, by, now).await?;
    Ok(())
}

/// Under the account's own lock: what is found does not change before it is written.
pub async fn suspend_active(
    tx: &Tx,
    user: UserId,
    until: u64,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    own(tx, user).await?;
    must_be_active(Some(standing_of(tx, user, now).await?))?;
    set_status(tx, user, StatusChange::Suspend { until: Some(until) }, reason, by, now).await
}

/// `since`: when it began. The trigger writes the change log.
pub async fn store_status(
    tx: &Tx,
    user: UserId,
    change: StatusChange,
    (until, reason, since): (Option<u64>, &str, u64),
    now: u64,
) -> Answer<()> {
    let (status, suspended, banned) = match change {
        StatusChange::Suspend { .. } => ("SUSPENDED", Some(reason), None),
        StatusChange::Ban => ("BANNED", None, Some(reason)),
        StatusChange::Reactivate => ("ACTIVE", None, None),
    };
    tx.execute(
        "UPDATE users SET status = $2, updated_at = $3, suspended_until = $4,
           suspended_at = CASE WHEN $5 IS NOT NULL THEN $7::timestamptz END, suspension_reason = $5,
           banned_at = CASE WHEN $6 IS NOT NULL THEN $7::timestamptz END, ban_reason = $6
         WHERE id = $1",
        &[&Id(user.0), &status, &At(now), &until.map(At), &suspended, &banned, &At(since)],
    )
    .await?;
    Ok(())
}

/// Bans for good, whatever becomes of decisions, or lifts a ban.
pub async fn set_address_ban(
    tx: &Tx,
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
            "INSERT INTO banned_ips (ip_address, reason, created_at, created_by, kept)
             VALUES ($1::inet, $2, $3, $4, true)
             ON CONFLICT (ip_address) DO UPDATE SET reason = excluded.reason, expires_at = NULL, kept = true",
            &[&text, &reason, &At(now), &by.actor.map(|u| Id(u.0))],
        )
        .await?;
        audit_event::ADDRESS_BANNED
    } else {
        if tx.execute("DELETE FROM banned_ips WHERE ip_address = $1::inet", &[&text]).await? == 0 {
            return Err(AccountError::NotFound);
        }
        audit_event::ADDRESS_UNBANNED
    };
    record(tx, event, None, &format!("{text}: {reason}"), by, now).await?;
    Ok(())
}
