//! Decisions take effect, all of one in one transaction.

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::record::UserStatus;
use schema_wire::{UserId, v1};

use super::decision::{due, end, find, reopen};
use crate::accept::{REASON_BYTES_MAX, cut};
use crate::accounts::{AccountError, Answer};
use crate::moderation::{MUTE_MS, only_closes, suspended_until, takes_out};
use crate::rows::account::{Origin, StatusChange, audit_event};
use crate::rows::moderation::{CaseState, Decision, DecisionState, Measure};
use crate::sqlite::account::admin::set_status;
use crate::sqlite::account::administrators::look;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::standing_of;
use crate::sqlite::stream::push;
use crate::sqlite::value::uint_opt;
use crate::stored::int;

/// What the trail says of a decision that would have left nobody to administer.
const LAST_ADMINISTRATOR: &str = "FAILED: the last active administrator";

pub fn apply_due(tx: &Transaction<'_>, now: u64) -> Answer<Option<Decision>> {
    let Some(decision) = due(tx, now)? else { return Ok(None) };
    let by = Origin { actor: Some(decision.moderator), ..Origin::system() };
    let told = match standing(tx, &decision, now) {
        Ok(standing) => {
            take_effect(tx, &decision, standing, &by, now)?;
            close(tx, &decision, now)?;
            end(tx, &decision, DecisionState::Done, &by, now)?;
            DecisionState::Done.name()
        }
        // An account that went away in these seconds leaves nothing to act on.
        Err(AccountError::NotFound) => {
            close(tx, &decision, now)?;
            end(tx, &decision, DecisionState::Failed, &by, now)?;
            DecisionState::Failed.name()
        }
        Err(AccountError::LastAdministrator) => {
            end(tx, &decision, DecisionState::Failed, &by, now)?;
            reopen(tx, decision.subject)?;
            LAST_ADMINISTRATOR
        }
        Err(other) => return Err(other),
    };
    record(tx, audit_event::DECISION_APPLIED, Some(decision.subject), told, &by, now)?;
    find(tx, decision.id).map(Some)
}

/// How the account stands; of administrators that are to go, the last one stays.
fn standing(tx: &Transaction<'_>, decision: &Decision, now: u64) -> Answer<UserStatus> {
    if takes_out(decision) {
        look(tx, decision.subject, now)?.must_leave_one()?;
    }
    standing_of(tx, decision.subject, now)
}

fn take_effect(
    tx: &Transaction<'_>,
    decision: &Decision,
    standing: UserStatus,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    let subject = decision.subject;
    for measure in &decision.measures {
        match measure {
            Measure::Warn => {
                note(tx, decision, "WARN", now)?;
                record(tx, audit_event::USER_WARNED, Some(subject), &decision.reason, by, now)?;
            }
            // A ban that came in between is not softened to a suspension.
            Measure::Suspend if standing == UserStatus::Banned => {}
            Measure::Suspend => {
                let until = Some(suspended_until(decision, now));
                set_status(tx, subject, StatusChange::Suspend { until }, &decision.reason, by, now)?;
            }
            Measure::Ban => {
                // One that came in between is this account's ban already.
                if standing != UserStatus::Banned {
                    set_status(tx, subject, StatusChange::Ban, &decision.reason, by, now)?;
                }
                if decision.with_address {
                    ban_address(tx, decision, by, now)?;
                }
            }
            Measure::Dismiss => {}
            Measure::Mute => {
                tx.execute(
                    "INSERT INTO moderation_mutes (user_id, until, moderator_id) VALUES (?1, ?2, ?3)
                     ON CONFLICT (user_id) DO UPDATE SET until = excluded.until, moderator_id = excluded.moderator_id",
                    params![subject.0, int(now + MUTE_MS), decision.moderator.0],
                )?;
            }
        }
    }
    tx.execute(
        "UPDATE moderation_actions SET decision_id = ?2 WHERE user_id = ?1 AND created_at = ?3 AND decision_id IS NULL",
        params![subject.0, decision.id.0, int(now)],
    )?;
    if let Some(notice) = &decision.notice {
        tell(tx, decision, notice, now)?;
        tx.execute("UPDATE moderation_decisions SET mailed_at = 0 WHERE id = ?1", [decision.id.0])?;
    }
    Ok(())
}

fn note(tx: &Transaction<'_>, decision: &Decision, action: &str, now: u64) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO moderation_actions (id, user_id, moderator_id, action, reason, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            crate::fresh_id(now),
            decision.subject.0,
            decision.moderator.0,
            action,
            decision.reason,
            int(now)
        ],
    )?;
    Ok(())
}

/// The account's own stream carries the notice to every device, at once or when it comes back.
pub fn tell(tx: &Transaction<'_>, decision: &Decision, text: &str, now: u64) -> rusqlite::Result<()> {
    let id = decision.id.0.to_vec().into();
    let warning = v1::Warning { id, at: now, text: text.to_owned(), ..Default::default() };
    push(tx, decision.subject, warning, now)
}

fn ban_address(tx: &Transaction<'_>, decision: &Decision, by: &Origin, now: u64) -> Answer<()> {
    let Some(address) = last_address(tx, decision.subject)? else { return Ok(()) };
    if is_banned_anyway(tx, address)? {
        return Ok(());
    }
    let (text, reason) = (address.to_string(), cut(&decision.reason, REASON_BYTES_MAX));
    tx.execute(
        "INSERT INTO banned_ips (ip_address, reason, created_at, created_by) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (ip_address) DO UPDATE SET reason = excluded.reason, expires_at = NULL",
        params![text, reason, int(now), by.actor.map(|user| user.0)],
    )?;
    tx.execute("UPDATE moderation_decisions SET address = ?2 WHERE id = ?1", params![decision.id.0, text])?;
    record(tx, audit_event::ADDRESS_BANNED, None, &format!("{text}: {reason}"), by, now)?;
    Ok(())
}

/// Whether others than decisions banned the address for good: it is not this decision's then, nor lifted with it. What was
/// banned by hand in the database, or by the release before, is older than the decisions that want it.
fn is_banned_anyway(tx: &Transaction<'_>, address: IpAddr) -> rusqlite::Result<bool> {
    let found = tx.query_row(
        "SELECT 1 FROM banned_ips b WHERE b.ip_address = ?1 AND b.expires_at IS NULL AND (b.kept OR NOT EXISTS (
           SELECT 1 FROM moderation_decisions d WHERE d.address = b.ip_address AND d.state = 'DONE'
             AND d.ended_at >= b.created_at))",
        [address.to_string()],
        |_| Ok(()),
    );
    Ok(found.optional()?.is_some())
}

/// Where the account was last used from.
fn last_address(tx: &Transaction<'_>, user: UserId) -> rusqlite::Result<Option<IpAddr>> {
    let found: Option<String> = tx
        .query_row(
            "SELECT ip_address FROM audit_logs WHERE user_id = ?1 AND actor_id = ?1 AND ip_address IS NOT NULL
             ORDER BY id DESC LIMIT 1",
            [user.0],
            |row| row.get(0),
        )
        .optional()?;
    Ok(found.and_then(|text| text.parse().ok()))
}

/// Closes what was open when the decision was made; what came later opens the case again.
fn close(tx: &Transaction<'_>, decision: &Decision, now: u64) -> rusqlite::Result<()> {
    let status = if only_closes(decision) { "DISMISSED" } else { "RESOLVED" };
    let subject = decision.subject.0;
    tx.execute(
        "UPDATE reports SET status = ?2, resolution = ?3, resolved_at = ?4, resolved_by = ?5, decision_id = ?6
         WHERE reported_user_id = ?1 AND status = 'PENDING' AND created_at <= ?7",
        params![
            subject,
            status,
            Measure::names(&decision.measures),
            int(now),
            decision.moderator.0,
            decision.id.0,
            int(decision.created_at)
        ],
    )?;
    tx.execute(
        "UPDATE flags SET status = 'CLOSED', closed_at = ?2, closed_by = ?3, decision_id = ?4
         WHERE user_id = ?1 AND status = 'OPEN' AND created_at <= ?5",
        params![subject, int(now), decision.moderator.0, decision.id.0, int(decision.created_at)],
    )?;
    settle(tx, decision.subject, CaseState::Decided, now)
}

/// A case in this state is open as long as anything is, and resolved otherwise.
pub fn settle(tx: &Transaction<'_>, subject: UserId, from: CaseState, now: u64) -> rusqlite::Result<()> {
    let left = tx.query_row(
        "SELECT min(at) FROM (
           SELECT min(created_at) AS at FROM reports WHERE reported_user_id = ?1 AND status = 'PENDING'
           UNION ALL SELECT min(created_at) FROM flags WHERE user_id = ?1 AND status = 'OPEN'
           UNION ALL SELECT min(created_at) FROM moderation_appeals WHERE user_id = ?1 AND state = 'OPEN')",
        [subject.0],
        |row| uint_opt(row, 0),
    )?;
    let sql = match left {
        Some(_) => {
            "UPDATE moderation_cases SET state = 'OPEN', opened_at = ?2 WHERE user_id = ?1 AND state = ?3"
        }
        None => {
            "UPDATE moderation_cases SET state = 'RESOLVED', resolved_at = ?2, claimed_by = NULL
             WHERE user_id = ?1 AND state = ?3"
        }
    };
    tx.execute(sql, params![subject.0, int(left.unwrap_or(now)), from.name()])?;
    Ok(())
}
