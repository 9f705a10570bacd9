//! Pages of a log: where the embedded store finds its rows.

use bytes::Bytes;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::record::{Entry, Message, Page};
use schema_wire::v1::GoneReason;
use schema_wire::{ConversationId, Generation, Offset, UserId};

use super::generation::current;
use super::value::{gone, id, int, small, uint, uint_opt};
use crate::page::{Log, Stretch, Wish, stretches, unreadable};

/// What a user may read, from `from` on (0 backwards: from the newest).
pub fn recover(
    tx: &Transaction<'_>,
    (user, conversation): (UserId, ConversationId),
    (from, limit, backwards): (Offset, u32, bool),
    now: u64,
) -> rusqlite::Result<Page> {
    let generation = current(tx)?;
    let Some((newest, members_version)) = counters(tx, conversation)? else {
        return Ok(unreadable(generation));
    };
    let (readable, left) = intervals(tx, user, conversation, newest)?;
    let Some(left) = left else { return Ok(unreadable(generation)) };
    let head = if left { readable.last().map_or(0, |s| s.to) } else { newest };
    let log = Log { generation, members_version, readable, head };
    let wish = Wish { from: from.0, limit, backwards };
    log.page(wish, |stretch, take| rows(tx, conversation, stretch, now, take))
}

/// Entries as they are, for a home shard.
pub fn read(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    from: Offset,
    limit: u32,
    now: u64,
) -> rusqlite::Result<Page> {
    let generation = current(tx)?;
    let Some((head, members_version)) = counters(tx, conversation)? else {
        return Ok(unreadable(generation));
    };
    let log = Log { generation, members_version, readable: vec![Stretch { from: 1, to: head }], head };
    let wish = Wish { from: from.0, limit, backwards: false };
    log.page(wish, |stretch, take| rows(tx, conversation, stretch, now, take))
}

/// One message, unless it is gone.
pub fn newest(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    offset: u64,
    now: u64,
) -> rusqlite::Result<Option<Message>> {
    let mut found = None;
    rows(tx, conversation, Stretch { from: offset, to: offset }, now, &mut |entry| {
        if let Entry::Message(message) = entry {
            found = Some(message);
        }
        true
    })?;
    Ok(found)
}

/// Newest offset and membership version.
fn counters(tx: &Transaction<'_>, conversation: ConversationId) -> rusqlite::Result<Option<(u64, u64)>> {
    tx.prepare_cached("SELECT next_offset - 1, members_version FROM conversations WHERE id = ?1")?
        .query_row([conversation.0], |row| Ok((uint(row, 0)?, uint(row, 1)?)))
        .optional()
}

fn intervals(
    tx: &Transaction<'_>,
    user: UserId,
    conversation: ConversationId,
    newest: u64,
) -> rusqlite::Result<(Vec<Stretch>, Option<bool>)> {
    let mut find = tx.prepare_cached(
        "SELECT joined_offset, left_offset FROM conversation_members
         WHERE conversation_id = ?1 AND user_id = ?2 ORDER BY joined_offset, joined_version",
    )?;
    let stays = find
        .query_map(params![conversation.0, user.0], |row| Ok((uint(row, 0)?, uint_opt(row, 1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(stretches(stays.into_iter(), newest))
}

/// Rows of a stretch, rising, until `take` has enough.
fn rows(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    stretch: Stretch,
    now: u64,
    take: &mut dyn FnMut(Entry) -> bool,
) -> rusqlite::Result<()> {
    let mut find = tx.prepare_cached(
        "SELECT log_offset, gone, generation, kind, sender_id, device_id, created_at, relates_to, expires_at,
           publish_key, members_version, body
         FROM messages WHERE conversation_id = ?1 AND log_offset BETWEEN ?2 AND ?3 ORDER BY log_offset",
    )?;
    let mut found = find.query(params![conversation.0, int(stretch.from), int(stretch.to)])?;
    while let Some(row) = found.next()? {
        if !take(entry(row, conversation, now)?) {
            break;
        }
    }
    Ok(())
}

fn entry(row: &Row<'_>, conversation: ConversationId, now: u64) -> rusqlite::Result<Entry> {
    let offset = Offset(uint(row, 0)?);
    let expires_at = uint_opt(row, 8)?;
    let reason = match row.get::<_, Option<i64>>(1)? {
        Some(number) => Some(gone(number)),
        None => expires_at.filter(|at| *at <= now).map(|_| GoneReason::Expired),
    };
    if let Some(reason) = reason {
        return Ok(Entry::Gone { from: offset, to: offset, reason });
    }
    Ok(Entry::Message(Message {
        conversation,
        offset,
        generation: Generation(small(row, 2)?),
        kind: small(row, 3)?,
        sender: id(row, 4)?,
        device: id(row, 5)?,
        at: uint(row, 6)?,
        relates_to: uint_opt(row, 7)?.map(Offset),
        expires_at,
        publish_key: id(row, 9)?,
        members_version: uint(row, 10)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(11)?),
    }))
}
