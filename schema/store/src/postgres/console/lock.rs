//! Lock-outs: failed attempts are counted by what was typed, so that nobody learns which accounts exist.

use schema_wire::UserId;

use crate::accounts::Answer;
use crate::console::{FAILURES_KEPT_MS, wait_after};
use crate::postgres::account::audit::record;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, time};
use crate::rows::account::{Origin, audit_event};

pub async fn locked_until(tx: &Tx, subject: &[u8; 32], now: u64) -> Answer<u64> {
    let found = tx
        .query_opt(
            "SELECT locked_until FROM sign_in_locks WHERE subject = $1 AND locked_until > $2",
            &[&subject.as_slice(), &At(now)],
        )
        .await?;
    found.map_or(Ok(0), |row| Ok(time(&row, 0)?))
}

pub async fn count(
    tx: &Tx,
    subject: &[u8; 32],
    user: Option<UserId>,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<u64> {
    let subject = subject.as_slice();
    // Old ones are swept one statement's worth at a time; one that somebody else holds is swept the next time.
    tx.execute(
        "DELETE FROM sign_in_locks WHERE subject IN (
           SELECT subject FROM sign_in_locks WHERE failed_at < $1 ORDER BY failed_at LIMIT 100
           FOR UPDATE SKIP LOCKED)",
        &[&At(now.saturating_sub(FAILURES_KEPT_MS))],
    )
    .await?;
    let row = tx
        .query_one(
            "INSERT INTO sign_in_locks AS l (subject, failures, failed_at) VALUES ($1, 1, $2)
             ON CONFLICT (subject) DO UPDATE SET failed_at = excluded.failed_at,
               failures = CASE WHEN l.failed_at < $3 THEN 1 ELSE l.failures + 1 END
             RETURNING failures",
            &[&subject, &At(now), &At(now.saturating_sub(FAILURES_KEPT_MS))],
        )
        .await?;
    let failures: i32 = row.try_get(0)?;
    let wait = wait_after(u32::try_from(failures).unwrap_or(0));
    let until = if wait == 0 { 0 } else { now + wait };
    tx.execute("UPDATE sign_in_locks SET locked_until = $2 WHERE subject = $1", &[&subject, &At(until)])
        .await?;
    record(tx, audit_event::LOGIN_FAILED, user, reason, by, now).await?;
    Ok(until)
}

pub async fn forget(tx: &Tx, subject: &[u8; 32]) -> Answer<()> {
    tx.execute("DELETE FROM sign_in_locks WHERE subject = $1", &[&subject.as_slice()]).await?;
    Ok(())
}
