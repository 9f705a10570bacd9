//! Accounts with a role in the console: one administrator asks for them, another one agrees. A request is deleted by
//! whoever decides about it, so that two can't do so.

use schema_wire::UserId;
use tokio_postgres::Row;

use super::role;
use crate::accept::{clean_name, must_be_email, page};
use crate::accounts::{AccountError, Answer};
use crate::postgres::account::audit::record;
use crate::postgres::account::own_shared;
use crate::postgres::account::read::{account_role, id_opt};
use crate::postgres::account::register::{create_admin, keep_token};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{Agreed, NewStaff, StaffRequest, StaffRequestId};
use crate::rows::role::AccountRole;
use crate::token::NewToken;

const COLUMNS: &str =
    "s.id, s.email, s.name, s.role, s.asked_by, coalesce(a.name, ''), s.asked_at, u.id, coalesce(u.role, '')";
const PEOPLE: &str = "LEFT JOIN users a ON a.id = s.asked_by LEFT JOIN users u ON u.id = s.user_id";

/// No password fits this hash until one is chosen with a link.
pub const NO_PASSWORD: &str = "none";

pub async fn ask(tx: &Tx, new: &NewStaff, by: &Origin, now: u64) -> Answer<StaffRequestId> {
    let asker = must_be_admin(tx, by).await?;
    let (email, name) = (must_be_email(&new.email)?, clean_name("name", &new.name)?);
    if new.role == AccountRole::User {
        return Err(AccountError::NotAllowed);
    }
    if tx.query_opt("SELECT 1 FROM users WHERE email = $1", &[&email]).await?.is_some() {
        return Err(AccountError::EmailTaken);
    }
    let request = StaffRequestId(crate::fresh_id(now));
    let asked = tx
        .execute(
            "INSERT INTO staff_requests (id, email, name, role, asked_by, asked_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT DO NOTHING",
            &[&Id(request.0), &email, &name, &new.role.name(), &Id(asker.0), &At(now)],
        )
        .await?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::STAFF_ASKED, None, new.role.name(), by, now).await?;
    Ok(request)
}

pub async fn withdraw(tx: &Tx, wanted: StaffRequestId, by: &Origin, now: u64) -> Answer<()> {
    let request = take(tx, wanted).await?;
    let subject = request.account.map(|(user, _)| user);
    record(tx, audit_event::STAFF_WITHDRAWN, subject, request.role.name(), by, now).await?;
    Ok(())
}

/// The account that is to get the role; `None`: one is to be made, or nobody asks any more.
pub async fn whom(tx: &Tx, wanted: StaffRequestId) -> Answer<Option<UserId>> {
    let found = tx.query_opt("SELECT user_id FROM staff_requests WHERE id = $1", &[&Id(wanted.0)]).await?;
    found.map_or(Ok(None), |row| id_opt(&row, 0))
}

pub async fn agree(
    tx: &Tx,
    (wanted, whom): (StaffRequestId, Option<UserId>),
    reset: NewToken,
    by: &Origin,
    now: u64,
) -> Answer<Agreed> {
    if let Some(user) = whom {
        return role::agree(tx, (wanted, user), reset, by, now).await;
    }
    must_be_admin(tx, by).await?;
    let request = must_ask(tx, wanted, by.actor).await?;
    let login = (&*request.email, &*request.name, NO_PASSWORD);
    let user = create_admin(tx, login, request.role, now).await?;
    keep_token(tx, user, "RESET", reset, now).await?;
    let detail = format!("{}, asked for by {}", request.role.name(), request.asked_by);
    record(tx, audit_event::STAFF_CREATED, Some(user), &detail, by, now).await?;
    Ok(Agreed::Made(user))
}

/// What somebody else asked for; it is a request no more.
pub async fn must_ask(tx: &Tx, wanted: StaffRequestId, agrees: Option<UserId>) -> Answer<StaffRequest> {
    let request = take(tx, wanted).await?;
    if Some(request.asked_by) == agrees { Err(AccountError::NotAllowed) } else { Ok(request) }
}

/// Whoever takes the role away holds the lock alone.
async fn must_be_admin(tx: &Tx, by: &Origin) -> Answer<UserId> {
    let actor = by.actor.ok_or(AccountError::NotAllowed)?;
    own_shared(tx, actor).await?;
    let find = "SELECT 1 FROM users WHERE id = $1 AND role = 'ADMIN' AND status = 'ACTIVE'";
    match tx.query_opt(find, &[&Id(actor.0)]).await? {
        Some(_) => Ok(actor),
        None => Err(AccountError::NotAllowed),
    }
}

/// The request, which is none any more once the transaction ends well.
async fn take(tx: &Tx, wanted: StaffRequestId) -> Answer<StaffRequest> {
    let sql = format!(
        "WITH s AS (DELETE FROM staff_requests WHERE id = $1 RETURNING *)
         SELECT {COLUMNS} FROM s {PEOPLE}"
    );
    let found = tx.query_opt(&sql, &[&Id(wanted.0)]).await?;
    request(&found.ok_or(AccountError::Overtaken)?)
}

pub async fn list(tx: &Tx, limit: u32) -> Answer<Vec<StaffRequest>> {
    let sql = format!("SELECT {COLUMNS} FROM staff_requests s {PEOPLE} ORDER BY s.asked_at LIMIT $1");
    tx.query(&sql, &[&i64::from(page(limit))]).await?.iter().map(request).collect()
}

fn request(row: &Row) -> Answer<StaffRequest> {
    let account = match id_opt(row, 7)? {
        Some(user) => Some((user, account_role(row, 8)?)),
        None => None,
    };
    Ok(StaffRequest {
        account,
        id: id(row, 0)?,
        email: row.try_get(1)?,
        name: row.try_get(2)?,
        role: account_role(row, 3)?,
        asked_by: id(row, 4)?,
        asker: row.try_get(5)?,
        asked_at: time(row, 6)?,
    })
}
