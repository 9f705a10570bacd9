//! Roles that change hands.

use rusqlite::{Transaction, params};
use schema_wire::UserId;

use super::staff::{NO_PASSWORD, must_ask};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{Agreed, RoleChange, StaffRequestId};
use crate::rows::role::AccountRole;
use crate::sqlite::account::administrators::look;
use crate::sqlite::account::audit::record;
use crate::sqlite::account::register::keep_token;
use crate::sqlite::value::account_role;
use crate::stored::int;
use crate::token::NewToken;

pub fn change(tx: &Transaction<'_>, change: RoleChange, by: &Origin, now: u64) -> Answer<()> {
    let concerned = look(tx, change.user, now)?;
    if change.takes_two() && by.actor.is_some() {
        return Err(AccountError::NotAllowed);
    }
    concerned.must_go(change, by.actor)?;
    apply(tx, change, &change.told(), by, now)
}

/// Asks for what takes two.
pub fn ask(tx: &Transaction<'_>, change: RoleChange, by: &Origin, now: u64) -> Answer<StaffRequestId> {
    let asker = by.actor.ok_or(AccountError::NotAllowed)?;
    look(tx, change.user, now)?.must_go(change, Some(asker))?;
    if !change.takes_two() {
        return Err(AccountError::NotAllowed);
    }
    let request = StaffRequestId(crate::fresh_id(now));
    let asked = tx.execute(
        "INSERT INTO staff_requests (id, email, name, role, user_id, asked_by, asked_at)
         SELECT ?1, email, name, ?3, id, ?4, ?5 FROM users WHERE id = ?2 ON CONFLICT DO NOTHING",
        params![request.0, change.user.0, change.to.name(), asker.0, int(now)],
    )?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::STAFF_ASKED, Some(change.user), &change.told(), by, now)?;
    Ok(request)
}

/// Agrees to what somebody else asked for.
pub fn agree(
    tx: &Transaction<'_>,
    (wanted, user): (StaffRequestId, UserId),
    reset: NewToken,
    by: &Origin,
    now: u64,
) -> Answer<Agreed> {
    let concerned = look(tx, user, now)?;
    let request = must_ask(tx, wanted, by.actor)?;
    let change = RoleChange { user, from: concerned.role, to: request.role };
    concerned.must_go(change, by.actor)?;
    let detail = format!("{}, asked for by {}", change.told(), request.asked_by);
    apply(tx, change, &detail, by, now)?;
    if change.from != AccountRole::User {
        return Ok(Agreed::Changed(user));
    }
    keep_token(tx, user, "RESET", reset, now)?;
    Ok(Agreed::Raised(user))
}

/// Whoever was shown a link of the account, or chose its password with one, could sign in as a second person. Whoever runs
/// the machine could do so anyhow.
fn forget_password(tx: &Transaction<'_>, user: UserId, by: &Origin) -> Answer<()> {
    tx.execute("DELETE FROM one_time_tokens WHERE user_id = ?1 AND purpose = 'RESET'", [user.0])?;
    if by.actor.is_some() {
        let void = "UPDATE users SET password_hash = ?2 WHERE id = ?1";
        tx.execute(void, params![user.0, NO_PASSWORD])?;
    }
    Ok(())
}

fn apply(tx: &Transaction<'_>, change: RoleChange, detail: &str, by: &Origin, now: u64) -> Answer<()> {
    let user = change.user;
    tx.execute(
        "UPDATE users SET role = ?2, updated_at = ?3 WHERE id = ?1",
        params![user.0, change.to.name(), int(now)],
    )?;
    tx.execute("DELETE FROM sessions WHERE user_id = ?1", [user.0])?;
    if change.from == AccountRole::User {
        forget_password(tx, user, by)?;
    }
    // What was asked for it was asked for another role; what it asked for as an administrator, nobody asks for any more.
    let was_admin = change.from == AccountRole::Admin;
    let mut withdraw = tx.prepare_cached(
        "DELETE FROM staff_requests WHERE user_id = ?1 OR (?2 AND asked_by = ?1) RETURNING role",
    )?;
    let void = withdraw.query_map(params![user.0, was_admin], |row| account_role(row, 0))?;
    for role in void.collect::<rusqlite::Result<Vec<_>>>()? {
        record(tx, audit_event::STAFF_WITHDRAWN, Some(user), role.name(), by, now)?;
    }
    record(tx, audit_event::ROLE_CHANGED, Some(user), detail, by, now)?;
    Ok(())
}
