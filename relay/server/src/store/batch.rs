//! Group commit: appends of all shards that wait while commits are under way travel together in the next ones. Several
//! batches may be under way, but a conversation is in one of them at most, so its order is kept. One that another node
//! holds gets batches of its own until nothing of it waits, so that it holds up no other.

use std::collections::{HashMap, HashSet, VecDeque};

use relay_proto::event::Ticket;
use schema_wire::record::Append;
use schema_wire::{ConversationId, ShardId};

/// Appends in one transaction.
const BATCH_MAX: usize = 512;
/// Appends that may wait; beyond, the shard gets `StoreFault::Unavailable` and the client a retriable refusal.
const WAITING_MAX: usize = 32_768;

/// Who gets an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnAddress {
    pub shard: ShardId,
    pub ticket: Ticket,
}

type Waits = (ReturnAddress, Append);

/// A transaction's worth.
pub struct Batch {
    pub to: Vec<ReturnAddress>,
    pub appends: Vec<Append>,
    pub lane: Lane,
}

/// What may be under way beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lane {
    /// One of the store's lanes; these conversations (known only when there are several lanes) are in it.
    Shared(Vec<ConversationId>),
    /// A conversation that another node holds.
    Own(ConversationId),
}

/// Appends that wait for a commit, in arrival order.
pub struct Waiting {
    /// As many batches at once of either kind.
    lanes: usize,
    shared: usize,
    own: usize,
    queue: VecDeque<Waits>,
    /// Conversations with batches of their own.
    hot: HashMap<ConversationId, VecDeque<Waits>>,
    under_way: HashSet<ConversationId>,
    len: usize,
}

impl Waiting {
    pub fn new(lanes: usize) -> Self {
        let (queue, hot, under_way) = (VecDeque::new(), HashMap::new(), HashSet::new());
        Self { lanes, shared: 0, own: 0, queue, hot, under_way, len: 0 }
    }

    /// Queues one; false when the bound is reached.
    #[must_use]
    pub fn push(&mut self, to: ReturnAddress, append: Append) -> bool {
        if self.len >= WAITING_MAX {
            return false;
        }
        self.len += 1;
        match self.hot.get_mut(&append.conversation) {
            Some(own) => own.push_back((to, append)),
            None => self.queue.push_back((to, append)),
        }
        true
    }

    /// The next batch that may be under way now.
    pub fn next(&mut self) -> Option<Batch> {
        let batch = self.next_own().or_else(|| self.next_shared())?;
        self.len -= batch.appends.len();
        Some(batch)
    }

    fn next_own(&mut self) -> Option<Batch> {
        if self.own >= self.lanes {
            return None;
        }
        let ready = |(c, queue): &(&ConversationId, &mut VecDeque<Waits>)| {
            !queue.is_empty() && !self.under_way.contains(*c)
        };
        let (conversation, queue) = self.hot.iter_mut().find(ready)?;
        let (to, appends) = queue.drain(..queue.len().min(BATCH_MAX)).unzip();
        self.own += 1;
        self.under_way.insert(*conversation);
        Some(Batch { to, appends, lane: Lane::Own(*conversation) })
    }

    fn next_shared(&mut self) -> Option<Batch> {
        if self.shared >= self.lanes || self.queue.is_empty() {
            return None;
        }
        let (to, appends): (Vec<_>, Vec<_>) = match self.under_way.is_empty() {
            true => self.queue.drain(..self.queue.len().min(BATCH_MAX)).unzip(),
            false => self.take_idle().into_iter().unzip(),
        };
        if appends.is_empty() {
            return None;
        }
        self.shared += 1;
        let mut inside = Vec::new();
        if self.lanes > 1 {
            inside.extend(appends.iter().map(|a| a.conversation).filter(|c| self.under_way.insert(*c)));
        }
        Some(Batch { to, appends, lane: Lane::Shared(inside) })
    }

    /// The oldest of conversations that are not under way; the others keep their places.
    fn take_idle(&mut self) -> Vec<Waits> {
        let (mut taken, mut passed) = (Vec::new(), Vec::new());
        while taken.len() < BATCH_MAX
            && let Some(waits) = self.queue.pop_front()
        {
            let into = if self.under_way.contains(&waits.1.conversation) { &mut passed } else { &mut taken };
            into.push(waits);
        }
        for waits in passed.into_iter().rev() {
            self.queue.push_front(waits);
        }
        taken
    }

    /// A batch is no longer under way. Those of `held` were not stored because another node holds their conversation.
    pub fn done(&mut self, lane: Lane, held: Vec<Waits>) {
        match lane {
            Lane::Shared(inside) => {
                self.shared -= 1;
                for conversation in &inside {
                    self.under_way.remove(conversation);
                }
            }
            Lane::Own(conversation) => {
                self.own -= 1;
                self.under_way.remove(&conversation);
                if self.hot.get(&conversation).is_some_and(VecDeque::is_empty) {
                    self.hot.remove(&conversation);
                }
            }
        }
        self.heat(held);
    }

    /// Those that were given back go first, then what came for their conversations meanwhile.
    fn heat(&mut self, held: Vec<Waits>) {
        if held.is_empty() {
            return;
        }
        self.len += held.len();
        for waits in held {
            self.hot.entry(waits.1.conversation).or_default().push_back(waits);
        }
        for waits in std::mem::take(&mut self.queue) {
            match self.hot.get_mut(&waits.1.conversation) {
                Some(own) => own.push_back(waits),
                None => self.queue.push_back(waits),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use schema_wire::{DeviceId, PublishKey, UserId};

    fn append(conversation: u8, n: u8) -> Append {
        Append {
            conversation: ConversationId([conversation; 16]),
            publish_key: PublishKey([n; 16]),
            sender: UserId([1; 16]),
            device: DeviceId([1; 16]),
            kind: 0,
            relates_to: None,
            expires_in: None,
            expected_epoch: None,
            notify: 0,
            body: Bytes::new(),
            commitment: None,
        }
    }

    fn put(waiting: &mut Waiting, conversation: u8, n: u8) {
        let to = ReturnAddress { shard: ShardId(0), ticket: Ticket(u64::from(n)) };
        assert!(waiting.push(to, append(conversation, n)));
    }

    fn keys(batch: &Batch) -> Vec<u8> {
        batch.appends.iter().map(|a| a.publish_key.0[0]).collect()
    }

    fn give_back(waiting: &mut Waiting, batch: Batch, conversation: u8) {
        let all = batch.to.into_iter().zip(batch.appends);
        let held = all.filter(|(_, a)| a.conversation.0[0] == conversation).collect();
        waiting.done(batch.lane, held);
    }

    #[test]
    fn one_lane_takes_all_that_waits() {
        let mut waiting = Waiting::new(1);
        put(&mut waiting, 1, 1);
        let first = waiting.next().unwrap();
        put(&mut waiting, 2, 2);
        assert!(waiting.next().is_none(), "one at a time");
        waiting.done(first.lane, Vec::new());
        assert_eq!(keys(&waiting.next().unwrap()), [2]);
    }

    #[test]
    fn a_conversation_is_in_one_batch_at_most() {
        let mut waiting = Waiting::new(3);
        put(&mut waiting, 1, 1);
        let first = waiting.next().unwrap();
        put(&mut waiting, 1, 2);
        put(&mut waiting, 2, 3);
        put(&mut waiting, 1, 4);
        let second = waiting.next().unwrap();
        assert_eq!(keys(&second), [3]);
        assert!(waiting.next().is_none(), "the rest waits for its elders");
        waiting.done(first.lane, Vec::new());
        assert_eq!(keys(&waiting.next().unwrap()), [2, 4]);
    }

    #[test]
    fn what_another_node_holds_waits_in_a_lane_of_its_own_and_in_order() {
        let mut waiting = Waiting::new(2);
        for (conversation, n) in [(1, 1), (2, 2), (1, 3)] {
            put(&mut waiting, conversation, n);
        }
        let batch = waiting.next().unwrap();
        put(&mut waiting, 1, 4);
        put(&mut waiting, 3, 5);
        give_back(&mut waiting, batch, 1);
        let own = waiting.next().unwrap();
        assert_eq!((keys(&own), &own.lane), (vec![1, 3, 4], &Lane::Own(ConversationId([1; 16]))));
        put(&mut waiting, 1, 6);
        let other = waiting.next().unwrap();
        assert_eq!(keys(&other), [5], "nobody else waits for it");
        assert!(waiting.next().is_none());
        waiting.done(own.lane, Vec::new());
        let own = waiting.next().unwrap();
        assert_eq!(keys(&own), [6]);
        waiting.done(own.lane, Vec::new());
        put(&mut waiting, 1, 7);
        assert!(matches!(waiting.next().unwrap().lane, Lane::Shared(_)), "it has cooled down");
    }
}
