//! Decisions are made, agreed to by a second moderator, or taken back before they take effect.

use schema_wire::UserId;
use tokio_postgres::Row;

use super::case::must_be_free;
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::moderation::{
    UNDO_MS, beginning, gravest, must_be_above, must_be_allowed, must_be_second, must_be_sound,
    must_be_undoable,
};
use crate::postgres::account::audit::record;
use crate::postgres::account::read::{account_role, address, id_opt};
use crate::postgres::account::{own, standing_of};
use crate::postgres::fault::Failed;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time, time_opt};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{CaseState, Decision, DecisionId, DecisionState, Measure, NewDecision};
use crate::rows::role::AccountRole;

/// Most decisions on one card.
const CARD_ROWS: i64 = 50;

const ROW: &str =
    "SELECT d.id, d.user_id, d.moderator_id, coalesce(m.name, ''), d.actions, d.days, d.with_address,
       abbrev(d.address), d.reason, d.notice, d.state, d.created_at, d.due_at, d.second_id, d.ended_at,
       coalesce(s.role, 'USER')
     FROM moderation_decisions d LEFT JOIN users m ON m.id = d.moderator_id LEFT JOIN users s ON s.id = d.user_id";

pub async fn decide(tx: &Tx, new: &NewDecision, by: &Origin, now: u64) -> Answer<Decision> {
    own(tx, new.subject).await?;
    check(tx, new, now).await?;
    let (state, due_at) = beginning(new, now);
    match must_be_free(tx, new.subject, new.moderator, now).await {
        Ok(CaseState::Decided) => return Err(AccountError::Overtaken),
        Ok(CaseState::Open) => {
            tx.execute(
                "UPDATE moderation_cases SET state = 'DECIDED', claimed_by = NULL, claim_expires_at = 'epoch'
                 WHERE user_id = $1",
                &[&Id(new.subject.0)],
            )
            .await?;
        }
        // Nothing is open about this account: the decision stands for itself.
        Ok(CaseState::Resolved) | Err(AccountError::NotFound) => {}
        Err(other) => return Err(other),
    }
    let decision = DecisionId(crate::fresh_id(now));
    let names = Measure::names(&new.measures);
    tx.execute(
        "INSERT INTO moderation_decisions (id, user_id, moderator_id, actions, days, with_address, reason, notice,
           state, created_at, due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            &Id(decision.0),
            &Id(new.subject.0),
            &Id(new.moderator.0),
            &names,
            &i32::try_from(new.days).unwrap_or(i32::MAX),
            &new.with_address,
            &new.reason,
            &new.notice,
            &state.name(),
            &At(now),
            &due_at.map(At),
        ],
    )
    .await?;
    let detail = format!("{names}: {}", new.reason);
    record(tx, audit_event::DECISION_MADE, Some(new.subject), &detail, by, now).await?;
    find(tx, decision).await
}

/// What may be decided about whom.
async fn check(tx: &Tx, new: &NewDecision, now: u64) -> Answer<()> {
    must_be_sound(new)?;
    let standing = standing_of(tx, new.subject, now).await?;
    let subject = role_of(tx, new.subject).await?;
    must_be_allowed(new, standing, subject, role_of(tx, new.moderator).await?)?;
    must_be_new(tx, new).await
}

/// Nothing as grave is decided again while it is under way: a form that was sent twice, or a second moderator.
async fn must_be_new(tx: &Tx, new: &NewDecision) -> Answer<()> {
    let sql = format!("{ROW} WHERE d.user_id = $1 AND d.state IN ('WAITING', 'PENDING')");
    for row in tx.query(&sql, &[&Id(new.subject.0)]).await? {
        if gravest(&decision(&row)?.measures) == gravest(&new.measures) {
            return Err(AccountError::Overtaken);
        }
    }
    Ok(())
}

pub async fn role_of(tx: &Tx, user: UserId) -> Answer<AccountRole> {
    let found = tx.query_opt("SELECT role FROM users WHERE id = $1", &[&Id(user.0)]).await?;
    found.map_or(Ok(AccountRole::User), |row| account_role(&row, 0))
}

/// A decision that nobody else changes until the transaction ends.
pub async fn own_decision(tx: &Tx, wanted: DecisionId) -> Answer<Decision> {
    let subject = find(tx, wanted).await?.subject;
    own(tx, subject).await?;
    find(tx, wanted).await
}

pub async fn second(tx: &Tx, wanted: DecisionId, agrees: bool, by: &Origin, now: u64) -> Answer<Decision> {
    let decision = own_decision(tx, wanted).await?;
    let moderator = must_be_second(&decision, by)?;
    must_be_above(decision.subject_role, role_of(tx, moderator).await?)?;
    let event = if agrees {
        tx.execute(
            "UPDATE moderation_decisions SET state = 'PENDING', second_id = $2, due_at = $3 WHERE id = $1",
            &[&Id(wanted.0), &Id(moderator.0), &At(now + UNDO_MS)],
        )
        .await?;
        audit_event::DECISION_AGREED
    } else {
        end(tx, &decision, DecisionState::Refused, by, now).await?;
        reopen(tx, decision.subject).await?;
        audit_event::DECISION_REFUSED
    };
    record(tx, event, Some(decision.subject), &decision.reason, by, now).await?;
    find(tx, wanted).await
}

pub async fn undo(tx: &Tx, wanted: DecisionId, by: &Origin, now: u64) -> Answer<Decision> {
    let decision = own_decision(tx, wanted).await?;
    must_be_undoable(&decision, by, now)?;
    end(tx, &decision, DecisionState::Undone, by, now).await?;
    reopen(tx, decision.subject).await?;
    record(tx, audit_event::DECISION_UNDONE, Some(decision.subject), &decision.reason, by, now).await?;
    find(tx, wanted).await
}

/// Writes how a decision ended.
pub async fn end(tx: &Tx, decision: &Decision, state: DecisionState, by: &Origin, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE moderation_decisions SET state = $2, ended_at = $3, ended_by = $4 WHERE id = $1",
        &[&Id(decision.id.0), &state.name(), &At(now), &by.actor.map(|user| Id(user.0))],
    )
    .await?;
    Ok(())
}

/// The case of a decision that did not take effect is open again.
pub async fn reopen(tx: &Tx, subject: UserId) -> Answer<()> {
    tx.execute(
        "UPDATE moderation_cases SET state = 'OPEN' WHERE user_id = $1 AND state = 'DECIDED'",
        &[&Id(subject.0)],
    )
    .await?;
    Ok(())
}

pub async fn find(tx: &Tx, wanted: DecisionId) -> Answer<Decision> {
    let found = tx.query_opt(&format!("{ROW} WHERE d.id = $1"), &[&Id(wanted.0)]).await?;
    decision(&found.ok_or(AccountError::NotFound)?)
}

/// The decision whose time came first, for this transaction alone; `None` also when somebody else was faster.
pub async fn due(tx: &Tx, now: u64) -> Answer<Option<Decision>> {
    let next = tx
        .query_opt(
            "SELECT id FROM moderation_decisions WHERE state = 'PENDING' AND due_at <= $1 ORDER BY due_at LIMIT 1",
            &[&At(now)],
        )
        .await?;
    let Some(row) = next else { return Ok(None) };
    let found = own_decision(tx, DecisionId(id(&row, 0)?)).await?;
    Ok(Some(found).filter(|decision| decision.state == DecisionState::Pending))
}

pub async fn of(tx: &Tx, subject: UserId) -> Answer<Vec<Decision>> {
    let sql = format!("{ROW} WHERE d.user_id = $1 ORDER BY d.created_at DESC LIMIT $2");
    tx.query(&sql, &[&Id(subject.0), &CARD_ROWS]).await?.iter().map(decision).collect()
}

/// Those in effect besides this one, which nobody lifted by hand since.
pub async fn standing_beside(tx: &Tx, reversed: &Decision) -> Answer<Vec<Decision>> {
    let sql = format!(
        "{ROW} WHERE d.user_id = $1 AND d.state = 'DONE' AND d.id <> $2 AND d.ended_at > coalesce(
           (SELECT max(created_at) FROM moderation_actions WHERE user_id = $1 AND action = 'REACTIVATE'), '-infinity')"
    );
    tx.query(&sql, &[&Id(reversed.subject.0), &Id(reversed.id.0)]).await?.iter().map(decision).collect()
}

pub async fn waiting(tx: &Tx, limit: u32) -> Answer<Vec<Decision>> {
    let sql = format!("{ROW} WHERE d.state = 'WAITING' ORDER BY d.created_at LIMIT $1");
    tx.query(&sql, &[&i64::from(page(limit))]).await?.iter().map(decision).collect()
}

fn decision(row: &Row) -> Answer<Decision> {
    let actions: &str = row.try_get(4)?;
    let measures: Option<Vec<Measure>> = actions.split(',').map(Measure::parse).collect();
    let days: i32 = row.try_get(5)?;
    Ok(Decision {
        id: id(row, 0)?,
        subject: id(row, 1)?,
        subject_role: account_role(row, 15)?,
        moderator: id(row, 2)?,
        moderator_name: row.try_get(3)?,
        measures: measures.ok_or(Failed::Unreadable("a measure"))?,
        days: u32::try_from(days).unwrap_or(0),
        with_address: row.try_get(6)?,
        address: address(row, 7)?,
        reason: row.try_get(8)?,
        notice: row.try_get(9)?,
        state: DecisionState::parse(row.try_get(10)?).ok_or(Failed::Unreadable("a decision's state"))?,
        created_at: time(row, 11)?,
        due_at: time_opt(row, 12)?,
        second: id_opt(row, 13)?,
        ended_at: time_opt(row, 14)?,
    })
}
