//! Numbers over all accounts: counted on a reader's connection, kept, and shown as they were kept.

use rusqlite::{Transaction, params};
use schema_wire::UserId;

use super::value::{id, id_opt, int, uint, uint_opt};
use crate::accounts::Answer;
use crate::operations::{
    ACTIVE, ACTIVE_FOR_MS, Counted, MESSAGES, NEW, OWNERS_LISTED, Read, SENDERS_LISTED, STORAGE, listed,
    single, together,
};
use crate::rows::operations::Statistics;

const DAY_MS: u64 = 86_400_000;

/// `None`: it was done after `older_than`.
pub fn count(tx: &Transaction<'_>, older_than: u64, now: u64) -> Answer<Option<Vec<Counted>>> {
    let last = tx.query_row("SELECT max(taken_at) FROM statistics", [], |row| uint_opt(row, 0))?;
    if last.is_some_and(|last| last > older_than) {
        return Ok(None);
    }
    let number = |sql: &str, since: u64| tx.query_row(sql, [int(since)], |row| uint(row, 0));
    let active =
        number("SELECT count(*) FROM users WHERE last_active_at > ?1", now.saturating_sub(ACTIVE_FOR_MS))?;
    let new = number("SELECT count(*) FROM users WHERE created_at >= ?1", now - now % DAY_MS)?;
    let senders = ranked(
        tx,
        "SELECT sender_id, count(*) AS number FROM messages GROUP BY sender_id ORDER BY number DESC, sender_id LIMIT ?1",
        SENDERS_LISTED,
    )?;
    let storage = ranked(
        tx,
        "SELECT user_id, sum(size) AS number FROM media_files WHERE user_id IS NOT NULL
         GROUP BY user_id ORDER BY number DESC, user_id LIMIT ?1",
        OWNERS_LISTED,
    )?;
    let singles = [single(ACTIVE, active), single(NEW, new)].into_iter();
    Ok(Some(singles.chain(listed(MESSAGES, senders)).chain(listed(STORAGE, storage)).collect()))
}

fn ranked(tx: &Transaction<'_>, sql: &str, limit: u32) -> rusqlite::Result<Vec<(UserId, u64)>> {
    let mut find = tx.prepare_cached(sql)?;
    let rows = find.query_map([limit], |row| Ok((id(row, 0)?, uint(row, 1)?)))?;
    rows.collect()
}

pub fn keep(tx: &Transaction<'_>, counted: &[Counted], now: u64) -> Answer<()> {
    tx.execute("DELETE FROM statistics", [])?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO statistics (name, place, user_id, number, taken_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for Counted { name, place, user, number } in counted {
        insert.execute(params![name, place, user.map(|user| user.0), int(*number), int(now)])?;
    }
    Ok(())
}

pub fn find(tx: &Transaction<'_>) -> Answer<Option<Statistics>> {
    let mut find = tx.prepare_cached(
        "SELECT s.name, s.user_id, u.email, s.number, s.taken_at FROM statistics s
         LEFT JOIN users u ON u.id = s.user_id ORDER BY s.name, s.place",
    )?;
    let rows = find.query_map([], |row| {
        Ok(Read {
            name: row.get(0)?,
            user: id_opt(row, 1)?,
            email: row.get(2)?,
            number: uint(row, 3)?,
            taken_at: uint(row, 4)?,
        })
    })?;
    Ok(together(rows.collect::<rusqlite::Result<_>>()?))
}
