//! People and audit entries, found by index.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use super::SqliteStore;
use super::account::{audit, session};
use super::value::{account_role, id, int, status, uint, uint_opt, unknown};
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::oversight::{FOUND_MAX, NOTES_MAX, Oversight, Search};
use crate::rows::account::{AuditRow, audit_event};
use crate::rows::oversight::{AuditFilter, FailedSignIns, Note, PersonDetail, PersonRow};

/// Most addresses listed.
const ADDRESSES_MAX: u32 = 100;

const PERSON: &str =
    "SELECT id, email, name, status, suspended_until, role, created_at, last_active_at FROM users";

impl Oversight for SqliteStore {
    async fn find_people(&self, text: String, before: Option<UserId>) -> Answer<Vec<PersonRow>> {
        self.read(move |tx, now| find(tx, &text, before, now)).await
    }

    async fn staff(&self, limit: u32) -> Answer<Vec<PersonRow>> {
        self.read(move |tx, now| staff(tx, limit, now)).await
    }

    async fn person(&self, user: UserId) -> Answer<PersonDetail> {
        self.read(move |tx, now| person(tx, user, now)).await
    }

    async fn find_audit(
        &self,
        filter: AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Answer<Vec<AuditRow>> {
        self.read(move |tx, _| audit_rows(tx, &filter, before, limit)).await
    }

    async fn failed_sign_ins(&self, since: u64, at_least: u32) -> Answer<Vec<FailedSignIns>> {
        self.read(move |tx, _| failed(tx, since, at_least)).await
    }
}

fn find(tx: &Transaction<'_>, text: &str, before: Option<UserId>, now: u64) -> Answer<Vec<PersonRow>> {
    let before = before.unwrap_or(UserId([0xff; 16])).0;
    let Some(search) = Search::of(text) else {
        let mut newest = tx.prepare_cached(&format!("{PERSON} WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?;
        let rows = newest.query_map(params![before, FOUND_MAX], |row| person_row(row, now))?;
        return Ok(rows.collect::<rusqlite::Result<_>>()?);
    };
    // What stands anywhere is looked for in every row: the accounts of one machine are few.
    let fits = if search.is_long {
        "(instr(email, ?2) > 0 OR instr(lower(name), ?2) > 0) AND ?3 IS NOT NULL"
    } else {
        "(email >= ?2 AND email < ?3) OR (lower(name) >= ?2 AND lower(name) < ?3)"
    };
    let (low, high) = search.ids;
    let mut find = tx.prepare_cached(&format!(
        "{PERSON} WHERE id < ?1 AND ({fits} OR id BETWEEN ?4 AND ?5) ORDER BY id DESC LIMIT ?6"
    ))?;
    let rows = find
        .query_map(params![before, search.text, search.end(), low.0, high.0, FOUND_MAX], |row| {
            person_row(row, now)
        })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn staff(tx: &Transaction<'_>, limit: u32, now: u64) -> Answer<Vec<PersonRow>> {
    let mut find = tx.prepare_cached(&format!("{PERSON} WHERE role <> 'USER' ORDER BY id LIMIT ?1"))?;
    let rows = find.query_map([page(limit)], |row| person_row(row, now))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn by_id(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<Option<PersonRow>> {
    let found = tx
        .prepare_cached(&format!("{PERSON} WHERE id = ?1"))?
        .query_row([user.0], |row| person_row(row, now))
        .optional()?;
    Ok(found)
}

fn person_row(row: &Row<'_>, now: u64) -> rusqlite::Result<PersonRow> {
    Ok(PersonRow {
        user: id(row, 0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        status: status(row, 3, now)?,
        role: account_role(row, 5)?,
        created_at: uint(row, 6)?,
        last_active_at: uint_opt(row, 7)?,
    })
}

fn person(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<PersonDetail> {
    let row = by_id(tx, user, now)?.ok_or(AccountError::NotFound)?;
    let counted = tx.query_row(
        "SELECT email_verified_at IS NOT NULL,
           (SELECT count(DISTINCT family_id) FROM refresh_tokens
            WHERE user_id = ?1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > ?2),
           (SELECT count(*) FROM conversation_members WHERE user_id = ?1 AND left_offset IS NULL),
           (SELECT coalesce(sum(size), 0) FROM media_files WHERE user_id = ?1),
           (SELECT count(*) FROM moderation_actions
            WHERE user_id = ?1 AND action IN ('WARN', 'SUSPEND', 'BAN') AND undone_at IS NULL)
         FROM users WHERE id = ?1",
        params![user.0, int(now)],
        |row| Ok((row.get(0)?, uint(row, 1)?, uint(row, 2)?, uint(row, 3)?, uint(row, 4)?)),
    )?;
    let (email_verified, sessions, conversations, storage, strikes) = counted;
    let (devices, notes) = (session::devices(tx, user)?, notes(tx, user)?);
    Ok(PersonDetail { row, email_verified, devices, sessions, conversations, storage, strikes, notes })
}

fn notes(tx: &Transaction<'_>, user: UserId) -> rusqlite::Result<Vec<Note>> {
    let mut find = tx.prepare_cached(
        "SELECT coalesce(u.name, ''), n.text, n.created_at FROM moderation_notes n
         LEFT JOIN users u ON u.id = n.author_id WHERE n.user_id = ?1 ORDER BY n.id DESC LIMIT ?2",
    )?;
    let rows = find.query_map(params![user.0, NOTES_MAX], |row| {
        Ok(Note { author: row.get(0)?, text: row.get(1)?, created_at: uint(row, 2)? })
    })?;
    rows.collect()
}

fn audit_rows(
    tx: &Transaction<'_>,
    filter: &AuditFilter,
    before: Option<u64>,
    limit: u32,
) -> Answer<Vec<AuditRow>> {
    let fits = match (&filter.event, filter.subject) {
        (None, None) => "?3 IS NULL AND ?4 IS NULL",
        (Some(_), None) => "event_type = ?3 AND ?4 IS NULL",
        (None, Some(_)) => "?3 IS NULL AND user_id = ?4",
        (Some(_), Some(_)) => "event_type = ?3 AND user_id = ?4",
    };
    let mut find = tx.prepare_cached(&format!(
        "SELECT {} FROM audit_logs WHERE id < ?1 AND {fits} ORDER BY id DESC LIMIT ?2",
        audit::COLUMNS
    ))?;
    let arguments = params![
        int(before.unwrap_or(u64::MAX)),
        page(limit),
        filter.event,
        filter.subject.map(|user| user.0)
    ];
    let rows = find.query_map(arguments, audit::row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn failed(tx: &Transaction<'_>, since: u64, at_least: u32) -> Answer<Vec<FailedSignIns>> {
    let mut find = tx.prepare_cached(
        "SELECT ip_address, count(*) AS attempts FROM audit_logs
         WHERE event_type = ?1 AND created_at > ?2 AND ip_address IS NOT NULL
         GROUP BY ip_address HAVING count(*) > ?3 ORDER BY attempts DESC LIMIT ?4",
    )?;
    let arguments = params![audit_event::LOGIN_FAILED, int(since), at_least, ADDRESSES_MAX];
    let rows = find.query_map(arguments, |row| {
        let address: String = row.get(0)?;
        Ok(FailedSignIns { address: address.parse().map_err(|_| unknown(0))?, attempts: uint(row, 1)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
