//! Appeals: an account answers a decision, and somebody who had no part in it grants that or lets the decision stand.

use schema_wire::{UserId, v1};
use tokio_postgres::Row;

use super::apply::settle;
use super::case::must_be_free;
use super::decision::{own_decision, role_of};
use super::reverse::reverse;
use crate::accounts::{AccountError, Answer};
use crate::moderation::{must_be_above, must_be_open_to_appeal, must_be_told, outcome};
use crate::postgres::account::audit::record;
use crate::postgres::account::{lock_users, must_stand, standing_of};
use crate::postgres::fault::Failed;
use crate::postgres::stream::push;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time, time_opt};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{Appeal, AppealState, CaseState, Decision, DecisionId};

/// Most appeals on one card.
const CARD_ROWS: i64 = 50;

pub async fn file(tx: &Tx, wanted: DecisionId, text: &str, by: &Origin, now: u64) -> Answer<()> {
    must_be_told("text", text)?;
    let decision = own_decision(tx, wanted).await?;
    must_be_open_to_appeal(&decision, by.actor, now)?;
    standing_of(tx, decision.subject, now).await?;
    // The trigger opens the case.
    let filed = tx
        .execute(
            "INSERT INTO moderation_appeals (decision_id, user_id, text, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
            &[&Id(wanted.0), &Id(decision.subject.0), &text.trim(), &At(now)],
        )
        .await?;
    if filed == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::APPEALED, Some(decision.subject), "", by, now).await?;
    Ok(())
}

pub async fn answer(
    tx: &Tx,
    wanted: DecisionId,
    grants: bool,
    answer: &str,
    by: &Origin,
    now: u64,
) -> Answer<Decision> {
    must_be_told("answer", answer)?;
    let decision = own_decision(tx, wanted).await?;
    let subject = decision.subject;
    let moderator = by.actor.filter(|actor| *actor != subject).ok_or(AccountError::NotAllowed)?;
    must_be_above(role_of(tx, subject).await?, role_of(tx, moderator).await?)?;
    if must_be_free(tx, subject, moderator, now).await? != CaseState::Open {
        return Err(AccountError::Overtaken);
    }
    if !is_open(tx, wanted).await? {
        return Err(AccountError::Overtaken);
    }
    if grants {
        return reverse(tx, wanted, (answer, answer), by, now).await;
    }
    close(tx, &decision, AppealState::Upheld, answer, by, now).await?;
    must_stand(lock_users(tx, [subject], now).await?.remove(&subject))?;
    let id = decision.id.0.to_vec().into();
    let told = v1::Warning { id, at: now, text: outcome(AppealState::Upheld, answer), ..Default::default() };
    push(tx, subject, told, now).await?;
    settle(tx, subject, CaseState::Open, now).await?;
    record(tx, audit_event::APPEAL_UPHELD, Some(subject), answer, by, now).await?;
    Ok(decision)
}

async fn is_open(tx: &Tx, wanted: DecisionId) -> Answer<bool> {
    let find = "SELECT 1 FROM moderation_appeals WHERE decision_id = $1 AND state = 'OPEN'";
    Ok(tx.query_opt(find, &[&Id(wanted.0)]).await?.is_some())
}

/// Writes how an appeal ended; false: none is open. A letter is owed then.
pub async fn close(
    tx: &Tx,
    decision: &Decision,
    state: AppealState,
    answer: &str,
    by: &Origin,
    now: u64,
) -> Answer<bool> {
    let closed = tx
        .execute(
            "UPDATE moderation_appeals
             SET state = $2, answer = $3, answered_by = $4, answered_at = $5, mailed_at = 'epoch'
             WHERE decision_id = $1 AND state = 'OPEN'",
            &[&Id(decision.id.0), &state.name(), &answer, &by.actor.map(|user| Id(user.0)), &At(now)],
        )
        .await?;
    Ok(closed > 0)
}

pub async fn of(tx: &Tx, subject: UserId) -> Answer<Vec<Appeal>> {
    let rows = tx
        .query(
            "SELECT a.decision_id, a.text, a.state, a.created_at, coalesce(a.answer, ''), coalesce(m.name, ''),
               a.answered_at
             FROM moderation_appeals a LEFT JOIN users m ON m.id = a.answered_by
             WHERE a.user_id = $1 ORDER BY a.created_at DESC LIMIT $2",
            &[&Id(subject.0), &CARD_ROWS],
        )
        .await?;
    rows.iter().map(appeal).collect()
}

fn appeal(row: &Row) -> Answer<Appeal> {
    Ok(Appeal {
        decision: id(row, 0)?,
        text: row.try_get(1)?,
        state: AppealState::parse(row.try_get(2)?).ok_or(Failed::Unreadable("an appeal's state"))?,
        created_at: time(row, 3)?,
        answer: row.try_get(4)?,
        answerer: row.try_get(5)?,
        answered_at: time_opt(row, 6)?,
    })
}
