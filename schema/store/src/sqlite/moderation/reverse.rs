//! Decisions that took effect are reversed: what each did is undone where it is still its own doing.

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::UserId;

use super::appeal;
use super::apply::{settle, tell};
use super::decision::{end, find, role_of, standing_beside};
use crate::accept::{REASON_BYTES_MAX, cut};
use crate::accounts::{AccountError, Answer};
use crate::moderation::{MUTE_MS, is_out_by, must_be_above, outcome, still_demanded};
use crate::rows::account::{Origin, StatusChange, audit_event};
use crate::rows::moderation::{AppealState, CaseState, Decision, DecisionId, DecisionState, Measure};
use crate::sqlite::account::admin::{set_address_ban, set_status, store_status};
use crate::sqlite::account::audit::record;
use crate::sqlite::account::standing_of;
use crate::sqlite::value::uint_opt;
use crate::stored::int;

/// The reason stays with moderators; `answer` is what whoever appealed is told besides.
pub fn reverse(
    tx: &Transaction<'_>,
    wanted: DecisionId,
    (reason, answer): (&str, &str),
    by: &Origin,
    now: u64,
) -> Answer<Decision> {
    let decision = find(tx, wanted)?;
    if decision.state != DecisionState::Done {
        return Err(AccountError::Overtaken);
    }
    let subject = decision.subject;
    let actor = by.actor.filter(|actor| *actor != subject).ok_or(AccountError::NotAllowed)?;
    must_be_above(role_of(tx, subject)?, role_of(tx, actor)?)?;
    if is_out_by(&decision, standing_of(tx, subject, now)?, out_since(tx, subject)?)
        && !restore(tx, &decision, now)?
    {
        set_status(tx, subject, StatusChange::Reactivate, reason, by, now)?;
    }
    if let Some(address) = decision.address
        && is_banned_by(tx, &decision, address)?
    {
        set_address_ban(tx, address.into(), false, reason, by, now)?;
    }
    unmute(tx, &decision)?;
    tx.execute(
        "UPDATE moderation_actions SET undone_at = ?2, undone_by = ?3 WHERE decision_id = ?1 AND user_id = ?4",
        params![wanted.0, int(now), by.actor.map(|user| user.0), subject.0],
    )?;
    if decision.notice.is_some() {
        tell(tx, &decision, &outcome(AppealState::Granted, answer), now)?;
    }
    end(tx, &decision, DecisionState::Reversed, by, now)?;
    // Whoever appealed against it has what was asked for.
    let granted = appeal::close(tx, &decision, AppealState::Granted, answer, by, now)?;
    owe_letter(tx, &decision, granted)?;
    if granted {
        settle(tx, subject, CaseState::Open, now)?;
        record(tx, audit_event::APPEAL_GRANTED, Some(subject), reason, by, now)?;
    }
    record(tx, audit_event::DECISION_REVERSED, Some(subject), reason, by, now)?;
    find(tx, wanted)
}

/// Leaves the account as the other decisions that stand have it, each from when it took effect; false: none demands
/// anything, or nobody wants it any more.
fn restore(tx: &Transaction<'_>, reversed: &Decision, now: u64) -> Answer<bool> {
    let others = standing_beside(tx, reversed)?;
    let Some((other, change)) = still_demanded(&others, now) else { return Ok(false) };
    let until = if let StatusChange::Suspend { until } = change { until } else { None };
    let reason = cut(&other.reason, REASON_BYTES_MAX);
    store_status(tx, reversed.subject, change, (until, reason, other.ended_at.unwrap_or(now)), now)?;
    Ok(true)
}

/// A letter that did not go out yet about the decision need not any more; the answer to an appeal says enough.
fn owe_letter(tx: &Transaction<'_>, decision: &Decision, is_answered: bool) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE moderation_decisions SET mailed_at = nullif(mailed_at, 0), reversal_mailed_at = iif(?2, 0, NULL)
         WHERE id = ?1",
        params![decision.id.0, decision.notice.is_some() && !is_answered],
    )?;
    Ok(())
}

/// Since when the account is out; of one that was let in again, nothing.
fn out_since(tx: &Transaction<'_>, user: UserId) -> rusqlite::Result<Option<u64>> {
    let find = "SELECT coalesce(banned_at, suspended_at) FROM users WHERE id = ?1";
    tx.query_row(find, [user.0], |row| uint_opt(row, 0))
}

/// Ends the mute that the decision began: one of a later decision lasts until another moment.
fn unmute(tx: &Transaction<'_>, decision: &Decision) -> rusqlite::Result<()> {
    if let Some(began) = decision.ended_at.filter(|_| decision.measures.contains(&Measure::Mute)) {
        tx.execute(
            "DELETE FROM moderation_mutes WHERE user_id = ?1 AND until = ?2",
            params![decision.subject.0, int(began + MUTE_MS)],
        )?;
    }
    Ok(())
}

/// Whether the address is banned because of this decision alone: neither because of another one, nor because two agreed
/// on it, nor with an account that is erased by now.
fn is_banned_by(tx: &Transaction<'_>, decision: &Decision, address: IpAddr) -> rusqlite::Result<bool> {
    let found = tx.query_row(
        "SELECT 1 FROM banned_ips b WHERE b.ip_address = ?1 AND b.created_at <= ?2 AND NOT b.kept AND NOT EXISTS (
           SELECT 1 FROM moderation_decisions d WHERE d.address = b.ip_address AND d.state = 'DONE'
             AND d.ended_at >= b.created_at AND d.id <> ?3)",
        params![address.to_string(), decision.ended_at.map(int), decision.id.0],
        |_| Ok(()),
    );
    Ok(found.optional()?.is_some())
}
