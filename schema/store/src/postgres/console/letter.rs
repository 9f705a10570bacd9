//! Letters about second factors: owed in the transaction of what they tell, until they are sent or too old.

use schema_wire::UserId;
use tokio_postgres::Row;

use crate::accept::page;
use crate::accounts::Answer;
use crate::console::FACTOR_LETTERS_MS;
use crate::postgres::fault::Failed;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time};
use crate::rows::console::{FactorChange, FactorLetter, FactorLetterId};

pub async fn owe(tx: &Tx, user: UserId, change: FactorChange, name: &str, now: u64) -> Answer<()> {
    // Where no letter can be sent, they don't pile up. One that somebody else holds is swept the next time.
    tx.execute(
        "DELETE FROM factor_letters WHERE id IN (
           SELECT id FROM factor_letters WHERE created_at <= $1 ORDER BY created_at LIMIT 100
           FOR UPDATE SKIP LOCKED)",
        &[&At(now.saturating_sub(FACTOR_LETTERS_MS))],
    )
    .await?;
    tx.execute(
        "INSERT INTO factor_letters (id, user_id, change, name, created_at) VALUES ($1, $2, $3, $4, $5)",
        &[&Id(crate::fresh_id(now)), &Id(user.0), &change.name(), &name, &At(now)],
    )
    .await?;
    Ok(())
}

const OWED: &str = "SELECT l.id, u.email, l.change, l.name, l.created_at
     FROM factor_letters l JOIN users u ON u.id = l.user_id WHERE l.created_at > $1 AND u.email IS NOT NULL";

pub async fn due(tx: &Tx, limit: u32, now: u64) -> Answer<Vec<FactorLetter>> {
    let oldest = At(now.saturating_sub(FACTOR_LETTERS_MS));
    let sql = format!("{OWED} ORDER BY l.created_at LIMIT $2");
    tx.query(&sql, &[&oldest, &i64::from(page(limit))]).await?.iter().map(letter).collect()
}

pub async fn find(tx: &Tx, wanted: FactorLetterId, now: u64) -> Answer<Option<FactorLetter>> {
    let oldest = At(now.saturating_sub(FACTOR_LETTERS_MS));
    let found = tx.query_opt(&format!("{OWED} AND l.id = $2"), &[&oldest, &Id(wanted.0)]).await?;
    found.map(|row| letter(&row)).transpose()
}

fn letter(row: &Row) -> Answer<FactorLetter> {
    let change = FactorChange::parse(row.try_get(2)?).ok_or(Failed::Unreadable("a change of factors"))?;
    Ok(FactorLetter {
        id: id(row, 0)?,
        email: row.try_get(1)?,
        change,
        name: row.try_get(3)?,
        at: time(row, 4)?,
    })
}

pub async fn sent(tx: &Tx, letter: FactorLetterId) -> Answer<()> {
    tx.execute("DELETE FROM factor_letters WHERE id = $1", &[&Id(letter.0)]).await?;
    Ok(())
}
