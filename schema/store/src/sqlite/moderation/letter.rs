//! Letters that decisions, answers to appeals and reversals still owe.

use rusqlite::{Row, Transaction, params};

use crate::accept::page;
use crate::accounts::Answer;
use crate::moderation::outcome;
use crate::rows::moderation::{AppealState, DecisionId, DueLetter, Told};
use crate::sqlite::value::{id, unknown};
use crate::stored::int;

pub fn due(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<DueLetter>> {
    let mut letters = owed(
        tx,
        Told::Decision,
        "SELECT d.id, u.email, d.notice FROM moderation_decisions d JOIN users u ON u.id = d.user_id
         WHERE d.mailed_at = 0 AND u.email IS NOT NULL AND d.notice IS NOT NULL ORDER BY d.ended_at LIMIT ?1",
        limit,
    )?;
    let answered = owed(
        tx,
        Told::Answer,
        "SELECT a.decision_id, u.email, a.answer, a.state
         FROM moderation_appeals a JOIN users u ON u.id = a.user_id
         WHERE a.mailed_at = 0 AND u.email IS NOT NULL AND a.answer IS NOT NULL ORDER BY a.answered_at LIMIT ?1",
        limit,
    )?;
    let reversed = owed(
        tx,
        Told::Reversal,
        "SELECT d.id, u.email, '', 'GRANTED' FROM moderation_decisions d JOIN users u ON u.id = d.user_id
         WHERE d.reversal_mailed_at = 0 AND u.email IS NOT NULL ORDER BY d.ended_at LIMIT ?1",
        limit,
    )?;
    letters.extend(answered.into_iter().chain(reversed));
    Ok(letters)
}

fn owed(tx: &Transaction<'_>, told: Told, sql: &str, limit: u32) -> Answer<Vec<DueLetter>> {
    let mut find = tx.prepare_cached(sql)?;
    let rows = find.query_map([page(limit)], |row| letter(told, row))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
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
