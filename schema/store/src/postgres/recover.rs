//! Pages of a log: the reader's stretches first, then all rows of the page at once. Bodies beyond the page's bytes are
//! not sent.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::try_join3;
use schema_wire::record::{Entry, Message, Page};
use schema_wire::v1::GoneReason;
use schema_wire::{ConversationId, Generation, Offset, UserId};
use tokio_postgres::Row;

use super::cached::recent::{self, State};
use super::fault::Failed;
use super::generation::current;
use super::transaction::Tx;
use super::value::{At, Id, id, time, time_opt, uint, uint_opt};
use crate::page::{Log, PAGE_BYTES_MAX, Stretch, Wish, stretches, unreadable};
use crate::stored::{gone, int};

/// What a page of a log is read by: its generation and counters, and its reader's stays.
pub struct Ground {
    generation: Generation,
    counters: Option<Counters>,
    stays: Vec<(u64, Option<u64>)>,
}

/// Looks at a log; without a user, for a home shard.
pub async fn ground(tx: &Tx, user: Option<UserId>, conversation: ConversationId) -> Result<Ground, Failed> {
    let find = "SELECT joined_offset, left_offset FROM conversation_members
        WHERE conversation_id = $1 AND user_id = $2 ORDER BY joined_offset, joined_version";
    let stays = async {
        match user {
            Some(user) => tx.query(find, &[&Id(conversation.0), &Id(user.0)]).await,
            None => Ok(Vec::new()),
        }
    };
    let (generation, counters, stays) = try_join3(current(tx), counters(tx, conversation), stays).await?;
    let stay = |row: &Row| Ok((uint(row, 0)?, uint_opt(row, 1)?));
    let stays = stays.iter().map(stay).collect::<Result<Vec<_>, Failed>>()?;
    Ok(Ground { generation, counters, stays })
}

/// What a user may read, from `from` on (0 backwards: from the newest).
pub async fn recover(
    tx: &Tx,
    (user, conversation): (UserId, ConversationId),
    wish: (Offset, u32, bool),
    now: u64,
) -> Result<Page, Failed> {
    let ground = ground(tx, Some(user), conversation).await?;
    recover_on(tx, ground, conversation, wish, now).await
}

/// The same, once it is known what by.
pub async fn recover_on(
    tx: &Tx,
    Ground { generation, counters, stays }: Ground,
    conversation: ConversationId,
    (from, limit, backwards): (Offset, u32, bool),
    now: u64,
) -> Result<Page, Failed> {
    let Some(Counters { head: newest, members_version, erasures }) = counters else {
        return Ok(unreadable(generation));
    };
    let (readable, left) = stretches(stays.into_iter(), newest);
    let Some(left) = left else { return Ok(unreadable(generation)) };
    let head = if left { readable.last().map_or(0, |s| s.to) } else { newest };
    let log = Log { generation, members_version, readable, head };
    let state = State { generation, head: newest, erasures };
    page(tx, (conversation, state), &log, Wish { from: from.0, limit, backwards }, now).await
}

/// Entries as they are, for a home shard.
pub async fn read_on(
    tx: &Tx,
    Ground { generation, counters, .. }: Ground,
    conversation: ConversationId,
    (from, limit): (Offset, u32),
    now: u64,
) -> Result<Page, Failed> {
    let Some(Counters { head, members_version, erasures }) = counters else {
        return Ok(unreadable(generation));
    };
    let log = Log { generation, members_version, readable: vec![Stretch { from: 1, to: head }], head };
    let state = State { generation, head, erasures };
    page(tx, (conversation, state), &log, Wish { from: from.0, limit, backwards: false }, now).await
}

/// Those of these messages that are not gone.
pub async fn newest(tx: &Tx, heads: &[(ConversationId, Offset)], now: u64) -> Result<Vec<Message>, Failed> {
    let conversations: Vec<Id> = heads.iter().map(|(conversation, _)| Id(conversation.0)).collect();
    let offsets: Vec<i64> = heads.iter().map(|(_, offset)| int(offset.0)).collect();
    let find = "SELECT m.log_offset, gone, generation, kind, sender_id, device_id, created_at, relates_to, expires_at,
          publish_key, members_version, body, m.conversation_id
        FROM unnest($1::uuid[], $2::bigint[]) h (conversation_id, log_offset)
        JOIN messages m ON m.conversation_id = h.conversation_id AND m.log_offset = h.log_offset";
    let mut messages = Vec::new();
    for row in tx.query(find, &[&conversations, &offsets]).await? {
        if let Entry::Message(message) = entry(&row, id(&row, 12)?, now)? {
            messages.push(message);
        }
    }
    Ok(messages)
}

/// What of a conversation's row its log is read by.
struct Counters {
    /// Newest offset.
    head: u64,
    members_version: u64,
    erasures: u64,
}

async fn counters(tx: &Tx, conversation: ConversationId) -> Result<Option<Counters>, Failed> {
    let find = "SELECT next_offset - 1, members_version, erasures FROM conversations WHERE id = $1";
    let row = tx.query_opt(find, &[&Id(conversation.0)]).await?;
    let read = |row: Row| {
        Ok(Counters { head: uint(&row, 0)?, members_version: uint(&row, 1)?, erasures: uint(&row, 2)? })
    };
    row.map(read).transpose()
}

async fn page(
    tx: &Tx,
    (conversation, state): (ConversationId, State),
    log: &Log,
    wish: Wish,
    now: u64,
) -> Result<Page, Failed> {
    let asked = log.stretches(wish);
    let found =
        if asked.is_empty() { Vec::new() } else { at(tx, (conversation, state), &asked, wish, now).await? };
    log.page(wish, |stretch, take| {
        for entry in found.iter().filter(|(offset, _)| (stretch.from..=stretch.to).contains(offset)) {
            if !take(entry.1.clone()) {
                break;
            }
        }
        Ok(())
    })
}

/// What is at these offsets: cached, or in the store.
async fn at(
    tx: &Tx,
    (conversation, state): (ConversationId, State),
    asked: &[Stretch],
    wish: Wish,
    now: u64,
) -> Result<Vec<(u64, Entry)>, Failed> {
    let Some(cache) = tx.cache() else { return rows(tx, conversation, asked, wish, now).await };
    if let Some(found) = recent::cached(cache, conversation, state, asked, now).await {
        return Ok(found);
    }
    let began = Instant::now();
    let found = rows(tx, conversation, asked, wish, now).await?;
    recent::keep(cache, conversation, state, began, &found);
    Ok(found)
}

/// What is gone has no body; what comes after a page's bytes in the reader's direction is left out. `OFFSET 0` keeps the one
/// plan for all from reading a whole log and leaving out what is not asked for.
const UP: &str = "SELECT log_offset, gone, generation, kind, sender_id, device_id, created_at, relates_to, expires_at,
    publish_key, members_version, body
  FROM (SELECT m.*, sum(CASE WHEN gone IS NULL AND (expires_at IS NULL OR expires_at > $4) THEN octet_length(body)
          ELSE 0 END) OVER (ORDER BY log_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM unnest($2::bigint[], $3::bigint[]) s (first, last) CROSS JOIN LATERAL
          (SELECT * FROM messages WHERE conversation_id = $1 AND log_offset BETWEEN s.first AND s.last OFFSET 0) m) w
  WHERE coalesce(bytes_before, 0) < $5 ORDER BY log_offset";
const DOWN: &str = "SELECT log_offset, gone, generation, kind, sender_id, device_id, created_at, relates_to, expires_at,
    publish_key, members_version, body
  FROM (SELECT m.*, sum(CASE WHEN gone IS NULL AND (expires_at IS NULL OR expires_at > $4) THEN octet_length(body)
          ELSE 0 END) OVER (ORDER BY log_offset DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM unnest($2::bigint[], $3::bigint[]) s (first, last) CROSS JOIN LATERAL
          (SELECT * FROM messages WHERE conversation_id = $1 AND log_offset BETWEEN s.first AND s.last OFFSET 0) m) w
  WHERE coalesce(bytes_before, 0) < $5 ORDER BY log_offset";

async fn rows(
    tx: &Tx,
    conversation: ConversationId,
    asked: &[Stretch],
    wish: Wish,
    now: u64,
) -> Result<Vec<(u64, Entry)>, Failed> {
    let (first, last): (Vec<i64>, Vec<i64>) = asked.iter().map(|s| (int(s.from), int(s.to))).unzip();
    let most = i64::try_from(PAGE_BYTES_MAX).unwrap_or(i64::MAX);
    let find = if wish.backwards { DOWN } else { UP };
    let found = tx.query(find, &[&Id(conversation.0), &first, &last, &At(now), &most]).await?;
    found.iter().map(|row| Ok((uint(row, 0)?, entry(row, conversation, now)?))).collect()
}

fn entry(row: &Row, conversation: ConversationId, now: u64) -> Result<Entry, Failed> {
    let offset = Offset(uint(row, 0)?);
    let expires_at = time_opt(row, 8)?;
    let reason = match row.try_get::<_, Option<i16>>(1)? {
        Some(number) => Some(gone(i64::from(number))),
        None => expires_at.filter(|at| *at <= now).map(|_| GoneReason::Expired),
    };
    if let Some(reason) = reason {
        return Ok(Entry::Gone { from: offset, to: offset, reason });
    }
    let number = |column| Ok::<_, Failed>(u32::try_from(uint(row, column)?).unwrap_or(0));
    Ok(Entry::Message(Message {
        conversation,
        offset,
        generation: Generation(number(2)?),
        kind: number(3)?,
        sender: id(row, 4)?,
        device: id(row, 5)?,
        at: time(row, 6)?,
        relates_to: uint_opt(row, 7)?.map(Offset),
        expires_at,
        publish_key: id(row, 9)?,
        members_version: uint(row, 10)?,
        body: Bytes::from(row.try_get::<_, Vec<u8>>(11)?),
    }))
}
