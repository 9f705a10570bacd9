//! Housekeeping: empties what has expired, ends suspensions, forgets used-up tokens and old change-log rows.

use rusqlite::{Transaction, params};

use super::SqliteStore;
use super::value::{GONE_EXPIRED, int};
use crate::accounts::Answer;

/// Most messages emptied in one sweep, so that publishing never waits long.
const SWEEP_MESSAGES_MAX: u32 = 2_000;
/// Most rows of any other kind removed in one sweep.
const SWEEP_ROWS_MAX: u32 = 10_000;
/// Pollers read the change log each second; what is older than this nobody waits for.
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
    /// Sweeps once, as of `now` (unix ms). To be called every few seconds.
    pub async fn sweep(&self, now: u64) -> Answer<Swept> {
        self.write(move |tx, _| Ok(sweep(tx, now)?)).await
    }
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
