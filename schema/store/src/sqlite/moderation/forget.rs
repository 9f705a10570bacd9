//! What moderation keeps about an account that is erased: that something was decided, what, when and by whom. Texts,
//! evidence and the address go, and nothing about the account stays open.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::UserId;

use crate::rows::account::Origin;
use crate::sqlite::value::id;
use crate::stored::int;

/// Ends what is open; a decision still under way ends as one whose account was gone when its time came.
const CLOSED: [&str; 3] = [
    "UPDATE reports SET status = 'RESOLVED', resolution = 'ERASED', resolved_at = ?2, resolved_by = ?3
     WHERE reported_user_id = ?1 AND status = 'PENDING'",
    "UPDATE flags SET status = 'CLOSED', closed_at = ?2, closed_by = ?3 WHERE user_id = ?1 AND status = 'OPEN'",
    "UPDATE moderation_decisions SET state = 'FAILED', ended_at = ?2, ended_by = ?3
     WHERE user_id = ?1 AND state IN ('WAITING', 'PENDING')",
];

/// An address that was banned with the account stays banned, whatever becomes of others' decisions, but for a reason that
/// may name somebody.
const EMPTIED: [&str; 7] = [
    "UPDATE banned_ips SET reason = ''
     WHERE ip_address IN (SELECT address FROM moderation_decisions WHERE user_id = ?1 AND address IS NOT NULL)
       AND EXISTS (SELECT 1 FROM moderation_decisions d WHERE d.user_id = ?1 AND d.address = ip_address
         AND substr(d.reason, 1, length(banned_ips.reason)) = banned_ips.reason)",
    "UPDATE banned_ips SET kept = 1
     WHERE ip_address IN (SELECT address FROM moderation_decisions WHERE user_id = ?1 AND address IS NOT NULL)
       AND EXISTS (SELECT 1 FROM moderation_decisions d WHERE d.user_id = ?1 AND d.address = ip_address
         AND d.state = 'DONE' AND d.ended_at >= banned_ips.created_at)",
    "UPDATE reports SET evidence = NULL, comment = '' WHERE reported_user_id = ?1",
    "UPDATE flags SET detail = '' WHERE user_id = ?1",
    "UPDATE moderation_decisions SET reason = '', notice = NULL, address = NULL, mailed_at = nullif(mailed_at, 0),
       reversal_mailed_at = nullif(reversal_mailed_at, 0)
     WHERE user_id = ?1",
    "UPDATE moderation_actions SET reason = '' WHERE user_id = ?1",
    "DELETE FROM moderation_mutes WHERE user_id = ?1",
];

pub fn forget(tx: &Transaction<'_>, subject: UserId, by: &Origin, now: u64) -> rusqlite::Result<()> {
    for statement in CLOSED {
        tx.execute(statement, params![subject.0, int(now), by.actor.map(|user| user.0)])?;
    }
    tx.execute(
        "UPDATE moderation_cases SET state = 'RESOLVED', resolved_at = ?2, claimed_by = NULL, claim_expires_at = 0
         WHERE user_id = ?1 AND state <> 'RESOLVED'",
        params![subject.0, int(now)],
    )?;
    for statement in EMPTIED {
        tx.execute(statement, [subject.0])?;
    }
    Ok(())
}

/// Does the same once for an account that the release before erased; false: none is left. One that a restore brought back
/// is erased anew, and forgotten with that.
pub fn forget_left(tx: &Transaction<'_>, now: u64) -> rusqlite::Result<bool> {
    let find = "SELECT user_id FROM erasure_ledger WHERE forgotten = 0 ORDER BY id LIMIT 1";
    let left = tx.prepare_cached(find)?.query_row([], |row| id::<UserId>(row, 0)).optional()?;
    let Some(user) = left else { return Ok(false) };
    let is_deleted = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1 AND status = 'DELETED')";
    if tx.query_row(is_deleted, [user.0], |row| row.get(0))? {
        forget(tx, user, &Origin::system(), now)?;
    }
    tx.execute("UPDATE erasure_ledger SET forgotten = 1 WHERE user_id = ?1", [user.0])?;
    Ok(true)
}
