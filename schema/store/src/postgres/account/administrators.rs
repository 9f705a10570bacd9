//! The administrators, beside the account whose role or life changes: whoever changes one of them holds the rows of all.

use schema_wire::UserId;

use super::read::account_role;
use crate::accounts::Answer;
use crate::console::Concerned;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{Id, id, status};

/// Holds the account's row and those of all administrators, in order of id.
pub async fn hold(tx: &Tx, user: UserId, now: u64) -> Answer<Concerned> {
    concerned(tx, user, "FOR NO KEY UPDATE", now).await
}

/// Looks at them. While somebody holds an administrator's row, nobody takes another one's role away.
pub async fn look(tx: &Tx, user: UserId, now: u64) -> Answer<Concerned> {
    concerned(tx, user, "", now).await
}

async fn concerned(tx: &Tx, user: UserId, strength: &str, now: u64) -> Answer<Concerned> {
    let rows = tx
        .query(
            &format!(
                "SELECT id, role, status, suspended_until FROM users
                 WHERE id = ANY (array_append(
                   ARRAY(SELECT id FROM users WHERE role = 'ADMIN' AND role <> 'USER'), $1::uuid))
                 ORDER BY id {strength}"
            ),
            &[&Id(user.0)],
        )
        .await?;
    let held = rows.iter().map(|row| Ok((id(row, 0)?, account_role(row, 1)?, status(row, 2, now)?)));
    Concerned::among(user, held.collect::<Answer<_>>()?)
}
