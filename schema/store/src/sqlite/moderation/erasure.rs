//! Erasures asked for by one administrator and done by another.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::moderation::must_be_told;
use crate::rows::account::{Erasure, Origin, audit_event};
use crate::rows::moderation::ErasureRequest;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::erase::erase;
use crate::sqlite::account::standing_of;
use crate::sqlite::value::{id, uint};
use crate::stored::int;

const ROW: &str = "SELECT e.user_id, u.name, e.asked_by, coalesce(a.name, ''), e.reason, e.asked_at
     FROM erasure_requests e JOIN users u ON u.id = e.user_id LEFT JOIN users a ON a.id = e.asked_by";

pub fn ask(tx: &Transaction<'_>, subject: UserId, reason: &str, by: &Origin, now: u64) -> Answer<()> {
    let asker = by.actor.filter(|asker| *asker != subject).ok_or(AccountError::NotAllowed)?;
    must_be_told("reason", reason)?;
    standing_of(tx, subject, now)?;
    let asked = tx.execute(
        "INSERT INTO erasure_requests (user_id, asked_by, reason, asked_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
        params![subject.0, asker.0, reason, int(now)],
    )?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::ERASURE_ASKED, Some(subject), reason, by, now)?;
    Ok(())
}

pub fn withdraw(tx: &Transaction<'_>, subject: UserId, by: &Origin, now: u64) -> Answer<()> {
    if tx.execute("DELETE FROM erasure_requests WHERE user_id = ?1", [subject.0])? == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::ERASURE_WITHDRAWN, Some(subject), "", by, now)?;
    Ok(())
}

pub fn agree(tx: &Transaction<'_>, subject: UserId, by: &Origin, now: u64) -> Answer<Erasure> {
    let agrees = by.actor.filter(|agrees| *agrees != subject).ok_or(AccountError::NotAllowed)?;
    let request = find(tx, subject)?.ok_or(AccountError::Overtaken)?;
    if request.asked_by == agrees {
        return Err(AccountError::NotAllowed);
    }
    erase(tx, subject, &request.reason, by, now)
}

pub fn find(tx: &Transaction<'_>, subject: UserId) -> Answer<Option<ErasureRequest>> {
    Ok(tx.query_row(&format!("{ROW} WHERE e.user_id = ?1"), [subject.0], request).optional()?)
}

pub fn list(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<ErasureRequest>> {
    let mut find = tx.prepare_cached(&format!("{ROW} ORDER BY e.asked_at LIMIT ?1"))?;
    let rows = find.query_map([page(limit)], request)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn request(row: &Row<'_>) -> rusqlite::Result<ErasureRequest> {
    Ok(ErasureRequest {
        user: id(row, 0)?,
        name: row.get(1)?,
        asked_by: id(row, 2)?,
        asker: row.get(3)?,
        reason: row.get(4)?,
        asked_at: uint(row, 5)?,
    })
}
