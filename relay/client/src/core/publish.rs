//! Publishes that are neither acked nor refused: which go out when, which again, and which are given back.
//! Order within a conversation is the order of arrival; after a retriable refusal it goes on one at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use schema_wire::v1::client_frame::Body;
use schema_wire::{ConversationId, Generation, Offset, PublishKey, Refused};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::core::Numbering;
use crate::core::pace::Pace;
use crate::error::{Error, Refusal};
use crate::limits;
use crate::request::Ack;

/// Where the result of a publish goes.
pub(crate) type AckReply = oneshot::Sender<Result<Ack, Error>>;

/// A Publish or Ring under way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub conversation: ConversationId,
    pub key: PublishKey,
    pub body: Body,
    /// `None`: published again after a rewind, nobody waits.
    pub reply: Option<AckReply>,
    /// Its place in the window; given back with the entry.
    #[expect(dead_code, reason = "held until the entry is dropped")]
    pub permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Entry {
    publish: Outgoing,
    request: Option<u64>,
}

/// Acked, and remembered in case the store goes back.
#[derive(Debug)]
struct Acked {
    ack: Ack,
    body: Body,
    /// Acked on the link that stands: its session will not get it delivered.
    here: bool,
}

/// All publishes of a client, in order.
#[derive(Debug)]
pub(crate) struct Publishes {
    entries: BTreeMap<u64, Entry>,
    back: u64,
    front: u64,
    held: HashMap<ConversationId, Instant>,
    acked: VecDeque<Acked>,
    pace: Pace,
}

impl Default for Publishes {
    fn default() -> Self {
        let middle = u64::MAX / 2;
        Self {
            entries: BTreeMap::new(),
            back: middle,
            front: middle,
            held: HashMap::new(),
            acked: VecDeque::new(),
            pace: Pace::default(),
        }
    }
}

impl Publishes {
    pub(crate) fn push(&mut self, publish: Outgoing) {
        self.entries.insert(self.back, Entry { publish, request: None });
        self.back += 1;
    }

    /// Sends what may go out now.
    pub(crate) fn pump(&mut self, now: Instant, numbers: &mut Numbering, send: &mut impl FnMut(u64, Body)) {
        let mut sent: HashMap<ConversationId, usize> = HashMap::new();
        for entry in self.entries.values().filter(|e| e.request.is_some()) {
            *sent.entry(entry.publish.conversation).or_default() += 1;
        }
        let mut room = self.pace.room(now, sent.values().sum());
        for entry in self.entries.values_mut().filter(|e| e.request.is_none()) {
            if room == 0 {
                break;
            }
            let in_flight = sent.entry(entry.publish.conversation).or_default();
            if let Some(until) = self.held.get(&entry.publish.conversation)
                && (*until > now || *in_flight > 0)
            {
                continue;
            }
            let request = numbers.next();
            entry.request = Some(request);
            *in_flight += 1;
            room -= 1;
            send(request, entry.publish.body.clone());
        }
    }

    /// When the next held conversation may go on.
    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let idle = |c: &ConversationId| {
            !self.entries.values().any(|e| e.publish.conversation == *c && e.request.is_some())
        };
        let unsent = |c: &ConversationId| self.entries.values().any(|e| e.publish.conversation == *c);
        let held = self.held.iter().filter(|(c, until)| **until > now && unsent(c) && idle(c));
        let paced =
            self.pace.next_timeout(now).filter(|_| self.entries.values().any(|e| e.request.is_none()));
        held.map(|(_, until)| *until).chain(paced).min()
    }

    /// What Welcome says about the user's limit.
    pub(crate) fn adopt_limit(&mut self, limit: u32, window_s: u32) {
        self.pace.adopt(limit, window_s);
    }

    /// Own messages acked on this link, newest last: the relay does not deliver them to this session.
    pub(crate) fn acked_here(&self, conversation: ConversationId) -> Vec<(Ack, Body)> {
        let here = self.acked.iter().filter(|a| a.here && a.ack.conversation == conversation);
        here.map(|a| (a.ack, a.body.clone())).collect()
    }

    /// A PublishAck, or a delivery that shows that the publish was appended.
    pub(crate) fn acked(&mut self, now: Instant, request: u64, ack: Ack) -> Option<Body> {
        let at = self.find(request, Some(ack.publish_key))?;
        Some(self.settle(now, at, ack))
    }

    fn settle(&mut self, now: Instant, at: u64, ack: Ack) -> Body {
        let entry = self.entries.remove(&at).expect("found just now");
        self.held.remove(&entry.publish.conversation);
        self.pace.acked(now);
        if self.acked.len() == limits::REMEMBERED {
            self.acked.pop_front();
        }
        self.acked.push_back(Acked { ack, body: entry.publish.body.clone(), here: true });
        if let Some(reply) = entry.publish.reply {
            let _ = reply.send(Ok(ack));
        }
        entry.publish.body
    }

    /// A delivery with the key of a publish whose ack was lost: it is acked by this. True when the message is one
    /// of this client's, acked now or before.
    pub(crate) fn seen(&mut self, now: Instant, ack: Ack) -> bool {
        let same = |e: &Entry| e.publish.key == ack.publish_key && e.publish.conversation == ack.conversation;
        match self.entries.iter().find(|(_, e)| same(e)).map(|(at, _)| *at) {
            Some(at) => {
                self.settle(now, at, ack);
                true
            }
            None => self.acked.iter().any(|a| a.ack.publish_key == ack.publish_key),
        }
    }

    /// A refusal: tried again after its time, or handed to the caller. False when it is not about a publish.
    pub(crate) fn refused(
        &mut self,
        now: Instant,
        request: u64,
        key: Option<PublishKey>,
        refusal: Refusal,
    ) -> bool {
        let Some(at) = self.find(request, key) else { return false };
        if let Some(delay) = retry_in(&refusal) {
            let entry = self.entries.get_mut(&at).expect("found just now");
            entry.request = None;
            let delay = delay.max(self.pace.refused());
            let until = self.held.entry(entry.publish.conversation).or_insert(now);
            *until = (*until).max(now + delay);
            return true;
        }
        let entry = self.entries.remove(&at).expect("found just now");
        if let Some(reply) = entry.publish.reply {
            let _ = reply.send(Err(Error::Refused(refusal)));
        }
        true
    }

    /// The connection is gone: everything goes out again on the next one, with the same keys.
    pub(crate) fn link_lost(&mut self, now: Instant) {
        let in_flight = self.entries.values().filter(|e| e.request.is_some()).count();
        self.pace.lost(now, in_flight);
        self.acked.iter_mut().for_each(|a| a.here = false);
        self.entries.values_mut().for_each(|e| e.request = None);
    }

    /// The store went back: what was acked beyond `head` is published again, before anything newer.
    pub(crate) fn rewound(
        &mut self,
        conversation: ConversationId,
        generation: Generation,
        head: Offset,
    ) -> usize {
        let lost = |a: &Acked| {
            let p = a.ack.position;
            a.ack.conversation == conversation && p.offset > head && p.generation < generation
        };
        let (again, kept): (VecDeque<_>, VecDeque<_>) = self.acked.drain(..).partition(lost);
        self.acked = kept;
        for Acked { ack, body, .. } in again.iter().rev() {
            self.front -= 1;
            let publish = Outgoing {
                conversation,
                key: ack.publish_key,
                body: body.clone(),
                reply: None,
                permit: None,
            };
            self.entries.insert(self.front, Entry { publish, request: None });
        }
        again.len()
    }

    fn find(&self, request: u64, key: Option<PublishKey>) -> Option<u64> {
        let by_request = |e: &Entry| request != 0 && e.request == Some(request);
        let by_key = |e: &Entry| request == 0 && Some(e.publish.key) == key;
        self.entries.iter().find(|(_, e)| by_request(e) || by_key(e)).map(|(at, _)| *at)
    }
}

/// How long to wait before a refused publish goes out again; `None`: the caller gets the refusal.
pub(crate) fn retry_in(refusal: &Refusal) -> Option<Duration> {
    let again = matches!(refusal.refused(), Some(Refused::TooMany | Refused::TokenExpired));
    match refusal.retry_after {
        Some(delay) if delay > limits::RETRY_MAX => None,
        Some(Duration::ZERO) => Some(limits::RETRY),
        Some(delay) => Some(delay),
        None => again.then_some(limits::RETRY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema_wire::{Position, v1};

    fn outgoing(conversation: u8, key: u8) -> (Outgoing, oneshot::Receiver<Result<Ack, Error>>) {
        let (reply, answer) = oneshot::channel();
        let body = Body::from(v1::Publish { publish_key: vec![key; 16].into(), ..Default::default() });
        let conversation = ConversationId([conversation; 16]);
        (
            Outgoing { conversation, key: PublishKey([key; 16]), body, reply: Some(reply), permit: None },
            answer,
        )
    }

    fn ack(conversation: u8, key: u8, offset: u64) -> Ack {
        let position = Position { generation: Generation(1), offset: Offset(offset) };
        let (conversation, publish_key) = (ConversationId([conversation; 16]), PublishKey([key; 16]));
        Ack { conversation, position, publish_key, at: 0, duplicate: false }
    }

    fn pump(publishes: &mut Publishes, now: Instant, numbers: &mut Numbering) -> Vec<(u64, u8)> {
        let mut out = Vec::new();
        publishes.pump(now, numbers, &mut |request, body| {
            let Body::Publish(p) = body else { panic!("only publishes") };
            out.push((request, p.publish_key[0]));
        });
        out
    }

    #[test]
    fn a_lost_link_sends_again_in_order_until_acked() {
        let (mut publishes, mut numbers, now) = (Publishes::default(), Numbering::default(), Instant::now());
        let (first, mut answer) = outgoing(1, 1);
        publishes.push(first);
        publishes.push(outgoing(1, 2).0);
        assert_eq!(pump(&mut publishes, now, &mut numbers), [(1, 1), (2, 2)]);
        assert_eq!(pump(&mut publishes, now, &mut numbers), []);
        publishes.link_lost(now);
        assert_eq!(pump(&mut publishes, now, &mut numbers), [(3, 1), (4, 2)]);
        assert!(publishes.acked(now, 1, ack(1, 1, 5)).is_none(), "an answer of the old link");
        assert!(publishes.acked(now, 3, ack(1, 1, 5)).is_some());
        assert_eq!(answer.try_recv().expect("answered").expect("acked").position.offset, Offset(5));
    }

    #[test]
    fn a_retriable_refusal_holds_its_conversation_and_probes_one_at_a_time() {
        let (mut publishes, mut numbers, now) = (Publishes::default(), Numbering::default(), Instant::now());
        for (conversation, key) in [(1, 1), (1, 2), (2, 3)] {
            publishes.push(outgoing(conversation, key).0);
        }
        assert_eq!(pump(&mut publishes, now, &mut numbers).len(), 3);
        let mut refusal = Refusal::of(Refused::RateLimited);
        refusal.retry_after = Some(Duration::from_secs(3));
        publishes.refused(now, 1, None, refusal.clone());
        publishes.refused(now, 2, None, refusal);
        publishes.push(outgoing(2, 4).0);
        assert_eq!(pump(&mut publishes, now, &mut numbers), [], "refusals leave one under way");
        publishes.acked(now, 3, ack(2, 3, 1));
        assert_eq!(pump(&mut publishes, now, &mut numbers), [(4, 4)], "the other conversation goes on");
        let later = publishes.next_timeout(now).expect("held");
        assert_eq!(later, now + Duration::from_secs(3));
        assert_eq!(pump(&mut publishes, later, &mut numbers), [(5, 1)]);
        publishes.acked(now, 5, ack(1, 1, 1));
        assert_eq!(pump(&mut publishes, later, &mut numbers), [(6, 2)]);
    }

    #[test]
    fn a_definite_refusal_goes_to_the_caller() {
        let (mut publishes, mut numbers, now) = (Publishes::default(), Numbering::default(), Instant::now());
        let (publish, mut answer) = outgoing(1, 1);
        publishes.push(publish);
        pump(&mut publishes, now, &mut numbers);
        publishes.refused(now, 1, None, Refusal::of(Refused::NotMember));
        assert!(matches!(answer.try_recv(), Ok(Err(Error::Refused(r))) if r.code == 300));
        assert!(publishes.entries.is_empty());
    }

    #[test]
    fn a_rewind_publishes_what_was_lost_before_anything_newer() {
        let (mut publishes, mut numbers, now) = (Publishes::default(), Numbering::default(), Instant::now());
        (1..=3).for_each(|key| publishes.push(outgoing(1, key).0));
        pump(&mut publishes, now, &mut numbers);
        (1..=3u8).for_each(|key| drop(publishes.acked(now, key.into(), ack(1, key, key.into()))));
        publishes.push(outgoing(1, 4).0);
        assert_eq!(publishes.rewound(ConversationId([1; 16]), Generation(2), Offset(1)), 2);
        assert_eq!(pump(&mut publishes, now, &mut numbers), [(4, 2), (5, 3), (6, 4)]);
    }
}
