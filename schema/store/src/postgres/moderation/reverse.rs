//! Decisions that took effect are reversed: what each did is undone where it is still its own doing. Everything that
//! could wait for another transaction comes before the first audit entry.

use std::net::IpAddr;

use schema_wire::UserId;

use super::appeal;
use super::apply::{settle, tell};
use super::decision::{end, find, role_of, standing_beside};
use crate::accept::{REASON_BYTES_MAX, cut};
use crate::accounts::{AccountError, Answer};
use crate::moderation::{MUTE_MS, is_out_by, must_be_above, outcome, still_demanded};
use crate::postgres::account::admin::{set_address_ban, set_status, store_status};
use crate::postgres::account::audit::record;
use crate::postgres::account::{lock_users, must_stand, own};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, time_opt};
use crate::rows::account::{Origin, StatusChange, audit_event};
use crate::rows::moderation::{AppealState, CaseState, Decision, DecisionId, DecisionState, Measure};
use crate::stored::address_text;

/// The reason stays with moderators; `answer` is what whoever appealed is told besides.
pub async fn reverse(
    tx: &Tx,
    wanted: DecisionId,
    (reason, answer): (&str, &str),
    by: &Origin,
    now: u64,
) -> Answer<Decision> {
    let subject = find(tx, wanted).await?.subject;
    own(tx, subject).await?;
    let standing = must_stand(lock_users(tx, [subject], now).await?.remove(&subject));
    let decision = find(tx, wanted).await?;
    if decision.state != DecisionState::Done {
        return Err(AccountError::Overtaken);
    }
    let actor = by.actor.filter(|actor| *actor != subject).ok_or(AccountError::NotAllowed)?;
    must_be_above(role_of(tx, subject).await?, role_of(tx, actor).await?)?;
    let stands = is_out_by(&decision, standing?, out_since(tx, subject).await?);
    if decision.notice.is_some() {
        tell(tx, &decision, &outcome(AppealState::Granted, answer), now).await?;
    }
    unmute(tx, &decision).await?;
    tx.execute(
        "UPDATE moderation_actions SET undone_at = $2, undone_by = $3 WHERE decision_id = $1 AND user_id = $4",
        &[&Id(wanted.0), &At(now), &by.actor.map(|user| Id(user.0)), &Id(subject.0)],
    )
    .await?;
    end(tx, &decision, DecisionState::Reversed, by, now).await?;
    // Whoever appealed against it has what was asked for.
    let granted = appeal::close(tx, &decision, AppealState::Granted, answer, by, now).await?;
    owe_letter(tx, &decision, granted).await?;
    if granted {
        settle(tx, subject, CaseState::Open, now).await?;
    }
    let restored = stands && restore(tx, &decision, now).await?;
    if let Some(address) = decision.address
        && is_banned_by(tx, &decision, address).await?
    {
        set_address_ban(tx, address.into(), false, reason, by, now).await?;
    }
    if stands && !restored {
        set_status(tx, subject, StatusChange::Reactivate, reason, by, now).await?;
    }
    if granted {
        record(tx, audit_event::APPEAL_GRANTED, Some(subject), reason, by, now).await?;
    }
    record(tx, audit_event::DECISION_REVERSED, Some(subject), reason, by, now).await?;
    find(tx, wanted).await
}

/// Leaves the account as the other decisions that stand have it, each from when it took effect; false: none demands
/// anything, or nobody wants it any more.
async fn restore(tx: &Tx, reversed: &Decision, now: u64) -> Answer<bool> {
    let others = standing_beside(tx, reversed).await?;
    let Some((other, change)) = still_demanded(&others, now) else { return Ok(false) };
    let until = if let StatusChange::Suspend { until } = change { until } else { None };
    let reason = cut(&other.reason, REASON_BYTES_MAX);
    let since = other.ended_at.unwrap_or(now);
    store_status(tx, reversed.subject, change, (until, reason, since), now).await?;
    Ok(true)
}

/// A letter that did not go out yet about the decision need not any more; the answer to an appeal says enough.
async fn owe_letter(tx: &Tx, decision: &Decision, is_answered: bool) -> Answer<()> {
    tx.execute(
        "UPDATE moderation_decisions SET mailed_at = nullif(mailed_at, 'epoch'),
           reversal_mailed_at = CASE WHEN $2 THEN 'epoch'::timestamptz END WHERE id = $1",
        &[&Id(decision.id.0), &(decision.notice.is_some() && !is_answered)],
    )
    .await?;
    Ok(())
}

/// Since when the account is out; of one that was let in again, nothing.
async fn out_since(tx: &Tx, user: UserId) -> Answer<Option<u64>> {
    let find = "SELECT coalesce(banned_at, suspended_at) FROM users WHERE id = $1";
    Ok(time_opt(&tx.query_one(find, &[&Id(user.0)]).await?, 0)?)
}

/// Ends the mute that the decision began: one of a later decision lasts until another moment.
async fn unmute(tx: &Tx, decision: &Decision) -> Answer<()> {
    if let Some(began) = decision.ended_at.filter(|_| decision.measures.contains(&Measure::Mute)) {
        tx.execute(
            "DELETE FROM moderation_mutes WHERE user_id = $1 AND until = $2",
            &[&Id(decision.subject.0), &At(began + MUTE_MS)],
        )
        .await?;
    }
    Ok(())
}

/// Whether the address is banned because of this decision alone: neither because of another one, nor because two agreed
/// on it, nor with an account that is erased by now. Of two that are reversed at the same time, the second one finds the
/// first one reversed.
async fn is_banned_by(tx: &Tx, decision: &Decision, address: IpAddr) -> Answer<bool> {
    let text = address_text(address);
    tx.query("SELECT 1 FROM banned_ips WHERE ip_address = $1::inet FOR UPDATE", &[&text]).await?;
    let found = tx
        .query_opt(
            "SELECT 1 FROM banned_ips b WHERE b.ip_address = $1::inet AND b.created_at <= $2 AND NOT b.kept AND NOT EXISTS (
               SELECT 1 FROM moderation_decisions d WHERE d.address = b.ip_address AND d.state = 'DONE'
                 AND d.ended_at >= b.created_at AND d.id <> $3)",
            &[&text, &decision.ended_at.map(At), &Id(decision.id.0)],
        )
        .await?;
    Ok(found.is_some())
}
