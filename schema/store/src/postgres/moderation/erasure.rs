//! Erasures asked for by one administrator and done by another. All of it under the account's own lock.

use schema_wire::UserId;
use tokio_postgres::Row;

use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::moderation::must_be_told;
use crate::postgres::account::audit::record;
use crate::postgres::account::erase::erase;
use crate::postgres::account::{own, standing_of};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time};
use crate::rows::account::{Erasure, Origin, audit_event};
use crate::rows::moderation::ErasureRequest;

const ROW: &str = "SELECT e.user_id, u.name, e.asked_by, coalesce(a.name, ''), e.reason, e.asked_at
     FROM erasure_requests e JOIN users u ON u.id = e.user_id LEFT JOIN users a ON a.id = e.asked_by";

pub async fn ask(tx: &Tx, subject: UserId, reason: &str, by: &Origin, now: u64) -> Answer<()> {
    let asker = by.actor.filter(|asker| *asker != subject).ok_or(AccountError::NotAllowed)?;
    must_be_told("reason", reason)?;
    own(tx, subject).await?;
    standing_of(tx, subject, now).await?;
    let asked = tx
        .execute(
            "INSERT INTO erasure_requests (user_id, asked_by, reason, asked_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
            &[&Id(subject.0), &Id(asker.0), &reason, &At(now)],
        )
        .await?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::ERASURE_ASKED, Some(subject), reason, by, now).await?;
    Ok(())
}

pub async fn withdraw(tx: &Tx, subject: UserId, by: &Origin, now: u64) -> Answer<()> {
    own(tx, subject).await?;
    if tx.execute("DELETE FROM erasure_requests WHERE user_id = $1", &[&Id(subject.0)]).await? == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::ERASURE_WITHDRAWN, Some(subject), "", by, now).await?;
    Ok(())
}

pub async fn agree(tx: &Tx, subject: UserId, by: &Origin, now: u64) -> Answer<Erasure> {
    let agrees = by.actor.filter(|agrees| *agrees != subject).ok_or(AccountError::NotAllowed)?;
    own(tx, subject).await?;
    let request = find(tx, subject).await?.ok_or(AccountError::Overtaken)?;
    if request.asked_by == agrees {
        return Err(AccountError::NotAllowed);
    }
    erase(tx, subject, &request.reason, by, now).await
}

pub async fn find(tx: &Tx, subject: UserId) -> Answer<Option<ErasureRequest>> {
    let found = tx.query_opt(&format!("{ROW} WHERE e.user_id = $1"), &[&Id(subject.0)]).await?;
    found.map(|row| request(&row)).transpose()
}

pub async fn list(tx: &Tx, limit: u32) -> Answer<Vec<ErasureRequest>> {
    let rows = tx.query(&format!("{ROW} ORDER BY e.asked_at LIMIT $1"), &[&i64::from(page(limit))]).await?;
    rows.iter().map(request).collect()
}

fn request(row: &Row) -> Answer<ErasureRequest> {
    Ok(ErasureRequest {
        user: id(row, 0)?,
        name: row.try_get(1)?,
        asked_by: id(row, 2)?,
        asker: row.try_get(3)?,
        reason: row.try_get(4)?,
        asked_at: time(row, 5)?,
    })
}
