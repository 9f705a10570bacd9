//! One followed conversation: puts deliveries, own acks and gaps in order, each offset once, and decides when to
//! subscribe again or to fetch pages.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use schema_wire::{ConversationId, Generation, Offset, Position, v1};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::Error;
use crate::event::{Event, Item};
use crate::limits;
use crate::request::{After, Subscription};

/// Where the result of a subscribe goes.
pub(crate) type SubscribeReply = oneshot::Sender<Result<Subscription, Error>>;

/// How far the subscription is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// To be asked for.
    Wanted,
    /// Asked for; the request that will be answered (Hello's for a resume).
    Asked(u64),
    /// Too far behind: pages are fetched, this request is under way (0: the next one is due).
    Paging(u64),
    /// Refused for now.
    Delayed(Instant),
    /// Subscribed.
    Live,
}

/// A followed conversation.
#[derive(Debug)]
pub(crate) struct Follow {
    pub state: State,
    pub reply: Option<SubscribeReply>,
    position: Option<Position>,
    early: BTreeMap<Offset, Item>,
    early_bytes: usize,
    /// Newest offset known to exist.
    head: Offset,
    stalled: Option<Instant>,
    patience: Duration,
}

impl Follow {
    pub(crate) fn new(after: After, reply: Option<SubscribeReply>) -> Self {
        let position = match after {
            After::Start => Some(Position::default()),
            After::Now => None,
            After::Position(p) => Some(p),
        };
        Self {
            state: State::Wanted,
            reply,
            position,
            early: BTreeMap::new(),
            early_bytes: 0,
            head: Offset(0),
            stalled: None,
            patience: limits::GAP,
        }
    }

    /// What has reached the program; `None` before a subscription "from now on" is answered.
    pub(crate) fn position(&self) -> Option<Position> {
        self.position
    }

    /// The request that asks for everything after the position.
    pub(crate) fn subscribe(&self, conversation: ConversationId) -> v1::Subscribe {
        v1::Subscribe {
            conversation: conversation.to_bytes(),
            after: self.position.map(to_wire).into(),
            ..Default::default()
        }
    }

    /// First offset of the next page.
    pub(crate) fn next(&self) -> Offset {
        self.position.unwrap_or_default().offset.next()
    }

    /// The relay follows for us from here on.
    pub(crate) fn subscribed(&mut self, subscription: Subscription, events: &mut VecDeque<Event>) {
        let at_head = Position { generation: subscription.generation, offset: subscription.head };
        let position = self.position.get_or_insert(at_head);
        let before_first = Offset(subscription.first.0.saturating_sub(1));
        position.offset = position.offset.max(before_first);
        position.generation = position.generation.max(subscription.generation);
        self.head = self.head.max(subscription.head);
        self.state = State::Live;
        self.stalled = None;
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(subscription));
        }
        self.drain(events);
    }

    /// The store went back to `head`. The subscription goes on, or its answer follows.
    pub(crate) fn rewound(&mut self, generation: Generation, head: Offset, events: &mut VecDeque<Event>) {
        let offset = self.position.map_or(head, |p| p.offset.min(head));
        self.position = Some(Position { generation, offset });
        self.early.retain(|_, item| item.generation() >= generation && item.from() > head);
        self.early_bytes = self.early.values().map(size).sum();
        self.head = self.early.last_key_value().map_or(head, |(_, item)| item.to());
        self.drain(events);
    }

    /// The store began a newer life: what an older one put beyond the position is not counted on, told or not. Says where
    /// the position is.
    pub(crate) fn renewed(&mut self, generation: Generation) -> Option<Offset> {
        let position = self.position.filter(|position| generation > position.generation)?;
        self.early.retain(|_, item| item.generation() >= generation);
        self.early_bytes = self.early.values().map(size).sum();
        Some(position.offset)
    }

    /// The life and the place that an ack of an older life lies beyond.
    pub(crate) fn outlived(&self, item: &Item) -> Option<Position> {
        let own = matches!(item, Item::Delivery(delivery) if delivery.own);
        let beyond = |p: &Position| item.generation() < p.generation && item.from() > p.offset;
        self.position.filter(|position| own && beyond(position))
    }

    /// A delivery, a gap that the relay names, or an own message's ack.
    pub(crate) fn accept(&mut self, item: Item, events: &mut VecDeque<Event>) {
        self.head = self.head.max(item.to());
        let Some(position) = self.position else { return self.keep(item) };
        let next = position.offset.next();
        if item.from() > next {
            self.keep(item);
        } else if item.to() >= next {
            self.take(item, events);
            self.drain(events);
        } else if item.generation() > position.generation && matches!(item, Item::Delivery(_)) {
            // Another message where one already was: the store went back, and its notice is still on the way.
            if self.state == State::Live {
                self.state = State::Wanted;
            }
            self.keep(item);
        } else if matches!(item, Item::Gone(_)) {
            events.push_back(item.into());
        }
    }

    /// A page of history that begins where the position ends.
    pub(crate) fn page(&mut self, items: Vec<Item>, head: Offset, more: bool, events: &mut VecDeque<Event>) {
        self.head = self.head.max(head);
        let advanced = !items.is_empty();
        for item in items {
            if item.to() >= self.next() {
                self.take(item, events);
            }
        }
        self.drain(events);
        self.state = if more && advanced { State::Paging(0) } else { State::Wanted };
    }

    /// The connection is gone.
    pub(crate) fn link_lost(&mut self) {
        self.state = State::Wanted;
        self.stalled = None;
        self.early.clear();
        self.early_bytes = 0;
    }

    /// Whether something is missing that should have come.
    fn behind(&self) -> bool {
        self.state == State::Live && self.position.is_some_and(|p| p.offset < self.head)
    }

    /// The program was slow to read: what is missing may lie in the queue.
    pub(crate) fn forgive(&mut self) {
        self.stalled = None;
    }

    /// Starts, ends or obeys the wait for what is missing; returns when to look again.
    pub(crate) fn watch_gap(&mut self, now: Instant) -> Option<Instant> {
        if let State::Delayed(until) = self.state {
            if until > now {
                return Some(until);
            }
            self.state = State::Wanted;
            return Some(now);
        }
        if !self.behind() {
            self.stalled = None;
            return None;
        }
        let due = *self.stalled.get_or_insert(now) + self.patience;
        if due > now {
            return Some(due);
        }
        self.patience = (self.patience * 2).min(limits::GAP_MAX);
        self.stalled = None;
        self.state = State::Wanted;
        Some(now)
    }

    fn take(&mut self, item: Item, events: &mut VecDeque<Event>) {
        let generation = self.position.map_or(item.generation(), |p| p.generation.max(item.generation()));
        self.position = Some(Position { generation, offset: item.to() });
        self.stalled = None;
        self.patience = limits::GAP;
        events.push_back(item.into());
    }

    fn keep(&mut self, item: Item) {
        let bytes = size(&item);
        if self.early.len() >= limits::EARLY || self.early_bytes + bytes > limits::EARLY_BYTES {
            return;
        }
        self.early_bytes += bytes;
        if let Some(old) = self.early.insert(item.from(), item) {
            self.early_bytes -= size(&old);
        }
    }

    fn drain(&mut self, events: &mut VecDeque<Event>) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.position.unwrap_or_default().offset.next() {
                break;
            }
            let item = entry.remove();
            self.early_bytes -= size(&item);
            if item.to() >= self.next() {
                self.take(item, events);
            }
        }
    }
}

fn size(item: &Item) -> usize {
    match item {
        Item::Delivery(d) => 256 + d.body.len(),
        Item::Gone(_) => 256,
    }
}

/// A position as it crosses the wire.
pub(crate) fn to_wire(position: Position) -> v1::Position {
    v1::Position { generation: position.generation.0, offset: position.offset.0, ..Default::default() }
}
