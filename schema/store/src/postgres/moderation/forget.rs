//! What moderation keeps about an account that is erased: that something was decided, what, when and by whom. Texts,
//! evidence and the address go, and nothing about the account stays open.

use schema_wire::UserId;

use crate::accounts::Answer;
use crate::postgres::account::own;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id};
use crate::rows::account::Origin;

/// Ends what is open; a decision still under way ends as one whose account was gone when its time came.
const CLOSED: [&str; 3] = [
    "UPDATE reports SET status = 'RESOLVED', resolution = 'ERASED', resolved_at = $2, resolved_by = $3
     WHERE reported_user_id = $1 AND status = 'PENDING'",
    "UPDATE flags SET status = 'CLOSED', closed_at = $2, closed_by = $3 WHERE user_id = $1 AND status = 'OPEN'",
    "UPDATE moderation_decisions SET state = 'FAILED', ended_at = $2, ended_by = $3
     WHERE user_id = $1 AND state IN ('WAITING', 'PENDING')",
];

/// An address that was banned with the account stays banned, whatever becomes of others' decisions, but for a reason that
/// may name somebody.
const EMPTIED: [&str; 7] = [
    "UPDATE banned_ips b SET reason = '' FROM moderation_decisions d
     WHERE d.user_id = $1 AND b.ip_address = d.address AND starts_with(d.reason, b.reason)",
    "UPDATE banned_ips b SET kept = true FROM moderation_decisions d
     WHERE d.user_id = $1 AND d.state = 'DONE' AND b.ip_address = d.address AND d.ended_at >= b.created_at",
    "UPDATE reports SET evidence = NULL, comment = '' WHERE reported_user_id = $1",
    "UPDATE flags SET detail = '' WHERE user_id = $1",
    "UPDATE moderation_decisions SET reason = '', notice = NULL, address = NULL, mailed_at = nullif(mailed_at, 'epoch'),
       reversal_mailed_at = nullif(reversal_mailed_at, 'epoch')
     WHERE user_id = $1",
    "UPDATE moderation_actions SET reason = '' WHERE user_id = $1",
    "DELETE FROM moderation_mutes WHERE user_id = $1",
];

/// Whoever changes any of it holds the account's own lock, as the caller does; only the addresses are shared, and are
/// locked after the rows of people as everywhere.
pub async fn forget(tx: &Tx, subject: UserId, by: &Origin, now: u64) -> Answer<()> {
    let ended_by = by.actor.map(|user| Id(user.0));
    for statement in CLOSED {
        tx.execute(statement, &[&Id(subject.0), &At(now), &ended_by]).await?;
    }
    tx.execute(
        "UPDATE moderation_cases SET state = 'RESOLVED', resolved_at = $2, claimed_by = NULL, claim_expires_at = 'epoch'
         WHERE user_id = $1 AND state <> 'RESOLVED'",
        &[&Id(subject.0), &At(now)],
    )
    .await?;
    for statement in EMPTIED {
        tx.execute(statement, &[&Id(subject.0)]).await?;
    }
    Ok(())
}

/// Does the same once for an account that the release before erased, which runs on beside this one while nodes are
/// replaced; false: none is left. One that a restore brought back is erased anew, and forgotten with that.
pub async fn forget_left(tx: &Tx, now: u64) -> Answer<bool> {
    let find = "SELECT user_id FROM erasure_ledger WHERE NOT forgotten ORDER BY id LIMIT 1";
    let Some(row) = tx.query_opt(find, &[]).await? else { return Ok(false) };
    let user: UserId = id(&row, 0)?;
    own(tx, user).await?;
    let is_deleted = "SELECT 1 FROM users WHERE id = $1 AND status = 'DELETED'";
    if tx.query_opt(is_deleted, &[&Id(user.0)]).await?.is_some() {
        forget(tx, user, &Origin::system(), now).await?;
    }
    tx.execute("UPDATE erasure_ledger SET forgotten = true WHERE user_id = $1", &[&Id(user.0)]).await?;
    Ok(true)
}
