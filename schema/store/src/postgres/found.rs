//! What an append's transaction reads: conversations, locked in order of their ids so that no two nodes wait for each
//! other in a ring, then senders, memberships, blocks, publish keys and the targets of deletes.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join5;
use schema_wire::publication::kind;
use schema_wire::record::{Append, UserStatus};
use schema_wire::v1::Role;
use schema_wire::{ConversationId, Generation, Offset, PublishKey, UserId};
use tokio_postgres::Row;

use super::append::Patience;
use super::fault::Failed;
use super::transaction::{Begun, Prepared, Tx};
use super::value::{Id, id, role, status, time, time_opt, uint, uint_opt};
use crate::accept::request_messages;
use crate::accounts::REQUEST_MESSAGES;
use crate::stored::int;

/// What a batch names, each once.
pub struct Asked {
    conversations: Vec<Id>,
    /// Conversation and sender, by place.
    pairs: (Vec<Id>, Vec<Id>),
    /// Sender and publish key, by place.
    keys: (Vec<Id>, Vec<Id>),
    /// Conversation and offset of what deletes name, by place.
    targets: (Vec<Id>, Vec<i64>),
}

/// A conversation whose row this transaction holds.
#[derive(Clone, Copy)]
pub struct Place {
    pub next_offset: u64,
    pub last_at: u64,
    pub ttl: Option<u64>,
    pub epoch: u64,
    pub members_version: u64,
    /// Who opened a first contact that waits.
    pub requested_by: Option<UserId>,
}

/// A sender, and what they are to a conversation.
#[derive(Clone, Copy)]
pub struct Sender {
    /// `None`: there is no such account.
    pub status: Option<UserStatus>,
    pub last_active: u64,
    /// Whether there is such a conversation.
    pub there: bool,
    /// `None`: not a member.
    pub role: Option<Role>,
    pub muted_until: Option<u64>,
    pub blocked: bool,
    /// What operators set about first contacts, where it is one.
    pub first_messages: u64,
}

/// Where a publish key was used.
#[derive(Clone, Copy)]
pub struct Known {
    pub conversation: ConversationId,
    pub offset: Offset,
    pub at: u64,
}

/// A message that a delete names.
#[derive(Clone, Copy)]
pub struct Target {
    pub author: UserId,
    /// There, neither gone nor expired, and no delete itself.
    pub deletable: bool,
}

pub struct Found {
    pub generation: Generation,
    pub places: BTreeMap<ConversationId, Place>,
    pub senders: BTreeMap<(ConversationId, UserId), Sender>,
    pub keys: BTreeMap<(UserId, PublishKey), Known>,
    pub targets: BTreeMap<(ConversationId, u64), Target>,
}

impl Asked {
    /// Whether messages are to be emptied.
    pub fn deletes(&self) -> bool {
        !self.targets.0.is_empty()
    }

    pub fn of(batch: &[Append]) -> Self {
        let conversations: BTreeSet<_> = batch.iter().map(|a| Id(a.conversation.0)).collect();
        let pairs: BTreeSet<_> = batch.iter().map(|a| (Id(a.conversation.0), Id(a.sender.0))).collect();
        let keys: BTreeSet<_> = batch.iter().map(|a| (Id(a.sender.0), Id(a.publish_key.0))).collect();
        let deletes = batch.iter().filter(|a| a.kind == kind::DELETE);
        let targets: BTreeSet<_> =
            deletes.filter_map(|a| Some((Id(a.conversation.0), int(a.relates_to?.0)))).collect();
        Self {
            conversations: conversations.into_iter().collect(),
            pairs: pairs.into_iter().unzip(),
            keys: keys.into_iter().unzip(),
            targets: targets.into_iter().unzip(),
        }
    }
}

const LOCK: &str =
    "SELECT id, next_offset, last_at, ttl, epoch, members_version, requested_by FROM conversations
    WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
const LOCK_FREE: &str =
    "SELECT id, next_offset, last_at, ttl, epoch, members_version, requested_by FROM conversations
    WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";
/// The peer of a direct conversation is the other half of its pair. The generation may change until the locks are granted.
/// `OFFSET 0` here and below: each is looked up by its index, also by a plan that was made when the table was small.
const SENDERS: &str = "SELECT p.conversation, p.sender, u.status, u.suspended_until, u.last_active_at,
      c.id IS NOT NULL, m.role, m.muted_until,
      peer.id IS NOT NULL AND (
        EXISTS (SELECT 1 FROM blocks b WHERE b.user_id = peer.id AND b.blocked_id = p.sender)
        OR EXISTS (SELECT 1 FROM blocks b WHERE b.user_id = p.sender AND b.blocked_id = peer.id)),
      CASE WHEN c.requested_by = p.sender
        THEN (SELECT value FROM operator_settings WHERE name = $3) END,
      (SELECT max(generation) FROM store_generation)
    FROM unnest($1::uuid[], $2::uuid[]) p (conversation, sender)
    LEFT JOIN LATERAL (SELECT * FROM users WHERE id = p.sender OFFSET 0) u ON true
    LEFT JOIN LATERAL (SELECT * FROM conversations WHERE id = p.conversation OFFSET 0) c ON true
    LEFT JOIN LATERAL (SELECT encode(CASE WHEN substring(c.direct_pair FROM 1 FOR 16) = uuid_send(p.sender)
      THEN substring(c.direct_pair FROM 17) ELSE substring(c.direct_pair FROM 1 FOR 16) END, 'hex')::uuid AS id) peer
      ON true
    LEFT JOIN LATERAL (SELECT * FROM conversation_members
      WHERE conversation_id = p.conversation AND user_id = p.sender AND left_offset IS NULL OFFSET 0) m ON true";
const KEYS: &str = "SELECT k.sender_id, k.publish_key, k.conversation_id, k.log_offset, k.created_at
    FROM unnest($1::uuid[], $2::uuid[]) a (sender, key) CROSS JOIN LATERAL
      (SELECT * FROM publish_keys WHERE sender_id = a.sender AND publish_key = a.key OFFSET 0) k";
const TARGETS: &str = "SELECT m.conversation_id, m.log_offset, m.sender_id, m.gone, m.expires_at, m.kind
    FROM unnest($1::uuid[], $2::bigint[]) t (conversation, log_offset)
    JOIN messages m ON m.conversation_id = t.conversation AND m.log_offset = t.log_offset";

/// The statements, ready to be sent without waiting for each other.
pub struct Finding {
    lock: Prepared,
    senders: Prepared,
    keys: Prepared,
    targets: Prepared,
}

impl Finding {
    pub async fn prepare(tx: &Tx, asked: &Asked, patience: Patience) -> Result<Self, Failed> {
        let lock = match patience {
            Patience::Wait => LOCK,
            Patience::Skip => LOCK_FREE,
        };
        tx.ready().await?;
        Ok(Self {
            lock: tx.prepare(lock, &[&asked.conversations]).await?,
            senders: tx.prepare(SENDERS, &[&asked.pairs.0, &asked.pairs.1, &REQUEST_MESSAGES]).await?,
            keys: tx.prepare(KEYS, &[&asked.keys.0, &asked.keys.1]).await?,
            targets: tx.prepare(TARGETS, &[&asked.targets.0, &asked.targets.1]).await?,
        })
    }

    /// Begins the transaction and finds what there is, in one round trip: statements are sent in this order, and each
    /// sees what was committed before it ran, so what follows the lock is read after it was granted.
    pub async fn find(&self, tx: &Tx, asked: &Asked) -> Result<(Begun, Found), Failed> {
        let targets = async {
            match asked.deletes() {
                true => tx.run(&self.targets, &[&asked.targets.0, &asked.targets.1]).await,
                false => Ok(Vec::new()),
            }
        };
        let (begun, places, senders, keys, targets) = try_join5(
            tx.start(),
            tx.run(&self.lock, &[&asked.conversations]),
            tx.run(&self.senders, &[&asked.pairs.0, &asked.pairs.1, &REQUEST_MESSAGES]),
            tx.run(&self.keys, &[&asked.keys.0, &asked.keys.1]),
            targets,
        )
        .await?;
        let now = begun.now;
        let newest = senders.first().map(|row| uint(row, 10)).transpose()?.unwrap_or(0);
        let found = Found {
            generation: Generation(u32::try_from(newest).unwrap_or(u32::MAX)),
            places: places.iter().map(place).collect::<Result<_, _>>()?,
            senders: senders.iter().map(|row| sender(row, now)).collect::<Result<_, _>>()?,
            keys: keys.iter().map(known).collect::<Result<_, _>>()?,
            targets: targets.iter().map(|row| target(row, now)).collect::<Result<_, _>>()?,
        };
        Ok((begun, found))
    }
}

fn place(row: &Row) -> Result<(ConversationId, Place), Failed> {
    let place = Place {
        next_offset: uint(row, 1)?,
        last_at: time(row, 2)?,
        ttl: uint_opt(row, 3)?,
        epoch: uint(row, 4)?,
        members_version: uint(row, 5)?,
        requested_by: row.try_get::<_, Option<Id>>(6)?.map(|id| UserId(id.0)),
    };
    Ok((id(row, 0)?, place))
}

fn sender(row: &Row, now: u64) -> Result<((ConversationId, UserId), Sender), Failed> {
    let known: Option<&str> = row.try_get(2)?;
    let member: Option<i16> = row.try_get(6)?;
    let sender = Sender {
        status: known.map(|_| status(row, 2, now)).transpose()?,
        last_active: time_opt(row, 4)?.unwrap_or(0),
        there: row.try_get(5)?,
        role: member.map(|_| role(row, 6)).transpose()?,
        muted_until: time_opt(row, 7)?,
        blocked: row.try_get(8)?,
        first_messages: request_messages(row.try_get(9)?),
    };
    Ok(((id(row, 0)?, id(row, 1)?), sender))
}

fn known(row: &Row) -> Result<((UserId, PublishKey), Known), Failed> {
    let known = Known { conversation: id(row, 2)?, offset: Offset(uint(row, 3)?), at: time(row, 4)? };
    Ok(((id(row, 0)?, id(row, 1)?), known))
}

fn target(row: &Row, now: u64) -> Result<((ConversationId, u64), Target), Failed> {
    let gone: Option<i16> = row.try_get(3)?;
    let expired = time_opt(row, 4)?.is_some_and(|at| at <= now);
    let deletable = gone.is_none() && !expired && uint(row, 5)? != u64::from(kind::DELETE);
    Ok(((id(row, 0)?, uint(row, 1)?), Target { author: id(row, 2)?, deletable }))
}
