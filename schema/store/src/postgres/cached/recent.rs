//! The newest messages of a conversation, as stored, for a minute: ciphertext. An entry is of one state of the log, which
//! the store is asked for in the same transaction as what the reader may read: after the next message, erasure or
//! generation it is of no use, and nobody reads by it what they may not read by the store.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use schema_wire::record::{Entry, Message};
use schema_wire::v1::GoneReason;
use schema_wire::{ConversationId, Generation, Offset};

use super::bytes::{Reader, Writer};
use crate::page::Stretch;
use crate::redis::{Cache, Item};
use crate::stored::{GONE_DELETED, GONE_ERASED, GONE_EXPIRED, gone};

const FORM: u8 = 1;
/// Offsets of one entry.
const OFFSETS_MAX: u64 = 64;
/// Bodies of one entry, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Shorter ends of a log are not worth an entry, unless there is no more of it.
const OFFSETS_MIN: u64 = 16;

/// A state of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    pub generation: Generation,
    pub head: u64,
    pub erasures: u64,
}

/// What is at these offsets, if an entry of this very state has all of it.
pub async fn cached(
    cache: &Arc<Cache>,
    conversation: ConversationId,
    state: State,
    asked: &[Stretch],
    now: u64,
) -> Option<Vec<(u64, Entry)>> {
    let first = asked.iter().map(|stretch| stretch.from).min()?;
    if state.head.saturating_sub(first) >= OFFSETS_MAX {
        return None;
    }
    let item = Item::Recent(conversation);
    let entry = cache.get(item).await?;
    let found = decode(conversation, state, &entry, now);
    let found = found.filter(|found| found.first().is_some_and(|(lowest, _)| *lowest <= first));
    if found.is_none() {
        cache.missed(item);
    }
    found
}

/// Keeps the end of the log, if `rows` (rising) hold it.
pub fn keep(
    cache: &Arc<Cache>,
    conversation: ConversationId,
    state: State,
    began: Instant,
    rows: &[(u64, Entry)],
) {
    let (mut due, mut bytes) = (state.head, 0);
    for (offset, entry) in rows.iter().rev() {
        bytes += body(entry).len();
        if *offset != due || state.head - due >= OFFSETS_MAX || bytes > BODY_BYTES_MAX {
            break;
        }
        due -= 1;
    }
    let count = state.head - due;
    if count >= OFFSETS_MIN.min(state.head) && count > 0 {
        let end = &rows[rows.len() - usize::try_from(count).unwrap_or(rows.len())..];
        cache.fill(Item::Recent(conversation), began, encode(state, end));
    }
}

fn body(entry: &Entry) -> &[u8] {
    match entry {
        Entry::Message(message) => &message.body,
        Entry::Gone { .. } => &[],
    }
}

fn encode(state: State, rows: &[(u64, Entry)]) -> Vec<u8> {
    let mut out = Writer::new(FORM).number(u64::from(state.generation.0)).number(state.head);
    out = out.number(state.erasures).number(rows.len() as u64);
    for (_, entry) in rows {
        out = match entry {
            Entry::Gone { reason, .. } => out.flag(false).number(number(*reason)),
            Entry::Message(m) => out
                .flag(true)
                .number(u64::from(m.generation.0))
                .number(u64::from(m.kind))
                .id(m.sender.0)
                .id(m.device.0)
                .number(m.at)
                .number_opt(m.relates_to.map(|offset| offset.0))
                .number_opt(m.expires_at)
                .id(m.publish_key.0)
                .number(m.members_version)
                .bytes(&m.body),
        };
    }
    out.done()
}

fn decode(conversation: ConversationId, state: State, entry: &[u8], now: u64) -> Option<Vec<(u64, Entry)>> {
    let mut entry = Reader::new(entry, FORM)?;
    let of =
        State { generation: Generation(entry.small()?), head: entry.number()?, erasures: entry.number()? };
    let count = entry.number()?;
    if of != state || count > OFFSETS_MAX.min(state.head) {
        return None;
    }
    let mut rows = Vec::new();
    for offset in state.head - count + 1..=state.head {
        let at = Offset(offset);
        let what = if entry.flag()? {
            let message = message(conversation, at, &mut entry)?;
            match message.expires_at {
                Some(until) if until <= now => Entry::Gone { from: at, to: at, reason: GoneReason::Expired },
                _ => Entry::Message(message),
            }
        } else {
            Entry::Gone { from: at, to: at, reason: gone(i64::try_from(entry.number()?).ok()?) }
        };
        rows.push((offset, what));
    }
    entry.end()?;
    Some(rows)
}

fn message(conversation: ConversationId, offset: Offset, entry: &mut Reader<'_>) -> Option<Message> {
    Some(Message {
        conversation,
        offset,
        generation: Generation(entry.small()?),
        kind: entry.small()?,
        sender: entry.id()?,
        device: entry.id()?,
        at: entry.number()?,
        relates_to: entry.number_opt()?.map(Offset),
        expires_at: entry.number_opt()?,
        publish_key: entry.id()?,
        members_version: entry.number()?,
        body: Bytes::copy_from_slice(entry.bytes()?),
    })
}

fn number(reason: GoneReason) -> u64 {
    let number = match reason {
        GoneReason::Expired => GONE_EXPIRED,
        GoneReason::Erased => GONE_ERASED,
        _ => GONE_DELETED,
    };
    number.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema_wire::{DeviceId, PublishKey, UserId};

    #[test]
    fn an_end_of_a_log_is_of_one_state_only_and_what_expires_in_it_is_gone() {
        let talk = ConversationId([1; 16]);
        let state = State { generation: Generation(3), head: 9, erasures: 2 };
        let message = Message {
            conversation: talk,
            offset: Offset(9),
            generation: Generation(2),
            kind: 4,
            sender: UserId([5; 16]),
            device: DeviceId([6; 16]),
            at: 7,
            relates_to: Some(Offset(1)),
            expires_at: Some(100),
            publish_key: PublishKey([8; 16]),
            members_version: 9,
            body: Bytes::from_static(b"sealed"),
        };
        let gone = |n, reason| (n, Entry::Gone { from: Offset(n), to: Offset(n), reason });
        let rows = vec![gone(8, GoneReason::Erased), (9, Entry::Message(message))];
        let entry = encode(state, &rows);
        assert_eq!(decode(talk, state, &entry, 99), Some(rows.clone()));
        let later = vec![rows[0].clone(), gone(9, GoneReason::Expired)];
        assert_eq!(decode(talk, state, &entry, 100), Some(later));
        for other in [
            State { generation: Generation(4), ..state },
            State { head: 10, ..state },
            State { erasures: 3, ..state },
        ] {
            assert_eq!(decode(talk, other, &entry, 99), None, "{other:?}");
        }
        assert!((0..entry.len()).all(|n| decode(talk, state, &entry[..n], 99).is_none()));
    }
}
