//! The user's own stream: one dense durable log per user; and read cursors, which move through it.

use buffa::Message as _;
use futures_util::future::try_join3;
use schema_wire::record::UserEventPage;
use schema_wire::v1::{self, UserEvent, user_event::Event};
use schema_wire::{ConversationId, Offset, Position, UserId};

use super::fault::Failed;
use super::generation::{current, user_cut_after};
use super::transaction::Tx;
use super::value::{At, Id, uint, uint_opt};
use crate::stored::int;

/// Most events in one page.
const EVENTS_MAX: u32 = 256;

/// Appends to a user's stream, whose row stays locked until the transaction ends: people are to be told in order of
/// their ids. Unknown users have no stream: nothing happens.
pub async fn push(tx: &Tx, user: UserId, event: impl Into<Event>, now: u64) -> Result<(), Failed> {
    let step = "UPDATE users SET event_head = event_head + 1 WHERE id = $1 RETURNING event_head";
    let Some(row) = tx.query_opt(step, &[&Id(user.0)]).await? else { return Ok(()) };
    let offset = uint(&row, 0)?;
    let generation = current(tx).await?;
    let event = UserEvent {
        offset,
        generation: generation.0,
        at: now,
        event: Some(event.into()),
        ..Default::default()
    };
    let keep = "WITH told AS (
          INSERT INTO change_log (kind, user_id, number, created_at) VALUES ('USER_EVENTS', $1, $2, $4))
        INSERT INTO user_events (user_id, log_offset, generation, created_at, event) VALUES ($1, $2, $3, $4, $5)";
    let number = i64::from(generation.0);
    tx.execute(keep, &[&Id(user.0), &int(offset), &number, &At(now), &event.encode_to_vec()]).await?;
    Ok(())
}

/// A page of a user's stream after a position; when that was cut off, after the cut.
pub async fn events(tx: &Tx, user: UserId, after: Position, limit: u32) -> Result<UserEventPage, Failed> {
    let find = "SELECT event_head FROM users WHERE id = $1";
    let (generation, head, cut) = try_join3(
        current(tx),
        tx.query_opt(find, &[&Id(user.0)]),
        user_cut_after(tx, user, after.generation),
    )
    .await?;
    let head = head.map(|row| uint(&row, 0)).transpose()?.unwrap_or(0);
    let cut = cut.unwrap_or(u64::MAX).min(head);
    let rewound = (after.offset.0 > cut).then_some(Offset(cut));
    let find =
        "SELECT event FROM user_events WHERE user_id = $1 AND log_offset > $2 ORDER BY log_offset LIMIT $3";
    let (first, limit) = (int(after.offset.0.min(cut)), i64::from(limit.clamp(1, EVENTS_MAX)));
    let mut events = Vec::new();
    for row in tx.query(find, &[&Id(user.0), &first, &limit]).await? {
        match UserEvent::decode_from_slice(row.try_get(0)?) {
            Ok(event) => events.push(event),
            Err(_) => return Err(Failed::Unreadable("a user event")),
        }
    }
    Ok(UserEventPage { generation, head: Offset(head), events, rewound })
}

/// Moves a cursor forward, never back and never beyond the head. Whether it moved, and as of which membership version the
/// user is a member, if at all.
pub async fn move_cursor(
    tx: &Tx,
    (user, conversation): (UserId, ConversationId),
    offset: Offset,
    now: u64,
) -> Result<(bool, Option<u64>), Failed> {
    let step = "WITH place AS (
          SELECT c.next_offset - 1 AS head, c.members_version
          FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
          WHERE m.conversation_id = $2 AND m.user_id = $1 AND m.left_offset IS NULL),
        moved AS (
          INSERT INTO cursors (user_id, conversation_id, log_offset, updated_at)
          SELECT $1, $2, $3, $4 FROM place WHERE $3 BETWEEN 1 AND head
          ON CONFLICT (user_id, conversation_id) DO UPDATE
          SET log_offset = excluded.log_offset, updated_at = excluded.updated_at
          WHERE excluded.log_offset > cursors.log_offset RETURNING 1)
        SELECT EXISTS (SELECT 1 FROM moved), (SELECT members_version FROM place)";
    let row = tx.query_one(step, &[&Id(user.0), &Id(conversation.0), &int(offset.0), &At(now)]).await?;
    let (moved, members_version) = (row.try_get(0)?, uint_opt(&row, 1)?);
    if moved {
        let event =
            v1::CursorMoved { conversation: conversation.to_bytes(), offset: offset.0, ..Default::default() };
        push(tx, user, event, now).await?;
    }
    Ok((moved, members_version))
}
