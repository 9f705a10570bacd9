//! What a user is: to the relay as a whole (attach), to a conversation (standing, members), to other users.

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::record::{Attachment, MemberChange, MembersDelta, Standing, UserStatus};
use schema_wire::{ConversationId, DeviceId, Network, Offset, Position, UserId};

use super::generation::{current, cut_after};
use super::value::{address_text, id, int, role, status, uint, uint_opt};

/// Most banned blocks that are known at accept; of more, the newest.
const BANNED_MAX: u32 = 100_000;
/// Most changes, and most pairs kept apart, one answer carries.
const MEMBER_CHANGES_MAX: usize = 4096;

/// Whether a device may attach.
pub fn attach(
    tx: &Transaction<'_>,
    user: UserId,
    device: DeviceId,
    address: Option<IpAddr>,
    now: u64,
) -> rusqlite::Result<Attachment> {
    let address_banned = match address {
        Some(address) => is_banned(tx, address, now)?,
        None => false,
    };
    let generation = current(tx)?;
    let mut find = tx.prepare_cached(
        "SELECT u.status, u.suspended_until, u.tokens_not_before, u.event_head, d.tokens_not_before
         FROM users u LEFT JOIN devices d ON d.id = ?2 AND d.user_id = u.id AND d.revoked_at IS NULL
         WHERE u.id = ?1",
    )?;
    let found = find.query_row(params![user.0, device.0], |row| {
        let device_floor = uint_opt(row, 4)?;
        Ok(Attachment {
            status: status(row, 0, now)?,
            device_active: device_floor.is_some(),
            address_banned,
            tokens_not_before: uint(row, 2)?.max(device_floor.unwrap_or(0)),
            generation,
            user_head: Offset(uint(row, 3)?),
        })
    });
    Ok(found.optional()?.unwrap_or(Attachment {
        status: UserStatus::Deleted,
        device_active: false,
        address_banned,
        tokens_not_before: 0,
        generation,
        user_head: Offset(0),
    }))
}

fn is_banned(tx: &Transaction<'_>, address: IpAddr, now: u64) -> rusqlite::Result<bool> {
    let alone = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM banned_ips
             WHERE ip_address = ?1 AND (expires_at IS NULL OR expires_at > ?2))",
        )?
        .query_row(params![address_text(address), int(now)], |row| row.get(0))?;
    if alone {
        return Ok(true);
    }
    let mut blocks = tx.prepare_cached(
        "SELECT ip_address FROM banned_ips
         WHERE instr(ip_address, '/') > 0 AND (expires_at IS NULL OR expires_at > ?1)",
    )?;
    let mut rows = blocks.query([int(now)])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if Network::parse(&text).is_some_and(|network| network.contains(address)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is banned at present; what nobody can read bans nobody.
pub fn banned(tx: &Transaction<'_>, now: u64) -> rusqlite::Result<Vec<Network>> {
    let mut find = tx.prepare_cached(
        "SELECT ip_address FROM banned_ips WHERE expires_at IS NULL OR expires_at > ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = find.query_map(params![int(now), BANNED_MAX], |row| row.get::<_, String>(0))?;
    let texts = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(texts.iter().filter_map(|text| Network::parse(text)).collect())
}

/// What a user is to a conversation; `None` when they never were a member or there is no such conversation.
pub fn standing(
    tx: &Transaction<'_>,
    user: UserId,
    conversation: ConversationId,
    after: Option<Position>,
) -> rusqlite::Result<Option<Standing>> {
    let generation = current(tx)?;
    let mut find = tx.prepare_cached(
        "SELECT c.next_offset, c.members_version, c.member_count, c.epoch, m.role, m.left_offset, m.muted_until,
           (SELECT min(joined_offset) FROM conversation_members f WHERE f.conversation_id = ?1 AND f.user_id = ?2),
           (SELECT log_offset FROM cursors k WHERE k.user_id = ?2 AND k.conversation_id = ?1),
           c.requested_by IS NOT NULL
         FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
         WHERE m.conversation_id = ?1 AND m.user_id = ?2 ORDER BY m.joined_version DESC LIMIT 1",
    )?;
    let found = find.query_row(params![conversation.0, user.0], |row| {
        let last = uint_opt(row, 5)?.map(Offset);
        Ok(Standing {
            generation,
            head: Offset(uint(row, 0)?.saturating_sub(1)),
            members_version: uint(row, 1)?,
            member_count: row.get(2)?,
            epoch: uint(row, 3)?,
            role: if last.is_none() { Some(role(row, 4)?) } else { None },
            last,
            muted_until: uint_opt(row, 6)?,
            first: Offset(uint(row, 7)?),
            cursor: Offset(uint_opt(row, 8)?.unwrap_or(0)),
            rewound: None,
            waiting: row.get(9)?,
            apart: Vec::new(),
        })
    });
    let Some(mut standing) = found.optional()? else { return Ok(None) };
    standing.apart = apart(tx, user, conversation)?;
    if let Some(after) = after {
        let cut = cut_after(tx, conversation, after.generation)?.unwrap_or(u64::MAX).min(standing.head.0);
        standing.rewound = (after.offset.0 > cut).then_some(Offset(cut));
    }
    Ok(Some(standing))
}

/// Members, former ones too, with a block between them and the user.
fn apart(tx: &Transaction<'_>, user: UserId, conversation: ConversationId) -> rusqlite::Result<Vec<UserId>> {
    let mut find = tx.prepare_cached(
        "SELECT DISTINCT user_id FROM conversation_members WHERE conversation_id = ?1 AND user_id IN
           (SELECT blocked_id FROM blocks WHERE user_id = ?2 UNION SELECT user_id FROM blocks WHERE blocked_id = ?2)
         ORDER BY user_id",
    )?;
    find.query_map(params![conversation.0, user.0], |row| id(row, 0))?.collect()
}

/// Newest interval of everybody whose membership changed after `since`, and who of them is kept apart from whom.
pub fn members(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    since: u64,
) -> rusqlite::Result<MembersDelta> {
    let found = tx
        .prepare_cached(
            "SELECT members_version, member_count, requested_by IS NOT NULL FROM conversations WHERE id = ?1",
        )?
        .query_row([conversation.0], |row| Ok((uint(row, 0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((version, member_count, waiting)) = found else { return Ok(MembersDelta::default()) };
    let mut find = tx.prepare_cached(
        "SELECT user_id, joined_offset, left_offset, role, max(joined_version) FROM conversation_members
         WHERE conversation_id = ?1 AND user_id IN
           (SELECT user_id FROM conversation_members WHERE conversation_id = ?1 AND members_version > ?2)
         GROUP BY user_id LIMIT ?3",
    )?;
    let limit = MEMBER_CHANGES_MAX as i64 + 1;
    let mut changes = find
        .query_map(params![conversation.0, int(since), limit], |row| {
            Ok(MemberChange {
                user: id(row, 0)?,
                joined: Offset(uint(row, 1)?),
                left: uint_opt(row, 2)?.map(Offset),
                role: role(row, 3)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut apart = apart_since(tx, conversation, since)?;
    let overflow = changes.len().max(apart.len()) > MEMBER_CHANGES_MAX;
    if overflow {
        changes.clear();
        apart.clear();
    }
    Ok(MembersDelta { version, member_count, changes, waiting, apart, overflow })
}

/// Members, former ones too, with a block between them, the membership of one of whom changed after `since`.
fn apart_since(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    since: u64,
) -> rusqlite::Result<Vec<(UserId, UserId)>> {
    let mut find = tx.prepare_cached(
        "WITH came AS (SELECT user_id FROM conversation_members
           WHERE conversation_id = ?1 AND members_version > ?2)
         SELECT b.user_id, b.blocked_id FROM came JOIN blocks b ON b.user_id = came.user_id
           JOIN conversation_members m ON m.conversation_id = ?1 AND m.user_id = b.blocked_id
         UNION SELECT b.user_id, b.blocked_id FROM came JOIN blocks b ON b.blocked_id = came.user_id
           JOIN conversation_members m ON m.conversation_id = ?1 AND m.user_id = b.user_id
         ORDER BY 1, 2 LIMIT ?3",
    )?;
    let limit = MEMBER_CHANGES_MAX as i64 + 1;
    find.query_map(params![conversation.0, int(since), limit], |row| Ok((id(row, 0)?, id(row, 1)?)))?
        .collect()
}

/// Newest offsets, 0 for unknown conversations.
pub fn heads(tx: &Transaction<'_>, conversations: &[ConversationId]) -> rusqlite::Result<Vec<Offset>> {
    let mut find = tx.prepare_cached("SELECT next_offset - 1 FROM conversations WHERE id = ?1")?;
    conversations
        .iter()
        .map(|c| Ok(Offset(find.query_row([c.0], |row| uint(row, 0)).optional()?.unwrap_or(0))))
        .collect()
}

/// Whether two users are in some conversation together now.
pub fn acquainted(tx: &Transaction<'_>, user: UserId, other: UserId) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM conversation_members a JOIN conversation_members b
           ON b.conversation_id = a.conversation_id AND b.user_id = ?2 AND b.left_offset IS NULL
         WHERE a.user_id = ?1 AND a.left_offset IS NULL)",
    )?
    .query_row(params![user.0, other.0], |row| row.get(0))
}

/// Whether two users are in some conversation together that both agreed to, with no block between them.
pub fn know_each_other(tx: &Transaction<'_>, user: UserId, other: UserId) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM conversation_members a
           JOIN conversations c ON c.id = a.conversation_id AND c.requested_by IS NULL
           JOIN conversation_members b
             ON b.conversation_id = a.conversation_id AND b.user_id = ?2 AND b.left_offset IS NULL
           WHERE a.user_id = ?1 AND a.left_offset IS NULL)
         AND NOT EXISTS (SELECT 1 FROM blocks WHERE user_id = ?1 AND blocked_id = ?2)
         AND NOT EXISTS (SELECT 1 FROM blocks WHERE user_id = ?2 AND blocked_id = ?1)",
    )?
    .query_row(params![user.0, other.0], |row| row.get(0))
}

/// Those of `others` who know `user`.
pub fn acquaintances(tx: &Transaction<'_>, user: UserId, others: &[UserId]) -> rusqlite::Result<Vec<UserId>> {
    let mut known = Vec::new();
    for other in others {
        if know_each_other(tx, user, *other)? {
            known.push(*other);
        }
    }
    Ok(known)
}
