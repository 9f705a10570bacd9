//! What a user is: to the relay as a whole (attach), to a conversation (standing, members), to other users.

use std::net::IpAddr;

use futures_util::future::{try_join3, try_join4};
use schema_wire::record::{Attachment, MemberChange, MembersDelta, Standing, UserStatus};
use schema_wire::{ConversationId, DeviceId, Generation, Network, Offset, Position, UserId};
use tokio_postgres::Row;

use super::fault::Failed;
use super::generation::{current, cut_after};
use super::transaction::Tx;
use super::value::{At, Id, id, role, small, status, time_opt, uint, uint_opt};
use crate::stored::{address_text, int};

/// Most banned blocks that are known at accept; of more, the newest.
const BANNED_MAX: i64 = 100_000;
/// Most changes, and most pairs kept apart, one answer carries.
const MEMBER_CHANGES_MAX: usize = 4096;

/// Whether a device may attach.
pub async fn attach(
    tx: &Tx,
    user: UserId,
    device: DeviceId,
    address: Option<IpAddr>,
    now: u64,
) -> Result<Attachment, Failed> {
    let address = address.map(address_text);
    let (generation, banned, found) = try_join3(
        current(tx),
        tx.query_one(
            "SELECT EXISTS (SELECT 1 FROM banned_ips WHERE ip_address >>= $1::text::inet
               AND (expires_at IS NULL OR expires_at > $2))",
            &[&address, &At(now)],
        ),
        tx.query_opt(
            "SELECT u.status, u.suspended_until, u.tokens_not_before, u.event_head, d.tokens_not_before
             FROM users u LEFT JOIN devices d ON d.id = $2 AND d.user_id = u.id AND d.revoked_at IS NULL
             WHERE u.id = $1",
            &[&Id(user.0), &Id(device.0)],
        ),
    )
    .await?;
    let address_banned = banned.try_get(0)?;
    let Some(row) = found else {
        return Ok(Attachment {
            status: UserStatus::Deleted,
            device_active: false,
            address_banned,
            tokens_not_before: 0,
            generation,
            user_head: Offset(0),
        });
    };
    let device_floor = uint_opt(&row, 4)?;
    Ok(Attachment {
        status: status(&row, 0, now)?,
        device_active: device_floor.is_some(),
        address_banned,
        tokens_not_before: uint(&row, 2)?.max(device_floor.unwrap_or(0)),
        generation,
        user_head: Offset(uint(&row, 3)?),
    })
}

/// What is banned at present; what nobody can read bans nobody.
pub async fn banned(tx: &Tx, now: u64) -> Result<Vec<Network>, Failed> {
    let find = "SELECT abbrev(ip_address) FROM banned_ips WHERE expires_at IS NULL OR expires_at > $1
        ORDER BY id DESC LIMIT $2";
    let rows = tx.query(find, &[&At(now), &BANNED_MAX]).await?;
    let mut banned = Vec::with_capacity(rows.len());
    for row in rows {
        banned.extend(Network::parse(row.try_get(0)?));
    }
    Ok(banned)
}

/// What a user is to a conversation; `None` when they never were a member or there is no such conversation.
pub async fn standing(
    tx: &Tx,
    user: UserId,
    conversation: ConversationId,
    after: Option<Position>,
) -> Result<Option<Standing>, Failed> {
    let cut = async {
        match after {
            Some(after) => cut_after(tx, conversation, after.generation).await,
            None => Ok(None),
        }
    };
    let find = "SELECT c.next_offset, c.members_version, c.member_count, c.epoch, m.role, m.left_offset, m.muted_until,
          (SELECT min(joined_offset) FROM conversation_members f WHERE f.conversation_id = $1 AND f.user_id = $2),
          (SELECT log_offset FROM cursors k WHERE k.user_id = $2 AND k.conversation_id = $1),
          c.requested_by IS NOT NULL
        FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
        WHERE m.conversation_id = $1 AND m.user_id = $2 ORDER BY m.joined_version DESC LIMIT 1";
    let (generation, found, cut, apart) = try_join4(
        current(tx),
        tx.query_opt(find, &[&Id(conversation.0), &Id(user.0)]),
        cut,
        apart(tx, user, conversation),
    )
    .await?;
    let Some(row) = found else { return Ok(None) };
    let mut standing = Standing { apart, ..stands(&row, generation)? };
    let cut = cut.unwrap_or(u64::MAX).min(standing.head.0);
    standing.rewound = after.filter(|after| after.offset.0 > cut).map(|_| Offset(cut));
    Ok(Some(standing))
}

/// Members, former ones too, with a block between them and the user.
async fn apart(tx: &Tx, user: UserId, conversation: ConversationId) -> Result<Vec<UserId>, Failed> {
    let find = "SELECT DISTINCT m.user_id FROM (
          SELECT blocked_id AS user_id FROM blocks WHERE user_id = $2
          UNION SELECT user_id FROM blocks WHERE blocked_id = $2) b
        JOIN conversation_members m ON m.conversation_id = $1 AND m.user_id = b.user_id ORDER BY 1";
    tx.query(find, &[&Id(conversation.0), &Id(user.0)]).await?.iter().map(|row| id(row, 0)).collect()
}

fn stands(row: &Row, generation: Generation) -> Result<Standing, Failed> {
    let last = uint_opt(row, 5)?.map(Offset);
    Ok(Standing {
        generation,
        head: Offset(uint(row, 0)?.saturating_sub(1)),
        members_version: uint(row, 1)?,
        member_count: small(row, 2)?,
        epoch: uint(row, 3)?,
        role: if last.is_none() { Some(role(row, 4)?) } else { None },
        last,
        muted_until: time_opt(row, 6)?,
        first: Offset(uint(row, 7)?),
        cursor: Offset(uint_opt(row, 8)?.unwrap_or(0)),
        rewound: None,
        waiting: row.try_get(9)?,
        apart: Vec::new(),
    })
}

/// Newest interval of everybody whose membership changed after `since`, and who of them is kept apart from whom.
pub async fn members(tx: &Tx, conversation: ConversationId, since: u64) -> Result<MembersDelta, Failed> {
    let conversation = Id(conversation.0);
    let find =
        "SELECT members_version, member_count, requested_by IS NOT NULL FROM conversations WHERE id = $1";
    let Some(row) = tx.query_opt(find, &[&conversation]).await? else { return Ok(MembersDelta::default()) };
    let (version, member_count, waiting) = (uint(&row, 0)?, small(&row, 1)?, row.try_get(2)?);
    let rows = tx
        .query(
            "SELECT DISTINCT ON (user_id) user_id, joined_offset, left_offset, role FROM conversation_members
             WHERE conversation_id = $1 AND user_id IN
               (SELECT user_id FROM conversation_members WHERE conversation_id = $1 AND members_version > $2)
             ORDER BY user_id, joined_version DESC LIMIT $3",
            &[&conversation, &int(since), &(MEMBER_CHANGES_MAX as i64 + 1)],
        )
        .await?;
    let pairs = apart_since(tx, conversation, since).await?;
    let overflow = rows.len().max(pairs.len()) > MEMBER_CHANGES_MAX;
    let changes = rows.iter().filter(|_| !overflow).map(|row| {
        Ok(MemberChange {
            user: id(row, 0)?,
            joined: Offset(uint(row, 1)?),
            left: uint_opt(row, 2)?.map(Offset),
            role: role(row, 3)?,
        })
    });
    let changes = changes.collect::<Result<_, Failed>>()?;
    let apart = if overflow { Vec::new() } else { pairs };
    Ok(MembersDelta { version, member_count, changes, waiting, apart, overflow })
}

/// Members, former ones too, with a block between them, the membership of one of whom changed after `since`.
async fn apart_since(tx: &Tx, conversation: Id, since: u64) -> Result<Vec<(UserId, UserId)>, Failed> {
    let find = "WITH came AS (SELECT user_id FROM conversation_members
          WHERE conversation_id = $1 AND members_version > $2)
        SELECT b.user_id, b.blocked_id FROM came JOIN blocks b ON b.user_id = came.user_id
          JOIN conversation_members m ON m.conversation_id = $1 AND m.user_id = b.blocked_id
        UNION SELECT b.user_id, b.blocked_id FROM came JOIN blocks b ON b.blocked_id = came.user_id
          JOIN conversation_members m ON m.conversation_id = $1 AND m.user_id = b.user_id
        ORDER BY 1, 2 LIMIT $3";
    let limit = MEMBER_CHANGES_MAX as i64 + 1;
    let rows = tx.query(find, &[&conversation, &int(since), &limit]).await?;
    rows.iter().map(|row| Ok((id(row, 0)?, id(row, 1)?))).collect()
}

/// Newest offsets, 0 for unknown conversations.
pub async fn heads(tx: &Tx, conversations: &[ConversationId]) -> Result<Vec<Offset>, Failed> {
    let asked: Vec<_> = conversations.iter().map(|c| Id(c.0)).collect();
    let find = "SELECT coalesce(c.next_offset - 1, 0) FROM unnest($1::uuid[]) WITH ORDINALITY a (id, n)
        LEFT JOIN conversations c ON c.id = a.id ORDER BY a.n";
    tx.query(find, &[&asked]).await?.iter().map(|row| Ok(Offset(uint(row, 0)?))).collect()
}

/// Whether two users are in some conversation together now.
pub async fn acquainted(tx: &Tx, user: UserId, other: UserId) -> Result<bool, Failed> {
    let find = "SELECT EXISTS (SELECT 1 FROM conversation_members a JOIN conversation_members b
          ON b.conversation_id = a.conversation_id AND b.user_id = $2 AND b.left_offset IS NULL
        WHERE a.user_id = $1 AND a.left_offset IS NULL)";
    Ok(tx.query_one(find, &[&Id(user.0), &Id(other.0)]).await?.try_get(0)?)
}

/// Those of `others` who share a conversation with `user` that both agreed to, with no block between the two.
pub async fn acquaintances(tx: &Tx, user: UserId, others: &[UserId]) -> Result<Vec<UserId>, Failed> {
    let others: Vec<_> = others.iter().map(|user| Id(user.0)).collect();
    let find = "SELECT o.id FROM unnest($2::uuid[]) WITH ORDINALITY o (id, n)
        WHERE EXISTS (SELECT 1 FROM conversation_members a
            JOIN conversations c ON c.id = a.conversation_id AND c.requested_by IS NULL
            JOIN conversation_members b
              ON b.conversation_id = a.conversation_id AND b.user_id = o.id AND b.left_offset IS NULL
          WHERE a.user_id = $1 AND a.left_offset IS NULL)
        AND NOT EXISTS (SELECT 1 FROM blocks WHERE user_id = $1 AND blocked_id = o.id)
        AND NOT EXISTS (SELECT 1 FROM blocks WHERE user_id = o.id AND blocked_id = $1) ORDER BY o.n";
    tx.query(find, &[&Id(user.0), &others]).await?.iter().map(|row| id(row, 0)).collect()
}
