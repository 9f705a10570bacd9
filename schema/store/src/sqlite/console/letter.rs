//! Letters about second factors: owed in the transaction of what they tell, until they are sent or too old.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use crate::accept::page;
use crate::accounts::Answer;
use crate::console::FACTOR_LETTERS_MS;
use crate::rows::console::{FactorChange, FactorLetter, FactorLetterId};
use crate::sqlite::value::{id, uint, unknown};
use crate::stored::int;

pub fn owe(tx: &Transaction<'_>, user: UserId, change: FactorChange, name: &str, now: u64) -> Answer<()> {
    // Where no letter can be sent, they don't pile up.
    tx.prepare_cached("DELETE FROM factor_letters WHERE created_at <= ?1")?
        .execute([int(now.saturating_sub(FACTOR_LETTERS_MS))])?;
    tx.prepare_cached(
        "INSERT INTO factor_letters (id, user_id, change, name, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![crate::fresh_id(now), user.0, change.name(), name, int(now)])?;
    Ok(())
}

const OWED: &str = "SELECT l.id, u.email, l.change, l.name, l.created_at
     FROM factor_letters l JOIN users u ON u.id = l.user_id WHERE l.created_at > ?1 AND u.email IS NOT NULL";

pub fn due(tx: &Transaction<'_>, limit: u32, now: u64) -> Answer<Vec<FactorLetter>> {
    let oldest = int(now.saturating_sub(FACTOR_LETTERS_MS));
    let mut find = tx.prepare_cached(&format!("{OWED} ORDER BY l.created_at LIMIT ?2"))?;
    let rows = find.query_map(params![oldest, page(limit)], letter)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn find(tx: &Transaction<'_>, wanted: FactorLetterId, now: u64) -> Answer<Option<FactorLetter>> {
    let oldest = int(now.saturating_sub(FACTOR_LETTERS_MS));
    let mut find = tx.prepare_cached(&format!("{OWED} AND l.id = ?2"))?;
    Ok(find.query_row(params![oldest, wanted.0], letter).optional()?)
}

fn letter(row: &Row<'_>) -> rusqlite::Result<FactorLetter> {
    let change: String = row.get(2)?;
    Ok(FactorLetter {
        id: id(row, 0)?,
        email: row.get(1)?,
        change: FactorChange::parse(&change).ok_or_else(|| unknown(2))?,
        name: row.get(3)?,
        at: uint(row, 4)?,
    })
}

pub fn sent(tx: &Transaction<'_>, letter: FactorLetterId) -> Answer<()> {
    tx.prepare_cached("DELETE FROM factor_letters WHERE id = ?1")?.execute([letter.0])?;
    Ok(())
}
