//! Appeals: an account answers a decision, and somebody who had no part in it grants that or lets the decision stand.

use rusqlite::{Row, Transaction, params};
use schema_wire::{UserId, v1};

use super::apply::settle;
use super::case::must_be_free;
use super::decision::{find, role_of};
use super::reverse::reverse;
use crate::accounts::{AccountError, Answer};
use crate::moderation::{must_be_above, must_be_open_to_appeal, must_be_told, outcome};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{Appeal, AppealState, CaseState, Decision, DecisionId};
use crate::sqlite::account::audit::record;
use crate::sqlite::account::standing_of;
use crate::sqlite::stream::push;
use crate::sqlite::value::{id, uint, uint_opt, unknown};
use crate::stored::int;

/// Most appeals on one card.
const CARD_ROWS: u32 = 50;

pub fn file(tx: &Transaction<'_>, wanted: DecisionId, text: &str, by: &Origin, now: u64) -> Answer<()> {
    must_be_told("text", text)?;
    let decision = find(tx, wanted)?;
    must_be_open_to_appeal(&decision, by.actor, now)?;
    standing_of(tx, decision.subject, now)?;
    // The trigger opens the case.
    let filed = tx.execute(
        "INSERT INTO moderation_appeals (decision_id, user_id, text, created_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
        params![wanted.0, decision.subject.0, text.trim(), int(now)],
    )?;
    if filed == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::APPEALED, Some(decision.subject), "", by, now)?;
    Ok(())
}

pub fn answer(
    tx: &Transaction<'_>,
    wanted: DecisionId,
    grants: bool,
    answer: &str,
    by: &Origin,
    now: u64,
) -> Answer<Decision> {
    must_be_told("answer", answer)?;
    let decision = find(tx, wanted)?;
    let moderator = by.actor.filter(|actor| *actor != decision.subject).ok_or(AccountError::NotAllowed)?;
    must_be_above(role_of(tx, decision.subject)?, role_of(tx, moderator)?)?;
    if must_be_free(tx, decision.subject, moderator, now)? != CaseState::Open {
        return Err(AccountError::Overtaken);
    }
    if !is_open(tx, wanted)? {
        return Err(AccountError::Overtaken);
    }
    if grants {
        return reverse(tx, wanted, (answer, answer), by, now);
    }
    close(tx, &decision, AppealState::Upheld, answer, by, now)?;
    let id = decision.id.0.to_vec().into();
    let told = v1::Warning { id, at: now, text: outcome(AppealState::Upheld, answer), ..Default::default() };
    push(tx, decision.subject, told, now)?;
    settle(tx, decision.subject, CaseState::Open, now)?;
    record(tx, audit_event::APPEAL_UPHELD, Some(decision.subject), answer, by, now)?;
    Ok(decision)
}

fn is_open(tx: &Transaction<'_>, wanted: DecisionId) -> rusqlite::Result<bool> {
    tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM moderation_appeals WHERE decision_id = ?1 AND state = 'OPEN')",
        [wanted.0],
        |row| row.get(0),
    )
}

/// Writes how an appeal ended; false: none is open. A letter is owed then.
pub fn close(
    tx: &Transaction<'_>,
    decision: &Decision,
    state: AppealState,
    answer: &str,
    by: &Origin,
    now: u64,
) -> Answer<bool> {
    let closed = tx.execute(
        "UPDATE moderation_appeals SET state = ?2, answer = ?3, answered_by = ?4, answered_at = ?5, mailed_at = 0
         WHERE decision_id = ?1 AND state = 'OPEN'",
        params![decision.id.0, state.name(), answer, by.actor.map(|user| user.0), int(now)],
    )?;
    Ok(closed > 0)
}

pub fn of(tx: &Transaction<'_>, subject: UserId) -> Answer<Vec<Appeal>> {
    let mut find = tx.prepare_cached(
        "SELECT a.decision_id, a.text, a.state, a.created_at, coalesce(a.answer, ''), coalesce(m.name, ''), a.answered_at
         FROM moderation_appeals a LEFT JOIN users m ON m.id = a.answered_by
         WHERE a.user_id = ?1 ORDER BY a.created_at DESC LIMIT ?2",
    )?;
    let rows = find.query_map(params![subject.0, CARD_ROWS], appeal)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn appeal(row: &Row<'_>) -> rusqlite::Result<Appeal> {
    let state: String = row.get(2)?;
    Ok(Appeal {
        decision: id(row, 0)?,
        text: row.get(1)?,
        state: AppealState::parse(&state).ok_or_else(|| unknown(2))?,
        created_at: uint(row, 3)?,
        answer: row.get(4)?,
        answerer: row.get(5)?,
        answered_at: uint_opt(row, 6)?,
    })
}
