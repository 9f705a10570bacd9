//! Conversations as a member sees them: the list by recency, one in detail, its members.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::{ConversationId, Offset, UserId};

use super::invitation;
use super::membership::must_be_member;
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::rows::conversation::{
    ConversationDetail, ConversationKind, ConversationSummary, HistoryPolicy, Member, Request,
};
use crate::sqlite::recover::newest;
use crate::sqlite::value::{id, id_opt, int, role, uint, uint_opt};

const COLUMNS: &str =
    "c.id, c.kind = 'DIRECT', c.name, c.direct_pair, m.role, c.member_count, c.next_offset - 1,
    coalesce(k.log_offset, 0), m.joined_offset, c.last_at, c.created_at, c.history = 'all', c.ttl, c.epoch,
    c.members_version, m.muted_until,
    (SELECT min(f.joined_offset) FROM conversation_members f
     WHERE f.conversation_id = c.id AND f.user_id = m.user_id), c.requested_by
  FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
  LEFT JOIN cursors k ON k.user_id = m.user_id AND k.conversation_id = c.id";

pub fn list(
    tx: &Transaction<'_>,
    user: UserId,
    before: Option<(u64, ConversationId)>,
    limit: u32,
    now: u64,
) -> Answer<Vec<ConversationSummary>> {
    let (last_at, before) = before.unwrap_or((u64::MAX, ConversationId([0xff; 16])));
    let mut find = tx.prepare_cached(&format!(
        "SELECT {COLUMNS} WHERE m.user_id = ?1 AND m.left_offset IS NULL AND (c.last_at, c.id) < (?2, ?3)
           AND (c.request_hidden = 0 OR c.requested_by = m.user_id)
         ORDER BY c.last_at DESC, c.id DESC LIMIT ?4"
    ))?;
    let found =
        find.query_map(params![user.0, int(last_at), before.0, page(limit)], |row| detail(row, user))?;
    let details = found.collect::<rusqlite::Result<Vec<_>>>()?;
    details.into_iter().map(|d| Ok(complete(tx, d, now)?.summary)).collect()
}

pub fn one(
    tx: &Transaction<'_>,
    user: UserId,
    conversation: ConversationId,
    now: u64,
) -> Answer<ConversationDetail> {
    let found = tx
        .prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE m.user_id = ?1 AND m.conversation_id = ?2 AND m.left_offset IS NULL"
        ))?
        .query_row(params![user.0, conversation.0], |row| detail(row, user))
        .optional()?
        .ok_or(AccountError::NotFound)?;
    let mut detail = complete(tx, found, now)?;
    if detail.summary.leads_group() {
        detail.invited = invitation::invited(tx, conversation)?;
    }
    Ok(detail)
}

pub fn members(
    tx: &Transaction<'_>,
    user: UserId,
    conversation: ConversationId,
    after: Option<UserId>,
    limit: u32,
) -> Answer<Vec<Member>> {
    must_be_member(tx, conversation, user)?;
    let mut find = tx.prepare_cached(
        "SELECT m.user_id, u.name, m.role, m.joined_at, m.muted_until
         FROM conversation_members m JOIN users u ON u.id = m.user_id
         WHERE m.conversation_id = ?1 AND m.left_offset IS NULL AND m.user_id > ?2 ORDER BY m.user_id LIMIT ?3",
    )?;
    let found = find.query_map(params![conversation.0, after.unwrap_or_default().0, page(limit)], |row| {
        Ok(Member {
            user: id(row, 0)?,
            name: row.get(1)?,
            role: role(row, 2)?,
            joined_at: uint(row, 3)?,
            muted_until: uint_opt(row, 4)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// The row, and where the present stay began.
fn detail(row: &Row<'_>, user: UserId) -> rusqlite::Result<(ConversationDetail, Offset)> {
    let pair: Option<[u8; 32]> = row.get(3)?;
    let (head, cursor, joined) = (uint(row, 6)?, uint(row, 7)?, uint(row, 8)?);
    let summary = ConversationSummary {
        id: id(row, 0)?,
        kind: if row.get(1)? { ConversationKind::Direct } else { ConversationKind::Group },
        name: row.get(2)?,
        peer: pair.map(|pair| (other_half(&pair, user), String::new())),
        request: id_opt(row, 17)?.map(|by| Request::of(user, by)),
        role: role(row, 4)?,
        member_count: row.get(5)?,
        head: Offset(head),
        cursor: Offset(cursor),
        unread: head.saturating_sub(cursor.max(joined.saturating_sub(1))),
        last_at: uint(row, 9)?,
        last: None,
    };
    let detail = ConversationDetail {
        summary,
        created_at: uint(row, 10)?,
        history: if row.get(11)? { HistoryPolicy::All } else { HistoryPolicy::SinceJoin },
        ttl: row.get(12)?,
        epoch: uint(row, 13)?,
        members_version: uint(row, 14)?,
        muted_until: uint_opt(row, 15)?,
        first: Offset(uint(row, 16)?),
        invited: Vec::new(),
    };
    Ok((detail, Offset(joined)))
}

fn other_half(pair: &[u8; 32], user: UserId) -> UserId {
    let (low, high) = pair.split_at(16);
    let peer = if low == user.0 { high } else { low };
    UserId::from_slice(peer).expect("half of 32 bytes")
}

/// The peer's name and the newest message the member may read.
fn complete(
    tx: &Transaction<'_>,
    (mut detail, joined): (ConversationDetail, Offset),
    now: u64,
) -> Answer<ConversationDetail> {
    let summary = &mut detail.summary;
    if let Some((peer, name)) = &mut summary.peer {
        *name = tx
            .prepare_cached("SELECT name FROM users WHERE id = ?1")?
            .query_row([peer.0], |row| row.get(0))
            .optional()?
            .unwrap_or_default();
    }
    if summary.head.0 >= joined.0 {
        summary.last = newest(tx, summary.id, summary.head.0, now)?;
    }
    Ok(detail)
}
