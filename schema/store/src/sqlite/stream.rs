//! The user's own stream: one dense durable log per user; and read cursors, which move through it.

use buffa::Message as _;
use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::record::UserEventPage;
use schema_wire::v1::{self, UserEvent, user_event::Event};
use schema_wire::{ConversationId, Offset, Position, UserId};

use super::changes::note_user_events;
use super::generation::{current, user_cut_after};
use super::value::{int, uint};

/// Most events in one page.
const EVENTS_MAX: u32 = 256;

/// A read cursor about to move.
#[derive(Clone, Copy, Debug)]
pub struct CursorMove {
    pub user: UserId,
    pub conversation: ConversationId,
    pub offset: Offset,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CursorMoved {
    pub moved: bool,
    /// As of which the user is a member, if at all.
    pub members_version: Option<u64>,
}

/// Appends to a user's stream. Unknown users have none: nothing happens.
pub fn push(tx: &Transaction<'_>, user: UserId, event: impl Into<Event>, now: u64) -> rusqlite::Result<()> {
    let offset = tx
        .prepare_cached("UPDATE users SET event_head = event_head + 1 WHERE id = ?1 RETURNING event_head")?
        .query_row([user.0], |row| uint(row, 0))
        .optional()?;
    let Some(offset) = offset else { return Ok(()) };
    let generation = current(tx)?;
    let event = UserEvent {
        offset,
        generation: generation.0,
        at: now,
        event: Some(event.into()),
        ..Default::default()
    };
    tx.prepare_cached(
        "INSERT INTO user_events (user_id, log_offset, generation, created_at, event) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![user.0, int(offset), generation.0, int(now), event.encode_to_vec()])?;
    note_user_events(tx, user, offset, now)
}

/// A page of a user's stream after a position; when that was cut off, after the cut.
pub fn events(
    tx: &Transaction<'_>,
    user: UserId,
    after: Position,
    limit: u32,
) -> rusqlite::Result<UserEventPage> {
    let head = tx
        .prepare_cached("SELECT event_head FROM users WHERE id = ?1")?
        .query_row([user.0], |row| uint(row, 0))
        .optional()?
        .unwrap_or(0);
    let cut = user_cut_after(tx, user, after.generation)?.unwrap_or(u64::MAX).min(head);
    let rewound = (after.offset.0 > cut).then_some(Offset(cut));
    let mut find = tx.prepare_cached(
        "SELECT event FROM user_events WHERE user_id = ?1 AND log_offset > ?2 ORDER BY log_offset LIMIT ?3",
    )?;
    let mut rows = find.query(params![user.0, int(after.offset.0.min(cut)), limit.clamp(1, EVENTS_MAX)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob()?;
        events.push(UserEvent::decode_from_slice(bytes).map_err(|_| super::value::unknown(0))?);
    }
    Ok(UserEventPage { generation: current(tx)?, head: Offset(head), events, rewound })
}

/// Moves a cursor forward, never back and never beyond the head.
pub fn move_cursor(tx: &Transaction<'_>, cursor: &CursorMove, now: u64) -> rusqlite::Result<CursorMoved> {
    let CursorMove { user, conversation, offset } = *cursor;
    let found = tx
        .prepare_cached(
            "SELECT c.next_offset - 1, c.members_version
             FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
             WHERE m.conversation_id = ?1 AND m.user_id = ?2 AND m.left_offset IS NULL",
        )?
        .query_row(params![conversation.0, user.0], |row| Ok((Offset(uint(row, 0)?), uint(row, 1)?)))
        .optional()?;
    let Some((head, version)) = found else { return Ok(CursorMoved { moved: false, members_version: None }) };
    let members_version = Some(version);
    if offset.0 == 0 || offset > head {
        return Ok(CursorMoved { moved: false, members_version });
    }
    let changed = tx
        .prepare_cached(
            "INSERT INTO cursors (user_id, conversation_id, log_offset, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (user_id, conversation_id) DO UPDATE
             SET log_offset = excluded.log_offset, updated_at = excluded.updated_at
             WHERE excluded.log_offset > cursors.log_offset",
        )?
        .execute(params![user.0, conversation.0, int(offset.0), int(now)])?;
    if changed > 0 {
        let event =
            v1::CursorMoved { conversation: conversation.to_bytes(), offset: offset.0, ..Default::default() };
        push(tx, user, event, now)?;
    }
    Ok(CursorMoved { moved: changed > 0, members_version })
}
