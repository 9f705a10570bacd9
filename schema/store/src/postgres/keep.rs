//! Housekeeping. Every few seconds: what has expired is emptied, suspensions end, used-up rows go. Daily: partitions
//! are made ahead, and detached once all of theirs is older than what is kept. One node at a time does either.

use super::PostgresStore;
use super::account::audit;
use super::changes;
use super::fault::Failed;
use super::moderation::forget::forget_left;
use super::transaction::{Access, Tx};
use super::value::At;
use crate::accounts::Answer;
use crate::sqlite::Swept;
use crate::stored::GONE_EXPIRED;

/// Keys of the advisory locks of those who sweep and of those who keep the partitions.
const SWEEP_LOCK: i64 = 0x5345_4355_5245_5357;
const PARTITION_LOCK: i64 = 0x5345_4355_5245_5054;
/// Most messages emptied in one sweep, so that publishing never waits long.
const SWEEP_MESSAGES_MAX: i64 = 2_000;
/// Most rows of any other kind removed in one sweep.
const SWEEP_ROWS_MAX: i64 = 10_000;
/// Most accounts that moderation forgets in one sweep.
const SWEEP_ERASED_MAX: u32 = 20;
/// What is older than this leaves the change log, in milliseconds. Pollers read it each second; one that could not for
/// long is told that it missed something.
const CHANGE_LOG_MS: u64 = 60 * 60 * 1000;
/// Months that have their partition ahead of time.
const MONTHS_AHEAD: i32 = 3;
/// How long readers and writers may be held up for a partition that leaves; then it waits for the next day.
const DETACH_WAIT: &str = "SET LOCAL lock_timeout = 2000";

/// What became of the partitions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// How many were made.
    pub made: u32,
    /// Tables that hold what is too old, and are part of the log no more. Theirs to drop or archive who run the server.
    pub detached: Vec<String>,
}

impl PostgresStore {
    /// Sweeps once, as of `now` (unix ms). To be called every few seconds on every node; while another one does,
    /// nothing happens.
    pub async fn sweep(&self, now: u64) -> Answer<Swept> {
        let swept = self.transact(Access::Write, async move |tx, _| {
            if alone(tx, SWEEP_LOCK).await? { Ok(sweep(tx, now).await?) } else { Ok(Swept::default()) }
        });
        let swept = swept.await?;
        for _ in 0..SWEEP_ERASED_MAX {
            if !self.write(async move |tx, _| forget_left(tx, now).await).await? {
                break;
            }
        }
        Ok(swept)
    }

    /// Forgets the audit trail before then (unix ms), but for its newest entry; how many entries. To be called at start
    /// and daily on every node.
    pub async fn prune_audit(&self, before: u64) -> Answer<u64> {
        let mut pruned = 0;
        loop {
            let some = self.write(async move |tx, now| audit::prune(tx, before, now).await).await?;
            pruned += some;
            if some == 0 {
                return Ok(pruned);
            }
        }
    }

    /// Makes the partitions of the coming months, and detaches those whose messages are all older than `months`
    /// (`None`: everything is kept). To be called at start and daily on every node.
    pub async fn keep_partitions(&self, months: Option<u32>) -> Answer<Kept> {
        let kept = self.transact(Access::Long, async move |tx, _| {
            if !alone(tx, PARTITION_LOCK).await? {
                return Ok(None);
            }
            let row = tx.query_one("SELECT ensure_message_partitions($1)", &[&MONTHS_AHEAD]).await?;
            let made = row.try_get::<_, i32>(0).map_err(Failed::Sql)?;
            Ok(Some(u32::try_from(made).unwrap_or(0)))
        });
        let Some(made) = kept.await? else { return Ok(Kept::default()) };
        let mut kept = Kept { made, detached: Vec::new() };
        let Some(months) = months else { return Ok(kept) };
        while let Some(name) = self.detach_oldest(months).await? {
            kept.detached.push(name);
        }
        Ok(kept)
    }

    /// One at a time, so that what reads and writes is held up once for each and briefly.
    async fn detach_oldest(&self, months: u32) -> Answer<Option<String>> {
        let months = i32::try_from(months).unwrap_or(i32::MAX / 12);
        self.transact(Access::Long, async move |tx, _| {
            if !alone(tx, PARTITION_LOCK).await? {
                return Ok(None);
            }
            tx.execute(DETACH_WAIT, &[]).await?;
            let row = tx.query_one("SELECT detach_message_partition($1)", &[&months]).await?;
            Ok(row.try_get::<_, Option<String>>(0).map_err(Failed::Sql)?)
        })
        .await
    }
}

/// Whether no other node does the same now; until the transaction ends, none will.
async fn alone(tx: &Tx, key: i64) -> Result<bool, Failed> {
    Ok(tx.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&key]).await?.try_get(0)?)
}

async fn sweep(tx: &Tx, now: u64) -> Result<Swept, Failed> {
    // What somebody holds is left for the next sweep.
    let expired = tx
        .execute(
            "UPDATE messages m SET gone = $2, deleted_at = m.expires_at, body = '', commitment = NULL
             FROM (SELECT conversation_id, log_offset, created_at FROM messages
               WHERE expires_at <= $1 AND gone IS NULL LIMIT $3 FOR UPDATE SKIP LOCKED) e
             WHERE m.conversation_id = e.conversation_id AND m.log_offset = e.log_offset AND m.created_at = e.created_at",
            &[&At(now), &GONE_EXPIRED, &SWEEP_MESSAGES_MAX],
        )
        .await?;
    // The trigger writes the change log.
    let suspensions_ended = tx
        .execute(
            "UPDATE users SET status = 'ACTIVE', suspended_at = NULL, suspended_until = NULL, suspension_reason = NULL,
               updated_at = $1
             WHERE id IN (SELECT id FROM users WHERE status = 'SUSPENDED' AND suspended_until <= $1
               ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)",
            &[&At(now), &SWEEP_ROWS_MAX],
        )
        .await?;
    let mut tokens = 0;
    for delete in [
        "DELETE FROM refresh_tokens WHERE token_hash IN (SELECT token_hash FROM refresh_tokens
           WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM one_time_tokens WHERE token_hash IN (SELECT token_hash FROM one_time_tokens
           WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    ] {
        tokens += tx.execute(delete, &[&At(now), &SWEEP_ROWS_MAX]).await?;
    }
    tx.execute(
        "DELETE FROM sessions WHERE id_hash IN (SELECT id_hash FROM sessions
           WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        &[&At(now), &SWEEP_ROWS_MAX],
    )
    .await?;
    let changes = changes::sweep(tx, now.saturating_sub(CHANGE_LOG_MS), SWEEP_ROWS_MAX).await?;
    let more = expired == SWEEP_MESSAGES_MAX as u64 || changes == SWEEP_ROWS_MAX as u64;
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(Swept {
        expired: count(expired),
        suspensions_ended: count(suspensions_ended),
        tokens: count(tokens),
        changes: count(changes),
        more,
    })
}
