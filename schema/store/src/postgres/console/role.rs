//! Roles that change hands. Whoever changes one holds the account's own lock and the rows of all administrators, so that
//! two can't take each other's role away, nor the last one's.

use schema_wire::UserId;

use super::staff::{NO_PASSWORD, must_ask};
use crate::accounts::{AccountError, Answer};
use crate::postgres::account::administrators::hold;
use crate::postgres::account::audit::record;
use crate::postgres::account::own;
use crate::postgres::account::read::account_role;
use crate::postgres::account::register::keep_token;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id};
use crate::rows::account::{Origin, audit_event};
use crate::rows::console::{Agreed, RoleChange, StaffRequestId};
use crate::rows::role::AccountRole;
use crate::token::NewToken;

pub async fn change(tx: &Tx, change: RoleChange, by: &Origin, now: u64) -> Answer<()> {
    own(tx, change.user).await?;
    let concerned = hold(tx, change.user, now).await?;
    if change.takes_two() && by.actor.is_some() {
        return Err(AccountError::NotAllowed);
    }
    concerned.must_go(change, by.actor)?;
    apply(tx, change, &change.told(), by, now).await
}

/// Asks for what takes two.
pub async fn ask(tx: &Tx, change: RoleChange, by: &Origin, now: u64) -> Answer<StaffRequestId> {
    let asker = by.actor.ok_or(AccountError::NotAllowed)?;
    hold(tx, change.user, now).await?.must_go(change, Some(asker))?;
    if !change.takes_two() {
        return Err(AccountError::NotAllowed);
    }
    let request = StaffRequestId(crate::fresh_id(now));
    let asked = tx
        .execute(
            "INSERT INTO staff_requests (id, email, name, role, user_id, asked_by, asked_at)
             SELECT $1, email, name, $3, id, $4, $5 FROM users WHERE id = $2 ON CONFLICT DO NOTHING",
            &[&Id(request.0), &Id(change.user.0), &change.to.name(), &Id(asker.0), &At(now)],
        )
        .await?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::STAFF_ASKED, Some(change.user), &change.told(), by, now).await?;
    Ok(request)
}

/// Agrees to what somebody else asked for. Nobody holds the account yet.
pub async fn agree(
    tx: &Tx,
    (wanted, user): (StaffRequestId, UserId),
    reset: NewToken,
    by: &Origin,
    now: u64,
) -> Answer<Agreed> {
    own(tx, user).await?;
    let concerned = hold(tx, user, now).await?;
    let request = must_ask(tx, wanted, by.actor).await?;
    let change = RoleChange { user, from: concerned.role, to: request.role };
    concerned.must_go(change, by.actor)?;
    let detail = format!("{}, asked for by {}", change.told(), request.asked_by);
    apply(tx, change, &detail, by, now).await?;
    if change.from != AccountRole::User {
        return Ok(Agreed::Changed(user));
    }
    keep_token(tx, user, "RESET", reset, now).await?;
    Ok(Agreed::Raised(user))
}

/// Whoever was shown a link of the account, or chose its password with one, could sign in as a second person. Whoever runs
/// the machine could do so anyhow.
async fn forget_password(tx: &Tx, user: UserId, by: &Origin) -> Answer<()> {
    tx.execute("DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose = 'RESET'", &[&Id(user.0)])
        .await?;
    if by.actor.is_some() {
        let void = "UPDATE users SET password_hash = $2 WHERE id = $1";
        tx.execute(void, &[&Id(user.0), &NO_PASSWORD]).await?;
    }
    Ok(())
}

async fn apply(tx: &Tx, change: RoleChange, detail: &str, by: &Origin, now: u64) -> Answer<()> {
    let user = change.user;
    tx.execute(
        "UPDATE users SET role = $2, updated_at = $3 WHERE id = $1",
        &[&Id(user.0), &change.to.name(), &At(now)],
    )
    .await?;
    tx.execute("DELETE FROM sessions WHERE user_id = $1", &[&Id(user.0)]).await?;
    if change.from == AccountRole::User {
        forget_password(tx, user, by).await?;
    }
    // What was asked for it was asked for another role; what it asked for as an administrator, nobody asks for any more.
    let was_admin = change.from == AccountRole::Admin;
    let void = tx
        .query(
            "DELETE FROM staff_requests WHERE user_id = $1 OR ($2 AND asked_by = $1) RETURNING role",
            &[&Id(user.0), &was_admin],
        )
        .await?;
    for row in &void {
        record(tx, audit_event::STAFF_WITHDRAWN, Some(user), account_role(row, 0)?.name(), by, now).await?;
    }
    record(tx, audit_event::ROLE_CHANGED, Some(user), detail, by, now).await?;
    Ok(())
}
