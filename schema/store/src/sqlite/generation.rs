//! Generations: a restore or lossy failover begins a new one and writes down where every log stood.

use rusqlite::{Transaction, params};
use schema_wire::{ConversationId, Generation, UserId};

use super::SqliteStore;
use super::account::audit::record;
use super::changes::note_generation;
use super::value::{int, uint_opt};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Origin, audit_event};

/// Longest reason given for a new generation.
pub const GENERATION_REASON_BYTES_MAX: usize = 256;

/// The present generation.
pub fn current(tx: &Transaction<'_>) -> rusqlite::Result<Generation> {
    tx.prepare_cached("SELECT max(generation) FROM store_generation")?
        .query_row([], |row| row.get(0))
        .map(Generation)
}

/// The smallest head recorded for the conversation by any generation newer than `known`.
pub fn cut_after(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    known: Generation,
) -> rusqlite::Result<Option<u64>> {
    tx.prepare_cached(
        "SELECT min(head) FROM generation_heads WHERE conversation_id = ?1 AND generation > ?2",
    )?
    .query_row(params![conversation.0, known.0], |row| uint_opt(row, 0))
}

/// The same for the user's own stream.
pub fn user_cut_after(
    tx: &Transaction<'_>,
    user: UserId,
    known: Generation,
) -> rusqlite::Result<Option<u64>> {
    tx.prepare_cached("SELECT min(head) FROM generation_user_heads WHERE user_id = ?1 AND generation > ?2")?
        .query_row(params![user.0, known.0], |row| uint_opt(row, 0))
}

impl SqliteStore {
    /// Begins a new generation. To be called once after a restore, before clients come back. The number is at least
    /// the unix time in seconds, so that restoring the same backup twice never gives two lives the same number.
    pub async fn begin_generation(&self, reason: String) -> Answer<Generation> {
        if reason.len() > GENERATION_REASON_BYTES_MAX {
            return Err(AccountError::Invalid { field: "reason", problem: "too long" });
        }
        self.write(move |tx, now| Ok(begin(tx, &reason, now)?)).await
    }
}

/// Begins one and writes down where every log stands.
pub fn begin(tx: &Transaction<'_>, reason: &str, now: u64) -> rusqlite::Result<Generation> {
    let by_clock = u32::try_from(now / 1000).unwrap_or(u32::MAX);
    let generation = Generation(current(tx)?.0.saturating_add(1).max(by_clock));
    tx.execute(
        "INSERT INTO store_generation (generation, reason, begun_at) VALUES (?1, ?2, ?3)",
        params![generation.0, reason, int(now)],
    )?;
    tx.execute(
        "INSERT INTO generation_heads (conversation_id, generation, head)
         SELECT id, ?1, next_offset - 1 FROM conversations",
        [generation.0],
    )?;
    tx.execute(
        "INSERT INTO generation_user_heads (user_id, generation, head) SELECT id, ?1, event_head FROM users",
        [generation.0],
    )?;
    note_generation(tx, generation, now)?;
    record(tx, audit_event::GENERATION_BEGUN, None, reason, &Origin::system(), now)?;
    Ok(generation)
}
