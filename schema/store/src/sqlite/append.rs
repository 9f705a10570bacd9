//! Appending: the store's own checks, the offset, the row. Runs on the writer, inside the group's transaction.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::publication::kind;
use schema_wire::record::{Append, Appended, UserStatus};
use schema_wire::v1::Role;
use schema_wire::{ConversationId, Generation, Offset, Refused, UserId};

use super::account::request;
use super::generation::current;
use super::value::{GONE_DELETED, id_opt, int, role, status, uint, uint_opt};
use crate::accept::request_messages;
use crate::accounts::REQUEST_MESSAGES;

/// How long an invitation to a call is kept.
const RING_MS: u64 = 60_000;
/// `last_active_at` is written at most this often.
const ACTIVE_STEP_MS: u64 = 60_000;
/// Longest life of a message that expires, in seconds.
const EXPIRES_S_MAX: u64 = 366 * 24 * 3600;

/// A conversation as a sender finds it.
#[derive(Clone)]
struct Place {
    ttl: Option<u64>,
    epoch: u64,
    members_version: u64,
    direct_pair: Option<[u8; 32]>,
    /// Who opened a first contact that waits.
    requested_by: Option<UserId>,
    role: Role,
    muted_until: Option<u64>,
}

/// Where a conversation's next message goes.
#[derive(Clone, Copy)]
struct Counter {
    next_offset: u64,
    last_at: u64,
    /// By this batch.
    moved: bool,
}

/// What a batch has read already: nobody else writes while its transaction lasts.
struct Batch<'a> {
    tx: &'a Transaction<'a>,
    generation: Generation,
    now: u64,
    senders: BTreeMap<UserId, Result<(), Refused>>,
    places: BTreeMap<(ConversationId, UserId), Option<Place>>,
    counters: BTreeMap<ConversationId, Counter>,
}

/// All outcomes, in order. An error means the whole transaction is lost.
pub fn append(tx: &Transaction<'_>, batch: &[Append], now: u64) -> rusqlite::Result<Vec<Appended>> {
    let mut known = Batch {
        tx,
        generation: current(tx)?,
        now,
        senders: BTreeMap::new(),
        places: BTreeMap::new(),
        counters: BTreeMap::new(),
    };
    let outcomes = batch.iter().map(|a| known.append(a)).collect::<rusqlite::Result<_>>()?;
    known.keep_counters()?;
    Ok(outcomes)
}

impl Batch<'_> {
    fn append(&mut self, a: &Append) -> rusqlite::Result<Appended> {
        let place = match self.judge(a)? {
            Ok(place) if a.kind != kind::DELETE => place,
            verdict => {
                // Whatever is refused now was not when it was stored.
                if let Some(known) = known_key(self.tx, a, self.generation)? {
                    return Ok(known);
                }
                let place = match verdict {
                    Ok(place) => place,
                    Err(refused) => return Ok(refused),
                };
                if let Err(refused) = delete_target(self.tx, a, place.role, self.now)? {
                    return Ok(refuse(refused));
                }
                place
            }
        };
        self.insert(a, &place)
    }

    /// The sender's place, or why they may not write there.
    fn judge(&mut self, a: &Append) -> rusqlite::Result<Result<Place, Appended>> {
        let sender = match self.senders.get(&a.sender) {
            Some(known) => *known,
            None => {
                let found = sender_may_write(self.tx, a.sender, self.now)?;
                *self.senders.entry(a.sender).or_insert(found)
            }
        };
        if let Err(refused) = sender {
            return Ok(Err(refuse(refused)));
        }
        let at = (a.conversation, a.sender);
        if !self.places.contains_key(&at) {
            let found = place(self.tx, a.conversation, a.sender)?;
            if let Some((_, counter)) = &found {
                self.counters.entry(a.conversation).or_insert(*counter);
            }
            self.places.insert(at, found.map(|(place, _)| place));
        }
        let Some(place) = self.places[&at].clone() else { return Ok(Err(refuse(Refused::NotMember))) };
        let newest = self.counters[&a.conversation].next_offset - 1;
        match refusal(self.tx, a, (&place, newest), self.now)? {
            Some(refused) => Ok(Err(refused)),
            None => Ok(Ok(place)),
        }
    }

    /// One update per conversation, however many messages it got.
    fn keep_counters(&self) -> rusqlite::Result<()> {
        let mut keep = self
            .tx
            .prepare_cached("UPDATE conversations SET next_offset = ?2, last_at = ?3 WHERE id = ?1")?;
        for (conversation, counter) in self.counters.iter().filter(|(_, counter)| counter.moved) {
            keep.execute(params![conversation.0, int(counter.next_offset), int(counter.last_at)])?;
        }
        Ok(())
    }
}

fn refuse(refused: Refused) -> Appended {
    Appended::Refused { refused, retry_after_ms: 0 }
}

fn known_key(tx: &Transaction<'_>, a: &Append, generation: Generation) -> rusqlite::Result<Option<Appended>> {
    let mut find = tx.prepare_cached(
        "SELECT conversation_id, log_offset, created_at FROM publish_keys
         WHERE sender_id = ?1 AND publish_key = ?2",
    )?;
    find.query_row(params![a.sender.0, a.publish_key.0], |row| {
        if row.get::<_, [u8; 16]>(0)? != a.conversation.0 {
            return Ok(refuse(Refused::PublishKeyReused));
        }
        Ok(Appended::Duplicate { offset: Offset(uint(row, 1)?), generation, at: uint(row, 2)? })
    })
    .optional()
}

/// Status of the sender; also notes that they are active.
fn sender_may_write(tx: &Transaction<'_>, sender: UserId, now: u64) -> rusqlite::Result<Result<(), Refused>> {
    let mut find =
        tx.prepare_cached("SELECT status, suspended_until, last_active_at FROM users WHERE id = ?1")?;
    let found = find
        .query_row([sender.0], |row| Ok((status(row, 0, now)?, uint_opt(row, 2)?.unwrap_or(0))))
        .optional()?;
    let last_active = match found {
        Some((UserStatus::Active, last_active)) => last_active,
        Some((UserStatus::Suspended { .. }, _)) => return Ok(Err(Refused::Suspended)),
        Some((UserStatus::Banned, _)) => return Ok(Err(Refused::Banned)),
        Some((UserStatus::Deleted, _)) | None => return Ok(Err(Refused::AccountGone)),
        Some((UserStatus::Pending, _)) => return Ok(Err(Refused::NotAllowed)),
    };
    if now >= last_active.saturating_add(ACTIVE_STEP_MS) {
        tx.prepare_cached("UPDATE users SET last_active_at = ?2 WHERE id = ?1")?
            .execute(params![sender.0, int(now)])?;
    }
    Ok(Ok(()))
}

fn place(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    user: UserId,
) -> rusqlite::Result<Option<(Place, Counter)>> {
    let mut find = tx.prepare_cached(
        "SELECT c.next_offset, c.last_at, c.ttl, c.epoch, c.members_version, c.direct_pair, m.role, m.muted_until,
           c.requested_by
         FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
         WHERE m.conversation_id = ?1 AND m.user_id = ?2 AND m.left_offset IS NULL",
    )?;
    find.query_row(params![conversation.0, user.0], |row| {
        let counter = Counter { next_offset: uint(row, 0)?, last_at: uint(row, 1)?, moved: false };
        let place = Place {
            ttl: uint_opt(row, 2)?,
            epoch: uint(row, 3)?,
            members_version: uint(row, 4)?,
            direct_pair: row.get(5)?,
            role: role(row, 6)?,
            muted_until: uint_opt(row, 7)?,
            requested_by: id_opt(row, 8)?,
        };
        Ok((place, counter))
    })
    .optional()
}

/// `newest`: the conversation's newest offset.
fn refusal(
    tx: &Transaction<'_>,
    a: &Append,
    (place, newest): (&Place, u64),
    now: u64,
) -> rusqlite::Result<Option<Appended>> {
    if let Some(until) = place.muted_until.filter(|until| *until > now) {
        let retry_after_ms = u32::try_from(until - now).unwrap_or(u32::MAX);
        return Ok(Some(Appended::Refused { refused: Refused::Muted, retry_after_ms }));
    }
    if a.expected_epoch.is_some_and(|epoch| epoch != place.epoch) {
        return Ok(Some(refuse(Refused::EpochConflict)));
    }
    if let Some(pair) = place.direct_pair
        && block_stands(tx, &pair)?
    {
        return Ok(Some(refuse(Refused::Blocked)));
    }
    if place.requested_by == Some(a.sender) && a.kind != kind::DELETE && newest >= first_messages(tx)? {
        return Ok(Some(refuse(Refused::RequestWaiting)));
    }
    Ok(None)
}

/// Whether one of a pair blocked the other.
fn block_stands(tx: &Transaction<'_>, pair: &[u8; 32]) -> rusqlite::Result<bool> {
    let (low, high) = pair.split_at(16);
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM blocks WHERE user_id = ?1 AND blocked_id = ?2)
           OR EXISTS (SELECT 1 FROM blocks WHERE user_id = ?2 AND blocked_id = ?1)",
    )?
    .query_row(params![low, high], |row| row.get(0))
}

/// Messages a first contact may have before it is accepted.
fn first_messages(tx: &Transaction<'_>) -> rusqlite::Result<u64> {
    let set: Option<String> = tx
        .prepare_cached("SELECT value FROM operator_settings WHERE name = ?1")?
        .query_row([REQUEST_MESSAGES], |row| row.get(0))
        .optional()?;
    Ok(request_messages(set.as_deref()))
}

/// Empties the message a delete names, if the sender may.
fn delete_target(
    tx: &Transaction<'_>,
    a: &Append,
    role: Role,
    now: u64,
) -> rusqlite::Result<Result<(), Refused>> {
    let Some(target) = a.relates_to else { return Ok(Err(Refused::NoSuchMessage)) };
    let mut find = tx.prepare_cached(
        "SELECT sender_id FROM messages WHERE conversation_id = ?1 AND log_offset = ?2
         AND gone IS NULL AND (expires_at IS NULL OR expires_at > ?3) AND kind <> ?4",
    )?;
    let found = find.query_row(params![a.conversation.0, int(target.0), int(now), kind::DELETE], |row| {
        row.get::<_, [u8; 16]>(0)
    });
    match found.optional()? {
        None => return Ok(Err(Refused::NoSuchMessage)),
        Some(author) if author == a.sender.0 || matches!(role, Role::Admin | Role::Owner) => {}
        Some(_) => return Ok(Err(Refused::NotAllowed)),
    }
    tx.prepare_cached(
        "UPDATE messages SET gone = ?3, deleted_at = ?4, body = x'', commitment = NULL
         WHERE conversation_id = ?1 AND log_offset = ?2",
    )?
    .execute(params![a.conversation.0, int(target.0), GONE_DELETED, int(now)])?;
    Ok(Ok(()))
}

fn expiry(a: &Append, place: &Place, at: u64) -> Option<u64> {
    let asked = a.expires_in.map(u64::from);
    let seconds = match (asked, place.ttl) {
        (Some(asked), Some(ttl)) => Some(asked.min(ttl)),
        (one, other) => one.or(other),
    };
    let until = seconds.map(|s| at + s.min(EXPIRES_S_MAX) * 1000);
    if a.kind == kind::RING { Some(until.map_or(at + RING_MS, |u| u.min(at + RING_MS))) } else { until }
}

impl Batch<'_> {
    /// Whoever answers a first contact accepts it.
    fn accept(&mut self, a: &Append, place: &Place) -> rusqlite::Result<u64> {
        let Some(by) = place.requested_by.filter(|by| *by != a.sender) else {
            return Ok(place.members_version);
        };
        let version = request::accept(self.tx, a.conversation, (by, a.sender), self.now)?;
        let everybody = (a.conversation, UserId([0; 16]))..=(a.conversation, UserId([0xff; 16]));
        for place in self.places.range_mut(everybody).filter_map(|(_, place)| place.as_mut()) {
            (place.requested_by, place.members_version) = (None, version);
        }
        Ok(version)
    }

    fn insert(&mut self, a: &Append, place: &Place) -> rusqlite::Result<Appended> {
        let generation = self.generation;
        let counter = self.counters.get(&a.conversation).copied().expect("a place brings its counter");
        // A clock set back must not put a message before the one it follows.
        let at = self.now.max(counter.last_at);
        let offset = counter.next_offset;
        let claimed = self
            .tx
            .prepare_cached(
                "INSERT INTO publish_keys (sender_id, publish_key, conversation_id, log_offset, generation, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (sender_id, publish_key) DO NOTHING",
            )?
            .execute(params![
                a.sender.0,
                a.publish_key.0,
                a.conversation.0,
                int(offset),
                generation.0,
                int(at)
            ])?;
        if claimed == 0 {
            return known_key(self.tx, a, generation)?.ok_or(rusqlite::Error::QueryReturnedNoRows);
        }
        let members_version = self.accept(a, place)?;
        let expires_at = expiry(a, place, at);
        self.tx
            .prepare_cached(
                "INSERT INTO messages (id, conversation_id, log_offset, generation, kind, sender_id, device_id,
                   created_at, relates_to, expires_at, publish_key, members_version, notify, commitment, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                crate::fresh_id(at),
                a.conversation.0,
                int(offset),
                generation.0,
                a.kind,
                a.sender.0,
                a.device.0,
                int(at),
                a.relates_to.map(|o| int(o.0)),
                expires_at.map(int),
                a.publish_key.0,
                int(members_version),
                a.notify,
                a.commitment.as_deref(),
                a.body.as_ref(),
            ])?;
        let moved = Counter { next_offset: offset + 1, last_at: at, moved: true };
        self.counters.insert(a.conversation, moved);
        Ok(Appended::Stored { generation, offset: Offset(offset), at, expires_at, members_version })
    }
}
