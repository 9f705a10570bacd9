//! What was ever committed, by whom, and who was allowed to see it; and every attempt to publish.
//! Promises: acked is durable, a retry gets the first offset, what was refused is not stored, the limit holds.

use std::collections::BTreeMap;

use schema_wire::publication::kind;
use schema_wire::record::{Append, Appended};
use schema_wire::v1::{Delivery, PublishAck};
use schema_wire::{ConversationId, PublishKey, UserId};

use super::view::Request;
use super::{At, Model};
use crate::clock::{MS, S};
use crate::queue::Place;
use crate::store::SimStore;

/// How long a publish may wait for its user's limit to be dealt out before it counts, in microseconds.
const PARKED_US: u64 = 20 * MS;

/// One committed message.
#[derive(Clone, Debug)]
pub struct Record {
    pub append: Append,
    pub generation: u32,
    pub offset: u64,
    pub expires_at: Option<u64>,
    /// Members when it was committed.
    pub members: Vec<UserId>,
    /// Where the delete stands that was acked, generation first, and when the ack left.
    pub deleted: Option<((u32, u64), u64)>,
    pub erased_us: Option<u64>,
}

/// What became of one attempt.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fate {
    Open,
    Acked,
    Refused,
    Unknown,
}

/// One Publish frame that reached a shard.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub link: usize,
    request: u64,
    received_us: u64,
    /// The session was caught up with the conversation, in the subscription that this request began.
    pub following: Option<u64>,
    draining: bool,
    fate: Fate,
}

/// Everything about publishing.
#[derive(Debug, Default)]
pub struct Ledger {
    pub records: Vec<Record>,
    by_key: BTreeMap<PublishKey, Vec<usize>>,
    by_place: BTreeMap<(ConversationId, u64), Vec<usize>>,
    attempts: BTreeMap<PublishKey, Vec<Attempt>>,
    by_link: BTreeMap<usize, Vec<PublishKey>>,
    accepted: BTreeMap<(usize, u32, UserId), Vec<u64>>,
    /// The request each session last had stored, by conversation.
    stored: BTreeMap<(usize, ConversationId), u64>,
}

impl Ledger {
    pub(super) fn attempt(
        &mut self,
        key: PublishKey,
        link: usize,
        request: u64,
        received_us: u64,
        following: Option<u64>,
        draining: bool,
    ) {
        let fate = Fate::Open;
        let attempt = Attempt { link, request, received_us, following, draining, fate };
        self.attempts.entry(key).or_default().push(attempt);
        self.by_link.entry(link).or_default().push(key);
    }

    pub(super) fn session_ended(&mut self, link: usize) {
        for key in self.by_link.remove(&link).unwrap_or_default() {
            let attempts = self.attempts.get_mut(&key).expect("noted with the link");
            for attempt in attempts.iter_mut().filter(|a| a.link == link && a.fate == Fate::Open) {
                attempt.fate = Fate::Unknown;
            }
        }
    }

    /// An attempt is refused. Says what is wrong with that, if anything.
    pub(super) fn refused(&mut self, key: PublishKey, link: usize, request: u64) -> Option<String> {
        let attempts = self.attempts.get_mut(&key)?;
        attempts
            .iter_mut()
            .filter(|a| a.link == link && a.request == request)
            .for_each(|a| a.fate = Fate::Refused);
        let all = attempts.iter().all(|a| a.fate == Fate::Refused);
        (all && self.by_key.contains_key(&key)).then(|| format!("but {key} was stored"))
    }

    /// The attempts at a key.
    pub fn attempts(&self, key: PublishKey) -> &[Attempt] {
        self.attempts.get(&key).map_or(&[], Vec::as_slice)
    }

    /// All that was ever committed at a place.
    pub fn at(&self, conversation: ConversationId, offset: u64) -> impl Iterator<Item = &Record> {
        self.by_place.get(&(conversation, offset)).into_iter().flatten().map(|i| &self.records[*i])
    }

    /// Notes an accepted publish. The most that any window of that length holds around it.
    fn accept(&mut self, who: (usize, u32, UserId), at_us: u64, window_us: u64) -> usize {
        let times = self.accepted.entry(who).or_default();
        let index = times.partition_point(|t| *t <= at_us);
        times.insert(index, at_us);
        let most = |end: usize| {
            let from = (times[end] + 1).saturating_sub(window_us);
            end + 1 - times.partition_point(|t| *t < from)
        };
        (index..times.len()).map(most).max().unwrap_or(0)
    }
}

impl Model {
    /// The store decided on an append.
    pub fn appended(
        &mut self,
        now: u64,
        place: Place,
        append: &Append,
        appended: &Appended,
        store: &SimStore,
    ) {
        let Appended::Stored { generation, offset, expires_at, .. } = appended else { return };
        let log = &store.logs[&append.conversation];
        let members = log.members.iter().filter(|(_, m)| m.present()).map(|(u, _)| *u).collect();
        let index = self.ledger.records.len();
        self.ledger.records.push(Record {
            append: append.clone(),
            generation: generation.0,
            offset: offset.0,
            expires_at: *expires_at,
            members,
            deleted: None,
            erased_us: None,
        });
        let key = append.publish_key;
        self.ledger.by_key.entry(key).or_default().push(index);
        self.ledger.by_place.entry((append.conversation, offset.0)).or_default().push(index);
        let attempts = self.ledger.attempts(key);
        let only = if let [attempt] = attempts { Some(*attempt) } else { None };
        if attempts.iter().all(|a| a.fate == Fate::Refused) {
            let text = format!("node{}: {key} is stored after every attempt was refused", place.node);
            self.violate(now, "refused is not stored", text);
        } else if attempts.iter().all(|a| a.draining) {
            let text = format!("node{}: {key} was taken while draining", place.node);
            self.violate(now, "drain", text);
        }
        if let Some(attempt) = only {
            self.check_order(now, attempt, append.conversation);
        }
    }

    /// What one session sends to one conversation is stored in the order it was sent.
    fn check_order(&mut self, now: u64, attempt: Attempt, conversation: ConversationId) {
        let last = self.ledger.stored.entry((attempt.link, conversation)).or_default();
        let before = std::mem::replace(last, attempt.request);
        if before > attempt.request {
            let what = format!("request {} is stored after request {before}", attempt.request);
            let text = self.say(attempt.link, what);
            self.violate(now, "stored as sent", text);
        }
    }

    pub(super) fn publish_ack(&mut self, at: At, ack: &PublishAck) {
        let Some((request, _)) = self.take_request(at) else { return };
        let key = PublishKey::from_slice(&ack.publish_key).unwrap_or_default();
        let conversation = ConversationId::from_slice(&ack.conversation).unwrap_or_default();
        if request != Request::Publish(key) {
            let text = self.say(at.link, format!("the ack of {key} answers something else"));
            return self.violate(at.now, "answers", text);
        }
        let found = self.ledger.by_key.get(&key).and_then(|of_key| {
            of_key.iter().copied().find(|i| {
                let r = &self.ledger.records[*i];
                r.append.conversation == conversation
                    && r.offset == ack.offset
                    && (r.generation == ack.generation || ack.duplicate && r.generation < ack.generation)
            })
        });
        let Some(found) = found else {
            let text = format!("acked {key} at {}:{}, where it is not", ack.generation, ack.offset);
            return self.violate(at.now, "acked is durable", self.say(at.link, text));
        };
        let append = &self.ledger.records[found].append;
        if append.kind == kind::DELETE
            && let Some(target) = append.relates_to
        {
            let targets = self.ledger.by_place.get(&(conversation, target.0)).cloned().unwrap_or_default();
            for index in targets {
                let deleted = &mut self.ledger.records[index].deleted;
                let place = (ack.generation, ack.offset);
                if deleted.is_none_or(|(before, _)| before < place) {
                    *deleted = Some((place, at.now));
                }
            }
        }
        self.count_accepted(at, key);
    }

    fn count_accepted(&mut self, at: At, key: PublishKey) {
        let attempts = self.ledger.attempts.get_mut(&key).expect("a request was noted");
        let attempt = attempts.iter_mut().find(|a| a.link == at.link && a.request == at.answers);
        let Some(attempt) = attempt else { return };
        attempt.fate = Fate::Acked;
        let received_us = attempt.received_us;
        let view = &self.views[at.link];
        let who = (view.place.node, view.place.life, view.user);
        let window_us = u64::from(self.limits.publish_window_s) * S - PARKED_US;
        let most = self.ledger.accept(who, received_us, window_us);
        if most > self.limits.publish_limit as usize {
            let text = format!("{most} publishes within {} s", self.limits.publish_window_s);
            self.violate(at.now, "rate limit", self.say(at.link, text));
        }
        if !self.counted_together {
            return;
        }
        let everywhere = (usize::MAX, 0, self.views[at.link].user);
        let most = self.ledger.accept(everywhere, received_us, window_us);
        if most > self.limits.publish_limit as usize {
            let text = format!("{most} publishes on all nodes within {} s", self.limits.publish_window_s);
            self.violate(at.now, "rate limit", self.say(at.link, text));
        }
    }

    /// Whether a delivery says what was committed. The record, if so.
    pub(super) fn check_content(&mut self, at: At, delivery: &Delivery) -> Option<usize> {
        let key = PublishKey::from_slice(&delivery.publish_key).unwrap_or_default();
        let conversation = ConversationId::from_slice(&delivery.conversation).unwrap_or_default();
        let places = self.ledger.by_place.get(&(conversation, delivery.offset));
        let found = places.and_then(|at| {
            at.iter().rev().copied().find(|i| {
                let r = &self.ledger.records[*i];
                r.append.publish_key == key && r.generation == delivery.generation
            })
        });
        let same = found.is_some_and(|i| {
            let r = &self.ledger.records[i];
            r.append.body == delivery.body
                && r.append.kind == delivery.kind
                && r.append.sender.0[..] == delivery.sender[..]
                && r.append.device.0[..] == delivery.device[..]
                && r.append.relates_to.map(|o| o.0) == delivery.relates_to
                && r.expires_at == delivery.expires_at
        });
        if !same {
            let text =
                format!("delivery {}:{} is not what was committed", delivery.generation, delivery.offset);
            self.violate(at.now, "delivered is committed", self.say(at.link, text));
            return None;
        }
        found
    }

    /// An operator erased a place.
    pub fn erased(&mut self, now: u64, conversation: ConversationId, offset: u64) {
        for index in self.ledger.by_place.get(&(conversation, offset)).cloned().unwrap_or_default() {
            self.ledger.records[index].erased_us.get_or_insert(now);
        }
    }
}
