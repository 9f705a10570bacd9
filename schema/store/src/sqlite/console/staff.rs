//! Accounts with a role in the console: one administrator asks for them, another one agrees.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use super::role;
use crate::accept::{clean_name, must_be_email, page};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{Agreed, NewStaff, StaffRequest, StaffRequestId};
use crate::rows::role::AccountRole;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::register::{create_admin, keep_token};
use crate::sqlite::value::{account_role, id, id_opt, uint};
use crate::stored::int;
use crate::token::NewToken;

const ROW: &str =
    "SELECT s.id, s.email, s.name, s.role, s.asked_by, coalesce(a.name, ''), s.asked_at, u.id, u.role
     FROM staff_requests s LEFT JOIN users a ON a.id = s.asked_by LEFT JOIN users u ON u.id = s.user_id";

/// No password fits this hash until one is chosen with a link.
pub const NO_PASSWORD: &str = "none";

pub fn ask(tx: &Transaction<'_>, new: &NewStaff, by: &Origin, now: u64) -> Answer<StaffRequestId> {
    let asker = must_be_admin(tx, by)?;
    let (email, name) = (must_be_email(&new.email)?, clean_name("name", &new.name)?);
    if new.role == AccountRole::User {
        return Err(AccountError::NotAllowed);
    }
    let taken: bool =
        tx.query_row("SELECT EXISTS (SELECT 1 FROM users WHERE email = ?1)", [&email], |row| row.get(0))?;
    if taken {
        return Err(AccountError::EmailTaken);
    }
    let request = StaffRequestId(crate::fresh_id(now));
    let asked = tx.execute(
        "INSERT INTO staff_requests (id, email, name, role, asked_by, asked_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO NOTHING",
        params![request.0, email, name, new.role.name(), asker.0, int(now)],
    )?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::STAFF_ASKED, None, new.role.name(), by, now)?;
    Ok(request)
}

pub fn withdraw(tx: &Transaction<'_>, wanted: StaffRequestId, by: &Origin, now: u64) -> Answer<()> {
    let request = take(tx, wanted)?;
    let subject = request.account.map(|(user, _)| user);
    record(tx, audit_event::STAFF_WITHDRAWN, subject, request.role.name(), by, now)?;
    Ok(())
}

pub fn agree(
    tx: &Transaction<'_>,
    wanted: StaffRequestId,
    reset: NewToken,
    by: &Origin,
    now: u64,
) -> Answer<Agreed> {
    must_be_admin(tx, by)?;
    if let Some(user) = whom(tx, wanted)? {
        return role::agree(tx, (wanted, user), reset, by, now);
    }
    let request = must_ask(tx, wanted, by.actor)?;
    let login = (&*request.email, &*request.name, NO_PASSWORD);
    let user = create_admin(tx, login, request.role, now)?;
    keep_token(tx, user, "RESET", reset, now)?;
    let detail = format!("{}, asked for by {}", request.role.name(), request.asked_by);
    record(tx, audit_event::STAFF_CREATED, Some(user), &detail, by, now)?;
    Ok(Agreed::Made(user))
}

/// The account that is to get the role; `None`: one is to be made, or nobody asks any more.
fn whom(tx: &Transaction<'_>, wanted: StaffRequestId) -> Answer<Option<UserId>> {
    let found = tx
        .query_row("SELECT user_id FROM staff_requests WHERE id = ?1", [wanted.0], |row| id_opt(row, 0))
        .optional()?;
    Ok(found.flatten())
}

/// What somebody else asked for; it is a request no more.
pub fn must_ask(
    tx: &Transaction<'_>,
    wanted: StaffRequestId,
    agrees: Option<UserId>,
) -> Answer<StaffRequest> {
    let request = take(tx, wanted)?;
    if Some(request.asked_by) == agrees { Err(AccountError::NotAllowed) } else { Ok(request) }
}

fn must_be_admin(tx: &Transaction<'_>, by: &Origin) -> Answer<UserId> {
    let actor = by.actor.ok_or(AccountError::NotAllowed)?;
    let is_admin: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1 AND role = 'ADMIN' AND status = 'ACTIVE')",
        [actor.0],
        |row| row.get(0),
    )?;
    if is_admin { Ok(actor) } else { Err(AccountError::NotAllowed) }
}

/// The request, which is none any more once the transaction ends well.
fn take(tx: &Transaction<'_>, wanted: StaffRequestId) -> Answer<StaffRequest> {
    let found = tx.query_row(&format!("{ROW} WHERE s.id = ?1"), [wanted.0], request).optional()?;
    let found = found.ok_or(AccountError::Overtaken)?;
    tx.execute("DELETE FROM staff_requests WHERE id = ?1", [wanted.0])?;
    Ok(found)
}

pub fn list(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<StaffRequest>> {
    let mut find = tx.prepare_cached(&format!("{ROW} ORDER BY s.asked_at LIMIT ?1"))?;
    let rows = find.query_map([page(limit)], request)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn request(row: &Row<'_>) -> rusqlite::Result<StaffRequest> {
    let account = match id_opt(row, 7)? {
        Some(user) => Some((user, account_role(row, 8)?)),
        None => None,
    };
    Ok(StaffRequest {
        account,
        id: id(row, 0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        role: account_role(row, 3)?,
        asked_by: id(row, 4)?,
        asker: row.get(5)?,
        asked_at: uint(row, 6)?,
    })
}
