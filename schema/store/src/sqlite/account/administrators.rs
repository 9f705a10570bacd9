//! The administrators, beside the account whose role or life changes.

use rusqlite::Transaction;
use schema_wire::UserId;

use crate::accounts::Answer;
use crate::console::Concerned;
use crate::sqlite::value::{account_role, id, status};

/// Looks at the account and at all administrators.
pub fn look(tx: &Transaction<'_>, user: UserId, now: u64) -> Answer<Concerned> {
    let mut find = tx.prepare_cached(
        "SELECT id, role, status, suspended_until FROM users WHERE id = ?1
         UNION SELECT id, role, status, suspended_until FROM users WHERE role <> 'USER' AND role = 'ADMIN'",
    )?;
    let rows =
        find.query_map([user.0], |row| Ok((id(row, 0)?, account_role(row, 1)?, status(row, 2, now)?)))?;
    Concerned::among(user, rows.collect::<rusqlite::Result<_>>()?)
}
