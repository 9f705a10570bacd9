//! Letters that decisions, answers to appeals and reversals still owe.

use tokio_postgres::Row;

use crate::accept::page;
use crate::accounts::Answer;
use crate::moderation::outcome;
use crate::postgres::fault::Failed;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id};
use crate::rows::moderation::{AppealState, DecisionId, DueLetter, Told};

/// What is owed of a kind, and in which order; of one decision with its id added.
const fn owed(told: Told) -> (&'static str, &'static str) {
    match told {
        Told::Decision => (
            "SELECT d.id, u.email, d.notice FROM moderation_decisions d JOIN users u ON u.id = d.user_id
             WHERE d.mailed_at = 'epoch' AND u.email IS NOT NULL AND d.notice IS NOT NULL",
            "d.ended_at",
        ),
        Told::Answer => (
            "SELECT d.decision_id, u.email, d.answer, d.state
             FROM moderation_appeals d JOIN users u ON u.id = d.user_id
             WHERE d.mailed_at = 'epoch' AND u.email IS NOT NULL AND d.answer IS NOT NULL",
            "d.answered_at",
        ),
        Told::Reversal => (
            "SELECT d.id, u.email, '', 'GRANTED' FROM moderation_decisions d JOIN users u ON u.id = d.user_id
             WHERE d.reversal_mailed_at = 'epoch' AND u.email IS NOT NULL",
            "d.ended_at",
        ),
    }
}

pub async fn due(tx: &Tx, limit: u32) -> Answer<Vec<DueLetter>> {
    let mut letters = Vec::new();
    for told in [Told::Decision, Told::Answer, Told::Reversal] {
        let (owed, order) = owed(told);
        let sql = format!("{owed} ORDER BY {order} LIMIT $1");
        for row in tx.query(&sql, &[&i64::from(page(limit))]).await? {
            letters.push(letter(told, &row)?);
        }
    }
    Ok(letters)
}

pub async fn find(tx: &Tx, wanted: DecisionId, told: Told) -> Answer<Option<DueLetter>> {
    let id = if told == Told::Answer { "decision_id" } else { "id" };
    let sql = format!("{} AND d.{id} = $1", owed(told).0);
    tx.query_opt(&sql, &[&Id(wanted.0)]).await?.map(|row| letter(told, &row)).transpose()
}

fn letter(told: Told, row: &Row) -> Answer<DueLetter> {
    let text: String = row.try_get(2)?;
    let text = match told {
        Told::Decision => text,
        Told::Answer | Told::Reversal => {
            let state = AppealState::parse(row.try_get(3)?).ok_or(Failed::Unreadable("an appeal's state"))?;
            outcome(state, &text)
        }
    };
    Ok(DueLetter { decision: id(row, 0)?, told, email: row.try_get(1)?, text })
}

pub async fn sent(tx: &Tx, wanted: DecisionId, told: Told, now: u64) -> Answer<()> {
    let sql = match told {
        Told::Decision => "UPDATE moderation_decisions SET mailed_at = $2 WHERE id = $1",
        Told::Answer => "UPDATE moderation_appeals SET mailed_at = $2 WHERE decision_id = $1",
        Told::Reversal => "UPDATE moderation_decisions SET reversal_mailed_at = $2 WHERE id = $1",
    };
    tx.execute(sql, &[&Id(wanted.0), &At(now)]).await?;
    Ok(())
}
