//! Letters that decisions, answers to appeals and reversals still owe.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::accept::page;
use crate::accounts::Answer;
use crate::moderation::outcome;
use crate::rows::moderation::{AppealState, DecisionId, DueLetter, Told};
use crate::sqlite::value::{id, unknown};
use crate::stored::int;

/// What is owed of a kind, and in which order; of one decision with its id added.
const fn owed(told: Told) -> (&'static str, &'static str) {
    match told {
        Told::Decision => (
            "SELECT d.id, u.email, d.notice FROM moderation_decisions d JOIN users u ON u.id = d.user_id
             WHERE d.mailed_at = 0 AND u.email IS NOT NULL AND d.notice IS NOT NULL",
            "d.ended_at",
        ),
        Told::Answer => (
            "SELECT d.decision_id, u.email, d.answer, d.state
             FROM moderation_appeals d JOIN users u ON u.id = d.user_id
             WHERE d.mailed_at = 0 AND u.email IS NOT NULL AND d.answer IS NOT NULL",
            "d.answered_at",
        ),
        Told::Reversal => (
            "SELECT d.id, u.email, '', 'GRANTED' FROM moderation_decisions d JOIN users u ON u.id = d.user_id
             WHERE d.reversal_mailed_at = 0 AND u.email IS NOT NULL",
            "d.ended_at",
        ),
    }
}

pub fn due(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<DueLetter>> {
    let mut letters = Vec::new();
    for told in [Told::Decision, Told::Answer, Told::Reversal] {
        let (owed, order) = owed(told);
        let mut find = tx.prepare_cached(&format!("{owed} ORDER BY {order} LIMIT ?1"))?;
        for row in find.query_map([page(limit)], |row| letter(told, row))? {
            letters.push(row?);
        }
    }
    Ok(letters)
}

pub fn find(tx: &Transaction<'_>, wanted: DecisionId, told: Told) -> Answer<Option<DueLetter>> {
    let id = if told == Told::Answer { "decision_id" } else { "id" };
    let mut find = tx.prepare_cached(&format!("{} AND d.{id} = ?1", owed(told).0))?;
    Ok(find.query_row([wanted.0], |row| letter(told, row)).optional()?)
}

fn letter(told: Told, row: &Row<'_>) -> rusqlite::Result<DueLetter> {
    let text: String = row.get(2)?;
    let text = match told {
        Told::Decision => text,
        Told::Answer | Told::Reversal => {
            let state: String = row.get(3)?;
            outcome(AppealState::parse(&state).ok_or_else(|| unknown(3))?, &text)
        }
    };
    Ok(DueLetter { decision: id(row, 0)?, told, email: row.get(1)?, text })
}

pub fn sent(tx: &Transaction<'_>, wanted: DecisionId, told: Told, now: u64) -> Answer<()> {
    let sql = match told {
        Told::Decision => "UPDATE moderation_decisions SET mailed_at = ?2 WHERE id = ?1",
        Told::Answer => "UPDATE moderation_appeals SET mailed_at = ?2 WHERE decision_id = ?1",
        Told::Reversal => "UPDATE moderation_decisions SET reversal_mailed_at = ?2 WHERE id = ?1",
    };
    tx.execute(sql, params![wanted.0, int(now)])?;
    Ok(())
}
