//! What an append's transaction writes, as one statement: keys, messages, counters, emptied messages, activity.

use std::collections::{BTreeMap, BTreeSet};

use schema_wire::record::Append;
use schema_wire::{ConversationId, Generation, Offset, UserId};

use super::fault::Failed;
use super::transaction::Tx;
use super::value::{At, Id, Param};
use crate::stored::{GONE_DELETED, int};

/// A message with its place.
pub struct Fresh<'a> {
    pub append: &'a Append,
    pub offset: Offset,
    pub at: u64,
    pub expires_at: Option<u64>,
    pub members_version: u64,
}

#[derive(Default)]
pub struct Written<'a> {
    fresh: Vec<Fresh<'a>>,
    /// Where this batch's messages are in `fresh`, and those of them that it empties again.
    places: BTreeMap<(ConversationId, Offset), usize>,
    hollow: BTreeSet<usize>,
    emptied: (Vec<Id>, Vec<i64>),
    active: BTreeSet<Id>,
}

/// Keys go in order of the key, so that two batches can't wait for each other. What is seldom needed stands in a statement
/// of its own kind: emptying messages opens each partition with all its indexes, also where there is nothing to empty.
macro_rules! store {
    ($($besides:literal),*) => {
        concat!(
            "WITH fresh AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::uuid[], $6::uuid[], $7::timestamptz[],
      $8::bigint[], $9::timestamptz[], $10::uuid[], $11::bigint[], $12::smallint[], $13::bytea[], $14::bigint[],
      $15::bytea[])
    AS f (id, conversation_id, log_offset, kind, sender_id, device_id, created_at, relates_to, expires_at,
      publish_key, members_version, notify, commitment, gone, body)
), keys AS (
  INSERT INTO publish_keys (sender_id, publish_key, conversation_id, log_offset, generation, created_at)
  SELECT sender_id, publish_key, conversation_id, log_offset, $16, created_at FROM fresh
  ORDER BY sender_id, publish_key
), counters AS (
  UPDATE conversations c SET next_offset = n.next_offset, last_at = n.last_at
  FROM unnest($17::uuid[], $18::bigint[], $19::timestamptz[]) n (id, next_offset, last_at) WHERE c.id = n.id
)",
            $($besides,)*
            "
INSERT INTO messages (id, conversation_id, log_offset, generation, kind, sender_id, device_id, created_at, relates_to,
  expires_at, publish_key, members_version, notify, commitment, gone, deleted_at, body)
SELECT id, conversation_id, log_offset, $16, kind, sender_id, device_id, created_at, relates_to,
  expires_at, publish_key, members_version, notify, commitment, gone, CASE WHEN gone IS NOT NULL THEN $23 END, body
FROM fresh"
        )
    };
}
const STORE: &str = store!();
/// Whose row somebody else holds was active anyway.
const STORE_ACTIVE: &str = store!(
    ", active AS (
  UPDATE users SET last_active_at = $23 WHERE ctid = ANY (ARRAY
    (SELECT ctid FROM users WHERE id = ANY ($24) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
)"
);
const STORE_ALL: &str = store!(
    ", active AS (
  UPDATE users SET last_active_at = $23 WHERE ctid = ANY (ARRAY
    (SELECT ctid FROM users WHERE id = ANY ($24) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
)",
    ", emptied AS (
  UPDATE messages m SET gone = $22, deleted_at = $23, body = '', commitment = NULL
  FROM unnest($20::uuid[], $21::bigint[]) d (conversation_id, log_offset)
  WHERE m.conversation_id = d.conversation_id AND m.log_offset = d.log_offset
)"
);

impl<'a> Written<'a> {
    pub fn message(&mut self, fresh: Fresh<'a>) {
        self.places.insert((fresh.append.conversation, fresh.offset), self.fresh.len());
        self.fresh.push(fresh);
    }

    /// Takes the body of a message away.
    pub fn empty(&mut self, conversation: ConversationId, offset: Offset) {
        match self.places.get(&(conversation, offset)) {
            Some(place) => drop(self.hollow.insert(*place)),
            None => {
                self.emptied.0.push(Id(conversation.0));
                self.emptied.1.push(int(offset.0));
            }
        }
    }

    /// Notes that somebody was here.
    pub fn active(&mut self, user: UserId) {
        self.active.insert(Id(user.0));
    }

    /// Stores it all and commits. After an error that is not the server's, nobody knows whether it is stored.
    pub async fn store(&self, tx: &Tx, generation: Generation, now: u64) -> Result<(), Failed> {
        if self.fresh.is_empty() && self.active.is_empty() {
            return tx.end().await;
        }
        let of = |number: usize| self.hollow.contains(&number);
        let each = || self.fresh.iter().map(|f| (f, f.append));
        let ids: Vec<_> = each().map(|(f, _)| Id(crate::fresh_id(f.at))).collect();
        let conversations: Vec<_> = each().map(|(_, a)| Id(a.conversation.0)).collect();
        let offsets: Vec<_> = each().map(|(f, _)| int(f.offset.0)).collect();
        let kinds: Vec<_> = each().map(|(_, a)| i64::from(a.kind)).collect();
        let senders: Vec<_> = each().map(|(_, a)| Id(a.sender.0)).collect();
        let devices: Vec<_> = each().map(|(_, a)| Id(a.device.0)).collect();
        let times: Vec<_> = each().map(|(f, _)| At(f.at)).collect();
        let related: Vec<_> = each().map(|(_, a)| a.relates_to.map(|o| int(o.0))).collect();
        let expiries: Vec<_> = each().map(|(f, _)| f.expires_at.map(At)).collect();
        let keys: Vec<_> = each().map(|(_, a)| Id(a.publish_key.0)).collect();
        let versions: Vec<_> = each().map(|(f, _)| int(f.members_version)).collect();
        let notify: Vec<_> = each().map(|(_, a)| i16::try_from(a.notify).unwrap_or(0)).collect();
        let commitment = |n, a: &'a Append| if of(n) { None } else { a.commitment.as_deref() };
        let commitments: Vec<Option<&[u8]>> =
            each().enumerate().map(|(n, (_, a))| commitment(n, a)).collect();
        let gone: Vec<_> = (0..self.fresh.len()).map(|n| of(n).then_some(GONE_DELETED)).collect();
        let body = |n, a: &'a Append| if of(n) { &[][..] } else { a.body.as_ref() };
        let bodies: Vec<&[u8]> = each().enumerate().map(|(n, (_, a))| body(n, a)).collect();
        let (moved, next, last) = self.counters();
        let active: Vec<_> = self.active.iter().copied().collect();
        let (number, now) = (i64::from(generation.0), At(now));
        let params: [&dyn Param; 24] = [
            &ids,
            &conversations,
            &offsets,
            &kinds,
            &senders,
            &devices,
            &times,
            &related,
            &expiries,
            &keys,
            &versions,
            &notify,
            &commitments,
            &gone,
            &bodies,
            &number,
            &moved,
            &next,
            &last,
            &self.emptied.0,
            &self.emptied.1,
            &GONE_DELETED,
            &now,
            &active,
        ];
        let sql = match (self.emptied.0.is_empty(), active.is_empty()) {
            (true, true) => STORE,
            (true, false) => STORE_ACTIVE,
            (false, _) => STORE_ALL,
        };
        let statement = tx.prepare(sql, &params).await?;
        tx.run_and_end(&statement, &params).await
    }

    /// Where each conversation goes on.
    fn counters(&self) -> (Vec<Id>, Vec<i64>, Vec<At>) {
        let last: BTreeMap<_, _> =
            self.fresh.iter().map(|f| (f.append.conversation, (f.offset.0 + 1, f.at))).collect();
        let ids = last.keys().map(|c| Id(c.0)).collect();
        (
            ids,
            last.values().map(|(next, _)| int(*next)).collect(),
            last.values().map(|(_, at)| At(*at)).collect(),
        )
    }
}
