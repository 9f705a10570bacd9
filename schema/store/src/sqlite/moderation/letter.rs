//! Letters that decisions, and answers to appeals, still owe.

use rusqlite::{Transaction, params};

use crate::accept::page;
use crate::accounts::Answer;
use crate::rows::moderation::{DecisionId, DueLetter, Told};
use crate::sqlite::value::id;
use crate::stored::int;

pub fn due(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<DueLetter>> {
    let mut letters = owed(
        tx,
        Told::Decision,
        "SELECT d.id, u.email, d.notice FROM moderation_decisions d JOIN users u ON u.id = d.user_id
         WHERE d.mailed_at = 0 AND u.email IS NOT NULL AND d.notice IS NOT NULL ORDER BY d.ended_at LIMIT ?1",
        limit,
    )?;
    letters.extend(owed(
        tx,
        Told::Answer,
        "SELECT a.decision_id, u.email, CASE a.state WHEN 'GRANTED' THEN 'Withdrawn: ' ELSE 'Upheld: ' END || a.answer
         FROM moderation_appeals a JOIN users u ON u.id = a.user_id
         WHERE a.mailed_at = 0 AND u.email IS NOT NULL AND a.answer IS NOT NULL ORDER BY a.answered_at LIMIT ?1",
        limit,
    )?);
    Ok(letters)
}

fn owed(tx: &Transaction<'_>, told: Told, sql: &str, limit: u32) -> Answer<Vec<DueLetter>> {
    let mut find = tx.prepare_cached(sql)?;
    let rows = find.query_map([page(limit)], |row| {
        Ok(DueLetter { decision: id(row, 0)?, told, email: row.get(1)?, text: row.get(2)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn sent(tx: &Transaction<'_>, wanted: DecisionId, told: Told, now: u64) -> Answer<()> {
    let sql = match told {
        Told::Decision => "UPDATE moderation_decisions SET mailed_at = ?2 WHERE id = ?1",
        Told::Answer => "UPDATE moderation_appeals SET mailed_at = ?2 WHERE decision_id = ?1",
    };
    tx.execute(sql, params![wanted.0, int(now)])?;
    Ok(())
}
