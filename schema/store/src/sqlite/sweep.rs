//! Housekeeping: empties what has expired, ends suspensions, forgets used-up tokens and old change-log rows; and, as
//! operators set it, what is older than they keep it.

use std::collections::BTreeSet;

use rusqlite::{Transaction, params};
use schema_wire::ConversationId;

use super::SqliteStore;
use super::account::audit;
use super::changes::note_erased;
use super::moderation::forget::forget_left;
use super::value::{GONE_EXPIRED, id, int};
use crate::accounts::Answer;

/// Most messages emptied in one sweep, so that publishing never waits long.
const SWEEP_MESSAGES_MAX: u32 = 2_000;
/// Most rows of any other kind removed in one sweep.
const SWEEP_ROWS_MAX: u32 = 10_000;
/// Most accounts that moderation forgets in one sweep.
const SWEEP_ERASED_MAX: u32 = 20;
/// What is older than this leaves the change log, in milliseconds. Pollers read it each second; one that could not for
/// long is told that it missed something.
const CHANGE_LOG_MS: u64 = 60 * 60 * 1000;

/// What one sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    pub expired: usize,
    pub suspensions_ended: usize,
    pub tokens: usize,
    pub changes: usize,
    /// Something is left: sweep again soon.
    pub more: bool,
}

impl SqliteStore {
    /// Empties messages made before then (unix ms); how many. To be called at start and daily.
    pub async fn empty_before(&self, before: u64) -> Answer<u64> {
        let (mut emptied, mut after) = (0, 0);
        loop {
            match self.write(move |tx, now| Ok(empty(tx, after, before, now)?)).await? {
                Some((last, some)) => (emptied, after) = (emptied + some, last),
                None => return Ok(emptied),
            }
        }
    }

    /// Forgets the audit trail before then (unix ms), but for its newest entry; how many entries. To be called at start
    /// and daily.
    pub async fn prune_audit(&self, before: u64) -> Answer<u64> {
        let mut pruned = 0;
        loop {
            let some = self.write(move |tx, now| audit::prune(tx, before, now)).await?;
            pruned += some;
            if some == 0 {
                return Ok(pruned);
            }
        }
    }

    /// Sweeps once, as of `now` (unix ms). To be called every few seconds.
    pub async fn sweep(&self, now: u64) -> Answer<Swept> {
        self.write(move |tx, _| {
            let left = (0..SWEEP_ERASED_MAX).map(|_| forget_left(tx, now));
            left.take_while(|more| !matches!(more, Ok(false))).collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(sweep(tx, now)?)
        })
        .await
    }
}

/// The rows after this one, a batch in the order they were written: the last one looked at, and how many were emptied. `None`:
/// from here on everything is newer. Live sessions are told to forget what they remember of those conversations.
fn empty(tx: &Transaction<'_>, after: i64, before: u64, now: u64) -> rusqlite::Result<Option<(i64, u64)>> {
    let batch = tx
        .prepare_cached(
            "SELECT max(rowid), min(created_at) FROM
               (SELECT rowid, created_at FROM messages WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)",
        )?
        .query_row([after, i64::from(SWEEP_MESSAGES_MAX)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(last), Some(oldest)): (Option<i64>, Option<i64>) = batch else { return Ok(None) };
    if oldest >= int(before) {
        return Ok(None);
    }
    let mut find = tx.prepare_cached(
        "UPDATE messages SET gone = ?3, deleted_at = ?4, body = x'', commitment = NULL
         WHERE rowid > ?1 AND rowid <= ?2 AND created_at < ?5 AND gone IS NULL
         RETURNING conversation_id",
    )?;
    let emptied: Vec<ConversationId> = find
        .query_map(params![after, last, GONE_EXPIRED, int(now), int(before)], |row| id(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    for conversation in emptied.iter().collect::<BTreeSet<_>>() {
        note_erased(tx, *conversation, now)?;
    }
    Ok(Some((last, emptied.len() as u64)))
}

fn sweep(tx: &Transaction<'_>, now: u64) -> rusqlite::Result<Swept> {
    let expired = tx.execute(
        "UPDATE messages SET gone = ?2, deleted_at = expires_at, body = x'', commitment = NULL WHERE rowid IN
           (SELECT rowid FROM messages WHERE expires_at <= ?1 AND gone IS NULL LIMIT ?3)",
        params![int(now), GONE_EXPIRED, SWEEP_MESSAGES_MAX],
    )?;
    // The trigger writes the change log.
    let suspensions_ended = tx.execute(
        "UPDATE users SET status = 'ACTIVE', suspended_at = NULL, suspended_until = NULL, suspension_reason = NULL,
           updated_at = ?1
         WHERE status = 'SUSPENDED' AND suspended_until <= ?1",
        [int(now)],
    )?;
    let mut tokens = 0;
    for table in ["refresh_tokens", "one_time_tokens"] {
        tokens += tx.execute(
            &format!(
                "DELETE FROM {table} WHERE token_hash IN
                   (SELECT token_hash FROM {table} WHERE expires_at <= ?1 LIMIT ?2)"
            ),
            params![int(now), SWEEP_ROWS_MAX],
        )?;
    }
    tx.execute("DELETE FROM sessions WHERE expires_at <= ?1", [int(now)])?;
    let changes = tx.execute(
        "DELETE FROM change_log WHERE id IN
           (SELECT id FROM change_log WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
        params![int(now.saturating_sub(CHANGE_LOG_MS)), SWEEP_ROWS_MAX],
    )?;
    let more = expired == SWEEP_MESSAGES_MAX as usize || changes == SWEEP_ROWS_MAX as usize;
    Ok(Swept { expired, suspensions_ended, tokens, changes, more })
}
