//! Decisions are made, agreed to by a second moderator, or taken back before they take effect.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use super::case::must_be_free;
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::moderation::{
    UNDO_MS, beginning, gravest, must_be_above, must_be_allowed, must_be_second, must_be_sound,
    must_be_undoable,
};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{CaseState, Decision, DecisionId, DecisionState, Measure, NewDecision};
use crate::rows::role::AccountRole;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::standing_of;
use crate::sqlite::value::{account_role, id, id_opt, small, uint, uint_opt, unknown};
use crate::stored::int;

/// Most decisions on one card.
const CARD_ROWS: u32 = 50;

const ROW: &str =
    "SELECT d.id, d.user_id, d.moderator_id, coalesce(m.name, ''), d.actions, d.days, d.with_address,
       d.address, d.reason, d.notice, d.state, d.created_at, d.due_at, d.second_id, d.ended_at,
       coalesce(s.role, 'USER')
     FROM moderation_decisions d LEFT JOIN users m ON m.id = d.moderator_id LEFT JOIN users s ON s.id = d.user_id";

pub fn decide(tx: &Transaction<'_>, new: &NewDecision, by: &Origin, now: u64) -> Answer<Decision> {
    check(tx, new, now)?;
    let (state, due_at) = beginning(new, now);
    match must_be_free(tx, new.subject, new.moderator, now) {
        Ok(CaseState::Decided) => return Err(AccountError::Overtaken),
        Ok(CaseState::Open) => {
            tx.execute(
                "UPDATE moderation_cases SET state = 'DECIDED', claimed_by = NULL, claim_expires_at = 0
                 WHERE user_id = ?1",
                [new.subject.0],
            )?;
        }
        // Nothing is open about this account: the decision stands for itself.
        Ok(CaseState::Resolved) | Err(AccountError::NotFound) => {}
        Err(other) => return Err(other),
    }
    let decision = DecisionId(crate::fresh_id(now));
    let names = Measure::names(&new.measures);
    tx.execute(
        "INSERT INTO moderation_decisions (id, user_id, moderator_id, actions, days, with_address, reason, notice, state,
           created_at, due_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            decision.0,
            new.subject.0,
            new.moderator.0,
            names,
            new.days,
            new.with_address,
            new.reason,
            new.notice,
            state.name(),
            int(now),
            due_at.map(int)
        ],
    )?;
    let detail = format!("{names}: {}", new.reason);
    record(tx, audit_event::DECISION_MADE, Some(new.subject), &detail, by, now)?;
    find(tx, decision)
}

/// What may be decided about whom.
fn check(tx: &Transaction<'_>, new: &NewDecision, now: u64) -> Answer<()> {
    must_be_sound(new)?;
    let standing = standing_of(tx, new.subject, now)?;
    must_be_allowed(new, standing, role_of(tx, new.subject)?, role_of(tx, new.moderator)?)?;
    must_be_new(tx, new)
}

/// Nothing as grave is decided again while it is under way: a form that was sent twice, or a second moderator.
fn must_be_new(tx: &Transaction<'_>, new: &NewDecision) -> Answer<()> {
    let mut find =
        tx.prepare_cached(&format!("{ROW} WHERE d.user_id = ?1 AND d.state IN ('WAITING', 'PENDING')"))?;
    for under_way in find.query_map([new.subject.0], decision)? {
        if gravest(&under_way?.measures) == gravest(&new.measures) {
            return Err(AccountError::Overtaken);
        }
    }
    Ok(())
}

pub fn role_of(tx: &Transaction<'_>, user: UserId) -> Answer<AccountRole> {
    let found =
        tx.query_row("SELECT role FROM users WHERE id = ?1", [user.0], |row| account_role(row, 0)).optional();
    Ok(found?.unwrap_or_default())
}

pub fn second(
    tx: &Transaction<'_>,
    wanted: DecisionId,
    agrees: bool,
    by: &Origin,
    now: u64,
) -> Answer<Decision> {
    let decision = find(tx, wanted)?;
    let moderator = must_be_second(&decision, by)?;
    must_be_above(decision.subject_role, role_of(tx, moderator)?)?;
    if agrees {
        tx.execute(
            "UPDATE moderation_decisions SET state = 'PENDING', second_id = ?2, due_at = ?3 WHERE id = ?1",
            params![wanted.0, moderator.0, int(now + UNDO_MS)],
        )?;
        record(tx, audit_event::DECISION_AGREED, Some(decision.subject), &decision.reason, by, now)?;
    } else {
        end(tx, &decision, DecisionState::Refused, by, now)?;
        reopen(tx, decision.subject)?;
        record(tx, audit_event::DECISION_REFUSED, Some(decision.subject), &decision.reason, by, now)?;
    }
    find(tx, wanted)
}

pub fn undo(tx: &Transaction<'_>, wanted: DecisionId, by: &Origin, now: u64) -> Answer<Decision> {
    let decision = find(tx, wanted)?;
    must_be_undoable(&decision, by, now)?;
    end(tx, &decision, DecisionState::Undone, by, now)?;
    reopen(tx, decision.subject)?;
    record(tx, audit_event::DECISION_UNDONE, Some(decision.subject), &decision.reason, by, now)?;
    find(tx, wanted)
}

/// Writes how a decision ended.
pub fn end(
    tx: &Transaction<'_>,
    decision: &Decision,
    state: DecisionState,
    by: &Origin,
    now: u64,
) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE moderation_decisions SET state = ?2, ended_at = ?3, ended_by = ?4 WHERE id = ?1",
        params![decision.id.0, state.name(), int(now), by.actor.map(|user| user.0)],
    )?;
    Ok(())
}

/// The case of a decision that did not take effect is open again.
pub fn reopen(tx: &Transaction<'_>, subject: UserId) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE moderation_cases SET state = 'OPEN' WHERE user_id = ?1 AND state = 'DECIDED'",
        [subject.0],
    )?;
    Ok(())
}

pub fn find(tx: &Transaction<'_>, wanted: DecisionId) -> Answer<Decision> {
    let found =
        tx.prepare_cached(&format!("{ROW} WHERE d.id = ?1"))?.query_row([wanted.0], decision).optional()?;
    found.ok_or(AccountError::NotFound)
}

/// The decision whose time came first.
pub fn due(tx: &Transaction<'_>, now: u64) -> Answer<Option<Decision>> {
    let found = tx
        .prepare_cached(&format!(
            "{ROW} WHERE d.state = 'PENDING' AND d.due_at <= ?1 ORDER BY d.due_at LIMIT 1"
        ))?
        .query_row([int(now)], decision)
        .optional()?;
    Ok(found)
}

pub fn of(tx: &Transaction<'_>, subject: UserId) -> Answer<Vec<Decision>> {
    let mut find =
        tx.prepare_cached(&format!("{ROW} WHERE d.user_id = ?1 ORDER BY d.created_at DESC LIMIT ?2"))?;
    let rows = find.query_map(params![subject.0, CARD_ROWS], decision)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Those in effect besides this one, which nobody lifted by hand since.
pub fn standing_beside(tx: &Transaction<'_>, reversed: &Decision) -> Answer<Vec<Decision>> {
    let mut find = tx.prepare_cached(&format!(
        "{ROW} WHERE d.user_id = ?1 AND d.state = 'DONE' AND d.id <> ?2 AND d.ended_at > coalesce(
           (SELECT max(created_at) FROM moderation_actions WHERE user_id = ?1 AND action = 'REACTIVATE'), -1)"
    ))?;
    let rows = find.query_map(params![reversed.subject.0, reversed.id.0], decision)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn waiting(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<Decision>> {
    let mut find =
        tx.prepare_cached(&format!("{ROW} WHERE d.state = 'WAITING' ORDER BY d.created_at LIMIT ?1"))?;
    let rows = find.query_map([page(limit)], decision)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn decision(row: &Row<'_>) -> rusqlite::Result<Decision> {
    let actions: String = row.get(4)?;
    let measures: Option<Vec<Measure>> = actions.split(',').map(Measure::parse).collect();
    let address: Option<String> = row.get(7)?;
    let state: String = row.get(10)?;
    Ok(Decision {
        id: id(row, 0)?,
        subject: id(row, 1)?,
        subject_role: account_role(row, 15)?,
        moderator: id(row, 2)?,
        moderator_name: row.get(3)?,
        measures: measures.ok_or_else(|| unknown(4))?,
        days: small(row, 5)?,
        with_address: row.get(6)?,
        address: address.map(|text| text.parse().map_err(|_| unknown(7))).transpose()?,
        reason: row.get(8)?,
        notice: row.get(9)?,
        state: DecisionState::parse(&state).ok_or_else(|| unknown(10))?,
        created_at: uint(row, 11)?,
        due_at: uint_opt(row, 12)?,
        second: id_opt(row, 13)?,
        ended_at: uint_opt(row, 14)?,
    })
}
