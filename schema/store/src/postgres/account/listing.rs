//! Conversations as a member sees them: the list by recency, one in detail, its members.

use std::collections::BTreeMap;

use futures_util::future::join;
use schema_wire::record::Message;
use schema_wire::{ConversationId, Offset, UserId};
use tokio_postgres::Row;

use super::invitation;
use super::membership::must_be_member;
use super::read::id_opt;
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::postgres::cached::description::{self, Description};
use crate::postgres::cached::profile;
use crate::postgres::recover::newest;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, Param, id, role, small, time, time_opt, uint, uint_opt};
use crate::redis::Item;
use crate::rows::conversation::{
    ConversationDetail, ConversationKind, ConversationSummary, HistoryPolicy, Member, Request,
};

const COLUMNS: &str = "c.id, c.kind = 'DIRECT', c.name, c.direct_pair, m.role, c.member_count,
    c.next_offset - 1, coalesce(k.log_offset, 0), m.joined_offset, c.last_at, c.created_at, c.history = 'all', c.ttl,
    c.epoch, c.members_version, m.muted_until,
    (SELECT min(f.joined_offset) FROM conversation_members f
     WHERE f.conversation_id = c.id AND f.user_id = m.user_id), c.requested_by
  FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
  LEFT JOIN cursors k ON k.user_id = m.user_id AND k.conversation_id = c.id";

/// The same without what does not depend on who asks.
const OWN_COLUMNS: &str = "c.id, false, '', NULL::bytea, m.role, c.member_count,
    c.next_offset - 1, coalesce(k.log_offset, 0), m.joined_offset, c.last_at, c.last_at, false, NULL::bigint,
    c.epoch, c.members_version, m.muted_until,
    (SELECT min(f.joined_offset) FROM conversation_members f
     WHERE f.conversation_id = c.id AND f.user_id = m.user_id), c.requested_by
  FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
  LEFT JOIN cursors k ON k.user_id = m.user_id AND k.conversation_id = c.id";

/// A row, and where the present stay began.
struct Found {
    detail: ConversationDetail,
    joined: Offset,
}

pub async fn list(
    tx: &Tx,
    user: UserId,
    before: Option<(u64, ConversationId)>,
    limit: u32,
    now: u64,
) -> Answer<Vec<ConversationSummary>> {
    let (last_at, before) = before.unwrap_or((u64::MAX, ConversationId([0xff; 16])));
    let found = tx
        .query(
            &format!(
                "SELECT {COLUMNS} WHERE m.user_id = $1 AND m.left_offset IS NULL AND (c.last_at, c.id) < ($2, $3)
                   AND (NOT c.request_hidden OR c.requested_by = m.user_id)
                 ORDER BY c.last_at DESC, c.id DESC LIMIT $4"
            ),
            &[&Id(user.0), &At(last_at), &Id(before.0), &i64::from(page(limit))],
        )
        .await?;
    let details =
        complete(tx, found.iter().map(|row| detail(row, user)).collect::<Answer<_>>()?, now).await?;
    Ok(details.into_iter().map(|detail| detail.summary).collect())
}

pub async fn one(
    tx: &Tx,
    user: UserId,
    conversation: ConversationId,
    now: u64,
) -> Answer<ConversationDetail> {
    let columns = if tx.cache().is_some() { OWN_COLUMNS } else { COLUMNS };
    let find =
        format!("SELECT {columns} WHERE m.user_id = $1 AND m.conversation_id = $2 AND m.left_offset IS NULL");
    let ids: [&dyn Param; 2] = [&Id(user.0), &Id(conversation.0)];
    let (found, known) = join(tx.query_opt(&find, &ids), description::cached(tx, conversation)).await;
    let mut found = detail(&found?.ok_or(AccountError::NotFound)?, user)?;
    if tx.cache().is_some() {
        let known = match known {
            Some(known) => known,
            None => description::read(tx, conversation).await?.ok_or(AccountError::NotFound)?,
        };
        describe(&mut found.detail, known, user);
    }
    let mut detail = complete(tx, vec![found], now).await?.pop().ok_or(AccountError::NotFound)?;
    if detail.summary.leads_group() {
        detail.invited = invitation::invited(tx, conversation).await?;
    }
    Ok(detail)
}

/// What does not depend on who asks.
fn describe(detail: &mut ConversationDetail, known: Description, user: UserId) {
    detail.summary.peer = known.peer_of(user).map(|peer| (peer, String::new()));
    (detail.summary.kind, detail.summary.name) = (known.kind, known.name);
    (detail.created_at, detail.history, detail.ttl) = (known.created_at, known.history, known.ttl);
}

pub async fn members(
    tx: &Tx,
    user: UserId,
    conversation: ConversationId,
    after: Option<UserId>,
    limit: u32,
) -> Answer<Vec<Member>> {
    must_be_member(tx, conversation, user).await?;
    let found = tx
        .query(
            "SELECT m.user_id, u.name, m.role, m.joined_at, m.muted_until
             FROM conversation_members m JOIN users u ON u.id = m.user_id
             WHERE m.conversation_id = $1 AND m.left_offset IS NULL AND m.user_id > $2
             ORDER BY m.user_id LIMIT $3",
            &[&Id(conversation.0), &Id(after.unwrap_or_default().0), &i64::from(page(limit))],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Member {
            user: id(row, 0)?,
            name: row.try_get(1)?,
            role: role(row, 2)?,
            joined_at: time(row, 3)?,
            muted_until: time_opt(row, 4)?,
        })
    };
    found.iter().map(read).collect()
}

fn detail(row: &Row, user: UserId) -> Answer<Found> {
    let pair: Option<&[u8]> = row.try_get(3)?;
    let (head, cursor, joined) = (uint(row, 6)?, uint(row, 7)?, uint(row, 8)?);
    let summary = ConversationSummary {
        id: id(row, 0)?,
        kind: if row.try_get(1)? { ConversationKind::Direct } else { ConversationKind::Group },
        name: row.try_get(2)?,
        peer: pair.map(|pair| (other_half(pair, user), String::new())),
        request: id_opt(row, 17)?.map(|by| Request::of(user, by)),
        role: role(row, 4)?,
        member_count: small(row, 5)?,
        head: Offset(head),
        cursor: Offset(cursor),
        unread: head.saturating_sub(cursor.max(joined.saturating_sub(1))),
        last_at: time(row, 9)?,
        last: None,
    };
    let detail = ConversationDetail {
        summary,
        created_at: time(row, 10)?,
        history: if row.try_get(11)? { HistoryPolicy::All } else { HistoryPolicy::SinceJoin },
        ttl: uint_opt(row, 12)?.map(|ttl| u32::try_from(ttl).unwrap_or(u32::MAX)),
        epoch: uint(row, 13)?,
        members_version: uint(row, 14)?,
        muted_until: time_opt(row, 15)?,
        first: Offset(uint(row, 16)?),
        invited: Vec::new(),
    };
    Ok(Found { detail, joined: Offset(joined) })
}

fn other_half(pair: &[u8], user: UserId) -> UserId {
    let (low, high) = pair.split_at(pair.len().min(16));
    UserId::from_slice(if low == user.0 { high } else { low }).unwrap_or_default()
}

/// The peers' names and the newest messages the member may read, in one statement each, of one round trip.
async fn complete(tx: &Tx, found: Vec<Found>, now: u64) -> Answer<Vec<ConversationDetail>> {
    let heads: Vec<(ConversationId, Offset)> = found
        .iter()
        .map(|f| (f.detail.summary.id, f.detail.summary.head, f.joined))
        .filter(|(_, head, joined)| head >= joined)
        .map(|(conversation, head, _)| (conversation, head))
        .collect();
    let (names, messages) = join(names(tx, &found), newest(tx, &heads, now)).await;
    let mut names = names?;
    let mut messages: BTreeMap<ConversationId, Message> =
        messages?.into_iter().map(|message| (message.conversation, message)).collect();
    Ok(found
        .into_iter()
        .map(|Found { mut detail, .. }| {
            let summary = &mut detail.summary;
            if let Some((peer, name)) = &mut summary.peer {
                *name = names.remove(peer).unwrap_or_default();
            }
            summary.last = messages.remove(&summary.id);
            detail
        })
        .collect())
}

async fn names(tx: &Tx, found: &[Found]) -> Answer<BTreeMap<UserId, String>> {
    let peers: Vec<Id> =
        found.iter().filter_map(|f| f.detail.summary.peer.as_ref()).map(|(peer, _)| Id(peer.0)).collect();
    if peers.is_empty() {
        return Ok(BTreeMap::new());
    }
    if let ([Id(peer)], Some(cache)) = (&peers[..], tx.cache())
        && let Some(entry) = cache.get(Item::Profile(UserId(*peer))).await
        && let Some(name) = profile::name(UserId(*peer), &entry)
    {
        return Ok(BTreeMap::from([(UserId(*peer), name)]));
    }
    let rows = tx.query("SELECT id, name FROM users WHERE id = ANY ($1)", &[&peers]).await?;
    rows.iter().map(|row| Ok((id(row, 0)?, row.try_get(1)?))).collect()
}
