//! Decisions take effect, all of one in one transaction. Everything that could wait for another transaction comes before
//! the first audit entry.

use std::net::IpAddr;

use schema_wire::record::UserStatus;
use schema_wire::{UserId, v1};

use super::decision::{due, end, find, reopen};
use crate::accept::{REASON_BYTES_MAX, cut};
use crate::accounts::{AccountError, Answer};
use crate::moderation::{MUTE_MS, only_closes, suspended_until, takes_out};
use crate::postgres::account::admin::set_status;
use crate::postgres::account::administrators::hold;
use crate::postgres::account::audit::record;
use crate::postgres::account::read::address;
use crate::postgres::account::{lock_users, must_stand};
use crate::postgres::stream::push;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, time_opt};
use crate::rows::account::{Origin, StatusChange, audit_event};
use crate::rows::moderation::{CaseState, Decision, DecisionState, Measure};
use crate::rows::role::AccountRole;
use crate::stored::address_text;

/// What the trail says of a decision that would have left nobody to administer.
const LAST_ADMINISTRATOR: &str = "FAILED: the last active administrator";

pub async fn apply_due(tx: &Tx, now: u64) -> Answer<Option<Decision>> {
    let Some(decision) = due(tx, now).await? else { return Ok(None) };
    let by = Origin { actor: Some(decision.moderator), ..Origin::system() };
    let told = match held(tx, &decision, now).await {
        Ok(standing) => {
            close(tx, &decision, now).await?;
            end(tx, &decision, DecisionState::Done, &by, now).await?;
            take_effect(tx, &decision, standing, &by, now).await?;
            DecisionState::Done.name()
        }
        // An account that went away in these seconds leaves nothing to act on.
        Err(AccountError::NotFound) => {
            close(tx, &decision, now).await?;
            end(tx, &decision, DecisionState::Failed, &by, now).await?;
            DecisionState::Failed.name()
        }
        Err(AccountError::LastAdministrator) => {
            end(tx, &decision, DecisionState::Failed, &by, now).await?;
            reopen(tx, decision.subject).await?;
            LAST_ADMINISTRATOR
        }
        Err(other) => return Err(other),
    };
    record(tx, audit_event::DECISION_APPLIED, Some(decision.subject), told, &by, now).await?;
    find(tx, decision.id).await.map(Some)
}

/// Holds the account's row, and those of all administrators when one of them is to go: the last one stays. Whoever makes
/// or unmakes an administrator of this account waits for its own lock.
async fn held(tx: &Tx, decision: &Decision, now: u64) -> Answer<UserStatus> {
    if !takes_out(decision) || decision.subject_role != AccountRole::Admin {
        return must_stand(lock_users(tx, [decision.subject], now).await?.remove(&decision.subject));
    }
    let concerned = hold(tx, decision.subject, now).await?;
    concerned.must_leave_one()?;
    Ok(concerned.status)
}

async fn take_effect(
    tx: &Tx,
    decision: &Decision,
    standing: UserStatus,
    by: &Origin,
    now: u64,
) -> Answer<()> {
    let subject = decision.subject;
    if let Some(notice) = &decision.notice {
        tell(tx, decision, notice, now).await?;
        tx.execute(
            "UPDATE moderation_decisions SET mailed_at = 'epoch' WHERE id = $1",
            &[&Id(decision.id.0)],
        )
        .await?;
    }
    // From the gravest on: an address is banned before the first entry that tells of this decision.
    for measure in decision.measures.iter().rev() {
        match measure {
            Measure::Warn => {
                note_warning(tx, decision, now).await?;
                record(tx, audit_event::USER_WARNED, Some(subject), &decision.reason, by, now).await?;
            }
            // A ban that came in between is not softened to a suspension.
            Measure::Suspend if standing == UserStatus::Banned => {}
            Measure::Suspend => {
                let until = Some(suspended_until(decision, now));
                set_status(tx, subject, StatusChange::Suspend { until }, &decision.reason, by, now).await?;
            }
            Measure::Ban => {
                if decision.with_address {
                    ban_address(tx, decision, by, now).await?;
                }
                // One that came in between is this account's ban already.
                if standing == UserStatus::Banned {
                    continue;
                }
                set_status(tx, subject, StatusChange::Ban, &decision.reason, by, now).await?;
            }
            Measure::Dismiss => {}
            Measure::Mute => mute(tx, decision, now).await?,
        }
    }
    tx.execute(
        "UPDATE moderation_actions SET decision_id = $2 WHERE user_id = $1 AND created_at = $3 AND decision_id IS NULL",
        &[&Id(subject.0), &Id(decision.id.0), &At(now)],
    )
    .await?;
    Ok(())
}

async fn note_warning(tx: &Tx, decision: &Decision, now: u64) -> Answer<()> {
    tx.execute(
        "INSERT INTO moderation_actions (id, user_id, moderator_id, action, reason, created_at)
         VALUES ($1, $2, $3, 'WARN', $4, $5)",
        &[
            &Id(crate::fresh_id(now)),
            &Id(decision.subject.0),
            &Id(decision.moderator.0),
            &decision.reason,
            &At(now),
        ],
    )
    .await?;
    Ok(())
}

async fn mute(tx: &Tx, decision: &Decision, now: u64) -> Answer<()> {
    tx.execute(
        "INSERT INTO moderation_mutes (user_id, until, moderator_id) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE SET until = excluded.until, moderator_id = excluded.moderator_id",
        &[&Id(decision.subject.0), &At(now + MUTE_MS), &Id(decision.moderator.0)],
    )
    .await?;
    Ok(())
}

/// The account's own stream carries the notice to every device, at once or when it comes back.
pub async fn tell(tx: &Tx, decision: &Decision, text: &str, now: u64) -> Answer<()> {
    let id = decision.id.0.to_vec().into();
    let warning = v1::Warning { id, at: now, text: text.to_owned(), ..Default::default() };
    Ok(push(tx, decision.subject, warning, now).await?)
}

async fn ban_address(tx: &Tx, decision: &Decision, by: &Origin, now: u64) -> Answer<()> {
    let Some(address) = last_address(tx, decision.subject).await? else { return Ok(()) };
    if is_banned_anyway(tx, address).await? {
        return Ok(());
    }
    tx.execute(
        "UPDATE moderation_decisions SET address = $2::inet WHERE id = $1",
        &[&Id(decision.id.0), &address_text(address)],
    )
    .await?;
    let (text, reason) = (address_text(address), cut(&decision.reason, REASON_BYTES_MAX));
    tx.execute(
        "INSERT INTO banned_ips (ip_address, reason, created_at, created_by) VALUES ($1::inet, $2, $3, $4)
         ON CONFLICT (ip_address) DO UPDATE SET reason = excluded.reason, expires_at = NULL",
        &[&text, &reason, &At(now), &by.actor.map(|user| Id(user.0))],
    )
    .await?;
    record(tx, audit_event::ADDRESS_BANNED, None, &format!("{address}: {reason}"), by, now).await?;
    Ok(())
}

/// Whether others than decisions banned the address for good: it is not this decision's then, nor lifted with it. What was
/// banned by hand in the database, or by the release before, is older than the decisions that want it.
async fn is_banned_anyway(tx: &Tx, address: IpAddr) -> Answer<bool> {
    let found = tx
        .query_opt(
            "SELECT 1 FROM banned_ips b WHERE b.ip_address = $1::inet AND b.expires_at IS NULL AND (b.kept OR NOT EXISTS (
               SELECT 1 FROM moderation_decisions d WHERE d.address = b.ip_address AND d.state = 'DONE'
                 AND d.ended_at >= b.created_at))",
            &[&address_text(address)],
        )
        .await?;
    Ok(found.is_some())
}

/// Where the account was last used from.
async fn last_address(tx: &Tx, user: UserId) -> Answer<Option<IpAddr>> {
    let found = tx
        .query_opt(
            "SELECT abbrev(ip_address) FROM audit_logs WHERE user_id = $1 AND actor_id = $1
               AND ip_address IS NOT NULL ORDER BY id DESC LIMIT 1",
            &[&Id(user.0)],
        )
        .await?;
    found.map_or(Ok(None), |row| address(&row, 0))
}

/// Closes what was open when the decision was made; what came later opens the case again.
async fn close(tx: &Tx, decision: &Decision, now: u64) -> Answer<()> {
    let status = if only_closes(decision) { "DISMISSED" } else { "RESOLVED" };
    let (subject, made, moderator) =
        (Id(decision.subject.0), At(decision.created_at), Id(decision.moderator.0));
    tx.execute(
        "UPDATE reports SET status = $2, resolution = $3, resolved_at = $4, resolved_by = $5, decision_id = $6
         WHERE reported_user_id = $1 AND status = 'PENDING' AND created_at <= $7",
        &[
            &subject,
            &status,
            &Measure::names(&decision.measures),
            &At(now),
            &moderator,
            &Id(decision.id.0),
            &made,
        ],
    )
    .await?;
    tx.execute(
        "UPDATE flags SET status = 'CLOSED', closed_at = $2, closed_by = $3, decision_id = $4
         WHERE user_id = $1 AND status = 'OPEN' AND created_at <= $5",
        &[&subject, &At(now), &moderator, &Id(decision.id.0), &made],
    )
    .await?;
    settle(tx, decision.subject, CaseState::Decided, now).await
}

/// A case in this state is open as long as anything is, and resolved otherwise.
pub async fn settle(tx: &Tx, subject: UserId, from: CaseState, now: u64) -> Answer<()> {
    let left = tx
        .query_one(
            "SELECT least(
               (SELECT min(created_at) FROM reports WHERE reported_user_id = $1 AND status = 'PENDING'),
               (SELECT min(created_at) FROM flags WHERE user_id = $1 AND status = 'OPEN'),
               (SELECT min(created_at) FROM moderation_appeals WHERE user_id = $1 AND state = 'OPEN'))",
            &[&Id(subject.0)],
        )
        .await?;
    let left = time_opt(&left, 0)?;
    let sql = match left {
        Some(_) => {
            "UPDATE moderation_cases SET state = 'OPEN', opened_at = $2 WHERE user_id = $1 AND state = $3"
        }
        None => {
            "UPDATE moderation_cases SET state = 'RESOLVED', resolved_at = $2, claimed_by = NULL
             WHERE user_id = $1 AND state = $3"
        }
    };
    tx.execute(sql, &[&Id(subject.0), &At(left.unwrap_or(now)), &from.name()]).await?;
    Ok(())
}
