//! Numbers over all accounts: counted by one node at a time, kept, and shown as they were kept.

use tokio_postgres::Row;

use super::account::read::id_opt;
use super::transaction::Tx;
use super::value::{At, Id, id, time, time_opt, uint};
use crate::accounts::Answer;
use crate::operations::{
    ACTIVE, ACTIVE_FOR_MS, Counted, MESSAGES, NEW, OWNERS_LISTED, Read, SENDERS_LISTED, STORAGE, listed,
    single, together,
};
use crate::rows::operations::Statistics;
use crate::stored::int;
use schema_wire::UserId;

const DAY_MS: u64 = 86_400_000;
/// Key of the advisory lock of whoever counts.
const COUNT_LOCK: i64 = 0x5345_4355_5245_434f;

/// False: it was done after `older_than`, or somebody else is at it.
pub async fn take(tx: &Tx, older_than: u64, now: u64) -> Answer<bool> {
    let alone = tx.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&COUNT_LOCK]).await?;
    if !alone.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let last = tx.query_one("SELECT max(taken_at) FROM statistics", &[]).await?;
    if time_opt(&last, 0)?.is_some_and(|last| last > older_than) {
        return Ok(false);
    }
    let counted = count(tx, now).await?;
    tx.execute("DELETE FROM statistics", &[]).await?;
    for Counted { name, place, user, number } in counted {
        tx.execute(
            "INSERT INTO statistics (name, place, user_id, number, taken_at) VALUES ($1, $2, $3, $4, $5)",
            &[
                &name,
                &i32::try_from(place).unwrap_or(i32::MAX),
                &user.map(|user| Id(user.0)),
                &int(number),
                &At(now),
            ],
        )
        .await?;
    }
    Ok(true)
}

async fn count(tx: &Tx, now: u64) -> Answer<Vec<Counted>> {
    let active =
        number(tx, "SELECT count(*) FROM users WHERE last_active_at > $1", now.saturating_sub(ACTIVE_FOR_MS))
            .await?;
    let new = number(tx, "SELECT count(*) FROM users WHERE created_at >= $1", now - now % DAY_MS).await?;
    let senders = ranked(
        tx,
        "SELECT sender_id, count(*) AS number FROM messages GROUP BY sender_id ORDER BY number DESC, sender_id LIMIT $1",
        SENDERS_LISTED,
    )
    .await?;
    let storage = ranked(
        tx,
        "SELECT user_id, sum(size)::bigint AS number FROM media_files WHERE user_id IS NOT NULL
         GROUP BY user_id ORDER BY number DESC, user_id LIMIT $1",
        OWNERS_LISTED,
    )
    .await?;
    let singles = [single(ACTIVE, active), single(NEW, new)].into_iter();
    Ok(singles.chain(listed(MESSAGES, senders)).chain(listed(STORAGE, storage)).collect())
}

async fn number(tx: &Tx, sql: &str, since: u64) -> Answer<u64> {
    Ok(uint(&tx.query_one(sql, &[&At(since)]).await?, 0)?)
}

async fn ranked(tx: &Tx, sql: &str, limit: u32) -> Answer<Vec<(UserId, u64)>> {
    let rows = tx.query(sql, &[&i64::from(limit)]).await?;
    rows.iter().map(|row| Ok((id(row, 0)?, uint(row, 1)?))).collect()
}

pub async fn find(tx: &Tx) -> Answer<Option<Statistics>> {
    let rows = tx
        .query(
            "SELECT s.name, s.user_id, u.email, s.number, s.taken_at FROM statistics s
             LEFT JOIN users u ON u.id = s.user_id ORDER BY s.name, s.place",
            &[],
        )
        .await?;
    Ok(together(rows.iter().map(read).collect::<Answer<_>>()?))
}

fn read(row: &Row) -> Answer<Read> {
    Ok(Read {
        name: row.try_get(0)?,
        user: id_opt(row, 1)?,
        email: row.try_get(2)?,
        number: uint(row, 3)?,
        taken_at: time(row, 4)?,
    })
}
