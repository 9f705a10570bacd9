//! Pages of a log: dense, in either direction, with stretches for what is gone or was never the reader's to read.

use bytes::Bytes;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::record::{Entry, Message, Page};
use schema_wire::v1::GoneReason;
use schema_wire::{ConversationId, Generation, Offset, UserId};

use super::generation::current;
use super::value::{gone, id, int, small, uint, uint_opt};

/// Most offsets one page covers with messages.
const PAGE_OFFSETS_MAX: u32 = 200;
/// Bodies of one page end after this many bytes (the entry that crosses it is still in).
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// A stretch of offsets, both ends included.
#[derive(Clone, Copy)]
struct Stretch {
    from: u64,
    to: u64,
}

/// What a page is made from.
struct Log {
    conversation: ConversationId,
    next_offset: u64,
    members_version: u64,
    now: u64,
}

/// What a user may read, from `from` on (0 backwards: from the newest).
pub fn recover(
    tx: &Transaction<'_>,
    (user, conversation): (UserId, ConversationId),
    (from, limit, backwards): (Offset, u32, bool),
    now: u64,
) -> rusqlite::Result<Page> {
    let Some(log) = log(tx, conversation, now)? else { return empty(tx) };
    let (readable, left) = intervals(tx, user, &log)?;
    let Some(left) = left else { return empty(tx) };
    let head = if left { readable.last().map_or(0, |s| s.to) } else { log.next_offset - 1 };
    if backwards {
        let from = if from.0 == 0 { head } else { from.0.min(head) };
        Pager::new(tx, &log, &readable, head, limit)?.down(from)
    } else {
        Pager::new(tx, &log, &readable, head, limit)?.up(from.0.max(1))
    }
}

/// Entries as they are, for a home shard.
pub fn read(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    from: Offset,
    limit: u32,
    now: u64,
) -> rusqlite::Result<Page> {
    let Some(log) = log(tx, conversation, now)? else { return empty(tx) };
    let head = log.next_offset - 1;
    let all = [Stretch { from: 1, to: head }];
    Pager::new(tx, &log, &all, head, limit)?.up(from.0.max(1))
}

/// One message, unless it is gone.
pub fn newest(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    offset: u64,
    now: u64,
) -> rusqlite::Result<Option<Message>> {
    let mut found = None;
    rows(tx, conversation, Stretch { from: offset, to: offset }, now, |entry| {
        if let Entry::Message(message) = entry {
            found = Some(message);
        }
        true
    })?;
    Ok(found)
}

fn empty(tx: &Transaction<'_>) -> rusqlite::Result<Page> {
    let (entries, head, next) = (Vec::new(), Offset(0), Offset(0));
    Ok(Page { generation: current(tx)?, entries, head, next, members_version: 0, readable: false })
}

fn log(tx: &Transaction<'_>, conversation: ConversationId, now: u64) -> rusqlite::Result<Option<Log>> {
    tx.prepare_cached("SELECT next_offset, members_version FROM conversations WHERE id = ?1")?
        .query_row([conversation.0], |row| {
            Ok(Log { conversation, next_offset: uint(row, 0)?, members_version: uint(row, 1)?, now })
        })
        .optional()
}

/// Stretches the user may read, rising and apart, and whether they left (`None`: never were a member).
fn intervals(
    tx: &Transaction<'_>,
    user: UserId,
    log: &Log,
) -> rusqlite::Result<(Vec<Stretch>, Option<bool>)> {
    let mut find = tx.prepare_cached(
        "SELECT joined_offset, left_offset FROM conversation_members
         WHERE conversation_id = ?1 AND user_id = ?2 ORDER BY joined_offset, joined_version",
    )?;
    let mut found = find.query(params![log.conversation.0, user.0])?;
    let (mut stretches, mut left): (Vec<Stretch>, _) = (Vec::new(), None);
    while let Some(row) = found.next()? {
        let (from, end) = (uint(row, 0)?, uint_opt(row, 1)?);
        left = Some(left.unwrap_or(true) && end.is_some());
        let to = end.unwrap_or(log.next_offset - 1);
        match stretches.last_mut() {
            Some(last) if from <= last.to + 1 => last.to = last.to.max(to),
            _ if from <= to => stretches.push(Stretch { from, to }),
            _ => {}
        }
    }
    Ok((stretches, left))
}

/// Fills one page.
struct Pager<'a> {
    tx: &'a Transaction<'a>,
    log: &'a Log,
    readable: &'a [Stretch],
    page: Page,
    offsets_left: u64,
    bytes_left: usize,
}

impl<'a> Pager<'a> {
    fn new(
        tx: &'a Transaction<'a>,
        log: &'a Log,
        readable: &'a [Stretch],
        head: u64,
        limit: u32,
    ) -> rusqlite::Result<Self> {
        let page = Page {
            generation: current(tx)?,
            entries: Vec::new(),
            head: Offset(head),
            next: Offset(0),
            members_version: log.members_version,
            readable: true,
        };
        let offsets_left = u64::from(limit.clamp(1, PAGE_OFFSETS_MAX));
        Ok(Self { tx, log, readable, page, offsets_left, bytes_left: PAGE_BYTES_MAX })
    }

    fn up(mut self, from: u64) -> rusqlite::Result<Page> {
        let (head, mut at) = (self.page.head.0, from);
        while at <= head && self.offsets_left > 0 && self.bytes_left > 0 {
            match self.readable.iter().find(|s| s.to >= at) {
                Some(s) if s.from <= at => {
                    let to = s.to.min(at.saturating_add(self.offsets_left - 1)).min(head);
                    at = self.fill_up(Stretch { from: at, to })?;
                }
                beyond => {
                    let to = beyond.map_or(head, |s| s.from - 1).min(head);
                    self.push_gone(at, to, GoneReason::NotMember);
                    at = to + 1;
                }
            }
        }
        self.page.next = Offset(at);
        Ok(self.page)
    }

    fn down(mut self, from: u64) -> rusqlite::Result<Page> {
        let mut at = from;
        while at >= 1 && self.offsets_left > 0 && self.bytes_left > 0 {
            match self.readable.iter().rev().find(|s| s.from <= at) {
                Some(s) if s.to >= at => {
                    let from = s.from.max(at.saturating_sub(self.offsets_left - 1));
                    at = self.fill_down(Stretch { from, to: at })?;
                }
                below => {
                    let from = below.map_or(1, |s| s.to + 1);
                    self.push_gone(from, at, GoneReason::NotMember);
                    at = from - 1;
                }
            }
        }
        self.page.next = Offset(at);
        Ok(self.page)
    }

    /// Covers a readable stretch from its beginning; returns the first offset not covered.
    fn fill_up(&mut self, stretch: Stretch) -> rusqlite::Result<u64> {
        let mut at = stretch.from;
        let (tx, log) = (self.tx, self.log);
        rows(tx, log.conversation, stretch, log.now, |entry| {
            let (from, to) = ends(&entry);
            // Rows that were pruned: their lifetime had run out.
            if from > at {
                self.push_gone(at, from - 1, GoneReason::Expired);
            }
            at = to + 1;
            self.push(entry);
            self.bytes_left > 0
        })?;
        if self.bytes_left > 0 && at <= stretch.to {
            self.push_gone(at, stretch.to, GoneReason::Expired);
            at = stretch.to + 1;
        }
        self.offsets_left = self.offsets_left.saturating_sub(at - stretch.from);
        Ok(at)
    }

    /// Covers a readable stretch from its end; returns the last offset not covered.
    fn fill_down(&mut self, stretch: Stretch) -> rusqlite::Result<u64> {
        let mut entries = Vec::new();
        let (tx, log) = (self.tx, self.log);
        rows(tx, log.conversation, stretch, log.now, |entry| {
            entries.push(entry);
            true
        })?;
        let mut at = stretch.to;
        for entry in entries.into_iter().rev() {
            let (from, to) = ends(&entry);
            if to < at {
                self.push_gone(to + 1, at, GoneReason::Expired);
            }
            at = from - 1;
            self.push(entry);
            if self.bytes_left == 0 {
                break;
            }
        }
        if self.bytes_left > 0 && at >= stretch.from {
            self.push_gone(stretch.from, at, GoneReason::Expired);
            at = stretch.from - 1;
        }
        self.offsets_left = self.offsets_left.saturating_sub(stretch.to - at);
        Ok(at)
    }

    fn push(&mut self, entry: Entry) {
        match entry {
            Entry::Gone { from, to, reason } => self.push_gone(from.0, to.0, reason),
            Entry::Message(message) => {
                self.bytes_left = self.bytes_left.saturating_sub(message.body.len());
                self.page.entries.push(Entry::Message(message));
            }
        }
    }

    fn push_gone(&mut self, from: u64, to: u64, reason: GoneReason) {
        if let Some(Entry::Gone { from: f, to: t, reason: r }) = self.page.entries.last_mut()
            && *r == reason
            && (t.0 + 1 == from || to + 1 == f.0)
        {
            (f.0, t.0) = (f.0.min(from), t.0.max(to));
            return;
        }
        self.page.entries.push(Entry::Gone { from: Offset(from), to: Offset(to), reason });
    }
}

fn ends(entry: &Entry) -> (u64, u64) {
    match entry {
        Entry::Message(m) => (m.offset.0, m.offset.0),
        Entry::Gone { from, to, .. } => (from.0, to.0),
    }
}

/// Rows of a stretch, rising, until `take` has enough.
fn rows(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    stretch: Stretch,
    now: u64,
    mut take: impl FnMut(Entry) -> bool,
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
