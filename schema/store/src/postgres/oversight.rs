//! People and audit entries, found by index.

use schema_wire::UserId;
use tokio_postgres::Row;

use super::PostgresStore;
use super::account::read::{account_role, address};
use super::account::{audit, session};
use super::fault::Failed;
use super::transaction::Tx;
use super::value::{At, Id, id, status, time, time_opt, uint};
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::oversight::{FOUND_MAX, NOTES_MAX, Oversight, Search};
use crate::rows::account::{AuditRow, audit_event};
use crate::rows::oversight::{AuditFilter, FailedSignIns, Note, PersonDetail, PersonRow};
use crate::stored::int;

/// Most addresses listed.
const ADDRESSES_MAX: i64 = 100;

/// People who are looked through, newest first, before an index on texts is asked: what many are called is found there.
const LOOKED_THROUGH: i64 = 5_000;

/// What is read of people; where from is to follow.
const PERSON: &str = "SELECT id, email, name, status, suspended_until, role, created_at, last_active_at FROM";

impl Oversight for PostgresStore {
    async fn find_people(&self, text: String, before: Option<UserId>) -> Answer<Vec<PersonRow>> {
        self.read(async move |tx, now| find(tx, &text, before, now).await).await
    }

    async fn staff(&self, limit: u32) -> Answer<Vec<PersonRow>> {
        self.read(async move |tx, now| staff(tx, limit, now).await).await
    }

    async fn person(&self, user: UserId) -> Answer<PersonDetail> {
        self.read(async move |tx, now| person(tx, user, now).await).await
    }

    async fn find_audit(
        &self,
        filter: AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Answer<Vec<AuditRow>> {
        self.read(async move |tx, _| audit_rows(tx, &filter, before, limit).await).await
    }

    async fn failed_sign_ins(&self, since: u64, at_least: u32) -> Answer<Vec<FailedSignIns>> {
        self.read(async move |tx, _| failed(tx, since, at_least).await).await
    }
}

async fn find(tx: &Tx, text: &str, before: Option<UserId>, now: u64) -> Answer<Vec<PersonRow>> {
    let before = Id(before.unwrap_or(UserId([0xff; 16])).0);
    let limit = i64::from(FOUND_MAX);
    let Some(search) = Search::of(text) else {
        let sql = format!("{PERSON} users WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let rows = tx.query(&sql, &[&before, &limit]).await?;
        return rows.iter().map(|row| person_row(row, now)).collect();
    };
    // Each of them has an index: three letters make a trigram, fewer only a beginning.
    let (fits, one, other) = if search.is_long {
        let fits = "(email LIKE $2 AND email || '' LIKE $3) OR lower(name) LIKE $3";
        (
            fits,
            format!("%{}%", literally(told_apart_by(&search.text))),
            format!("%{}%", literally(&search.text)),
        )
    } else {
        let fits = "(email ~>=~ $2 AND email ~<~ $3) OR (lower(name) ~>=~ $2 AND lower(name) ~<~ $3)";
        (fits, search.text.clone(), search.end())
    };
    let (low, high) = (Id(search.ids.0.0), Id(search.ids.1.0));
    let fits = format!("({fits} OR id BETWEEN $4 AND $5)");
    // One statement for both would be planned for one of them: a rare name would be looked for in everybody.
    let newest = "(SELECT * FROM users WHERE id < $1 ORDER BY id DESC LIMIT $7)";
    let sql = format!("{PERSON} {newest} newest WHERE {fits} ORDER BY id DESC LIMIT $6");
    let rows = tx.query(&sql, &[&before, &one, &other, &low, &high, &limit, &LOOKED_THROUGH]).await?;
    let rows = if rows.len() < FOUND_MAX as usize {
        let sql = format!(
            "WITH found AS MATERIALIZED (SELECT * FROM users WHERE {fits})
             {PERSON} found WHERE id < $1 ORDER BY id DESC LIMIT $6"
        );
        tx.query(&sql, &[&before, &one, &other, &low, &high, &limit]).await?
    } else {
        rows
    };
    rows.iter().map(|row| person_row(row, now)).collect()
}

/// What of an address the index is asked for. Everybody of a provider has the trigrams behind the `@`, and the index
/// would go through all of them.
fn told_apart_by(text: &str) -> &str {
    match text.split_once('@') {
        Some((name, _)) if name.chars().count() > 2 => &text[..=name.len()],
        _ => text,
    }
}

/// A text that a pattern takes for itself.
fn literally(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

fn person_row(row: &Row, now: u64) -> Answer<PersonRow> {
    Ok(PersonRow {
        user: id(row, 0)?,
        email: row.try_get(1)?,
        name: row.try_get(2)?,
        status: status(row, 3, now)?,
        role: account_role(row, 5)?,
        created_at: time(row, 6)?,
        last_active_at: time_opt(row, 7)?,
    })
}

async fn staff(tx: &Tx, limit: u32, now: u64) -> Answer<Vec<PersonRow>> {
    let sql = format!("{PERSON} users WHERE role <> 'USER' ORDER BY id LIMIT $1");
    tx.query(&sql, &[&i64::from(page(limit))]).await?.iter().map(|row| person_row(row, now)).collect()
}

async fn person(tx: &Tx, user: UserId, now: u64) -> Answer<PersonDetail> {
    let found = tx.query_opt(&format!("{PERSON} users WHERE id = $1"), &[&Id(user.0)]).await?;
    let row = person_row(&found.ok_or(AccountError::NotFound)?, now)?;
    let counted = tx
        .query_one(
            "SELECT email_verified_at IS NOT NULL,
               (SELECT count(DISTINCT family_id) FROM refresh_tokens
                WHERE user_id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $2),
               (SELECT count(*) FROM conversation_members WHERE user_id = $1 AND left_offset IS NULL),
               (SELECT coalesce(sum(size), 0)::bigint FROM media_files WHERE user_id = $1),
               (SELECT count(*) FROM moderation_actions
                WHERE user_id = $1 AND action IN ('WARN', 'SUSPEND', 'BAN') AND undone_at IS NULL)
             FROM users WHERE id = $1",
            &[&Id(user.0), &At(now)],
        )
        .await?;
    Ok(PersonDetail {
        row,
        email_verified: counted.try_get(0)?,
        devices: session::devices(tx, user).await?,
        sessions: uint(&counted, 1)?,
        conversations: uint(&counted, 2)?,
        storage: uint(&counted, 3)?,
        strikes: uint(&counted, 4)?,
        notes: notes(tx, user).await?,
    })
}

async fn notes(tx: &Tx, user: UserId) -> Answer<Vec<Note>> {
    let rows = tx
        .query(
            "SELECT coalesce(u.name, ''), n.text, n.created_at FROM moderation_notes n
             LEFT JOIN users u ON u.id = n.author_id WHERE n.user_id = $1 ORDER BY n.id DESC LIMIT $2",
            &[&Id(user.0), &i64::from(NOTES_MAX)],
        )
        .await?;
    let read =
        |row: &Row| Ok(Note { author: row.try_get(0)?, text: row.try_get(1)?, created_at: time(row, 2)? });
    rows.iter().map(read).collect()
}

async fn audit_rows(tx: &Tx, filter: &AuditFilter, before: Option<u64>, limit: u32) -> Answer<Vec<AuditRow>> {
    // By an equality the planner knows that the order is that of ids alone, and may go through all entries for a rare event.
    let (fits, order) = match (filter.event.is_some(), filter.subject.is_some()) {
        (false, false) => ("id < $1", "id DESC"),
        (true, false) => ("(event_type, id) < ($3, $1) AND event_type >= $3", "event_type DESC, id DESC"),
        (false, true) => ("id < $1 AND user_id = $4", "id DESC"),
        (true, true) => ("id < $1 AND event_type = $3 AND user_id = $4", "id DESC"),
    };
    let sql = format!("SELECT {} FROM audit_logs WHERE {fits} ORDER BY {order} LIMIT $2", audit::COLUMNS);
    let (before, limit) = (int(before.unwrap_or(u64::MAX)), i64::from(page(limit)));
    let subject = filter.subject.map(|user| Id(user.0));
    let rows = tx.query(&sql, &[&before, &limit, &filter.event, &subject]).await?;
    rows.iter().map(audit::row).collect()
}

async fn failed(tx: &Tx, since: u64, at_least: u32) -> Answer<Vec<FailedSignIns>> {
    let rows = tx
        .query(
            "SELECT abbrev(ip_address), count(*) AS attempts FROM audit_logs
             WHERE event_type = $1 AND created_at > $2 AND ip_address IS NOT NULL
             GROUP BY ip_address HAVING count(*) > $3 ORDER BY attempts DESC LIMIT $4",
            &[&audit_event::LOGIN_FAILED, &At(since), &i64::from(at_least), &ADDRESSES_MAX],
        )
        .await?;
    let read = |row: &Row| {
        let address = address(row, 0)?.ok_or(Failed::Unreadable("an address"))?;
        Ok(FailedSignIns { address, attempts: uint(row, 1)? })
    };
    rows.iter().map(read).collect()
}
