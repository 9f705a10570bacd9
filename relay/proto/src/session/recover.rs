//! Recover: a subscription that is behind reads pages from the store, goes on from the tail, and becomes live. One
//! page at a time, and only while the outbox has room, so that a slow reader slows only itself.

use schema_wire::frame::Lane;
use schema_wire::publication::{delivery, delivery_frame};
use schema_wire::record::{Entry, Message, Page, Standing, StoreFault, StoreRequest};
use schema_wire::v1::{GoneReason, Rewound, server_frame::Body};
use schema_wire::{ConversationId, Frame, Offset, Position, SessionId};

use crate::effect::{Effect, Out};
use crate::message::deliver::{gone_stretch, own, recent_frame};
use crate::node::join;
use crate::outward::{ask, send_in};
use crate::planted::Fault;
use crate::session::{membership, stream, subscribe};
use crate::state::State;
use crate::state::conversation::{Feed, Recent};
use crate::state::session::{Behind, Session};
use crate::state::subscription::{Mode, Subscription};
use crate::state::ticket::{Check, Pending};
use crate::state::timer::Timer;

/// Puts a subscription into its session's line of those that are behind, and lets the line go on.
pub(crate) fn queue(state: &mut State, out: &mut Out<'_>, id: SessionId, conversation: ConversationId) {
    line_up(state, id, conversation);
    pump(state, out, id);
}

fn line_up(state: &mut State, id: SessionId, conversation: ConversationId) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let feed = state.feeds.get_mut(&conversation);
    let Some(subscription) = feed.and_then(|f| f.subscribers.get_mut(&id)) else { return };
    if !subscription.queued && !subscription.reading {
        subscription.queued = true;
        session.behind.push_back(Behind::Conversation(conversation));
    }
}

/// Something about one conversation of the session may go on, if it waits at all.
pub(crate) fn retry_conversation(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    conversation: ConversationId,
) {
    let feed = state.feeds.get(&conversation);
    let mode = feed.and_then(|f| f.subscribers.get(&id)).map(|s| s.mode);
    if mode.is_some_and(|mode| mode != Mode::Live) {
        queue(state, out, id, conversation);
    }
}

/// The wait after a failed read is over.
pub(crate) fn retry(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    if let Some(session) = state.sessions.get_mut(&id) {
        session.retry_us = None;
    }
    pump(state, out, id);
}

/// Does for a session what it is behind with, as far as outbox and store allow.
pub(crate) fn pump(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    loop {
        let limits = &state.config.limits;
        let Some(session) = state.sessions.get_mut(&id) else { return };
        if session.behind.is_empty() || session.reads >= limits.pages || session.retry_us.is_some() {
            return;
        }
        if !session.outbox.has_room(limits) {
            session.starved = true;
            return;
        }
        match session.behind.pop_front() {
            Some(Behind::Stream) => stream::step(state, out, id),
            Some(Behind::Conversation(conversation)) => step(state, out, id, conversation),
            None => return,
        }
    }
}

/// What a subscription needs next.
enum Need {
    Nothing,
    Room,
    Page(Offset),
    Check(Position),
    Leave,
}

fn step(state: &mut State, out: &mut Out<'_>, id: SessionId, conversation: ConversationId) {
    let now_ms = state.now.unix_ms;
    let planted = state.planted;
    let State { feeds, sessions, config, .. } = state;
    let (Some(feed), Some(session)) = (feeds.get_mut(&conversation), sessions.get_mut(&id)) else { return };
    let Some(mut subscription) = feed.subscribers.remove(&id) else { return };
    subscription.queued = false;
    let was_empty = session.outbox.is_empty();
    let need = {
        let mut walk = Walk { id, conversation, feed, session, now_ms, limits: &config.limits, planted };
        walk.advance(&mut subscription)
    };
    if was_empty && !session.outbox.is_empty() {
        out.push(Effect::Transmit { session: id });
    }
    // What would find no room would be read again.
    let limit = config.limits.page.min(session.outbox.room(&config.limits));
    let (serial, user) = (subscription.serial, subscription.user);
    subscription.reading |= matches!(need, Need::Page(_) | Need::Check(_));
    feed.subscribers.insert(id, subscription);
    match need {
        Need::Nothing => {}
        Need::Leave => subscribe::left(state, out, id, conversation),
        Need::Room => {
            session.starved = true;
            line_up_first(state, id, conversation);
        }
        Need::Page(from) => {
            session.reads += 1;
            let request = StoreRequest::Recover { user, conversation, from, limit, backwards: false };
            ask(state, out, Pending::Page { session: id, conversation, serial }, request);
        }
        Need::Check(position) => {
            session.reads += 1;
            let request = StoreRequest::Standing { user, conversation, after: Some(position) };
            let asked = state.next_serial();
            ask(state, out, Pending::Check(Check { session: id, conversation, serial, asked }), request);
        }
    }
}

fn line_up_first(state: &mut State, id: SessionId, conversation: ConversationId) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let feed = state.feeds.get_mut(&conversation);
    let Some(subscription) = feed.and_then(|f| f.subscribers.get_mut(&id)) else { return };
    subscription.queued = true;
    session.behind.push_front(Behind::Conversation(conversation));
}

/// One subscription on its way to the present.
struct Walk<'a> {
    id: SessionId,
    conversation: ConversationId,
    feed: &'a Feed,
    session: &'a mut Session,
    now_ms: u64,
    limits: &'a crate::limits::Limits,
    planted: Option<Fault>,
}

impl Walk<'_> {
    fn planted(&self, fault: Fault) -> bool {
        cfg!(feature = "planted") && self.planted == Some(fault)
    }

    fn advance(&mut self, subscription: &mut Subscription) -> Need {
        if subscription.mode == Mode::Live || subscription.reading {
            return Need::Nothing;
        }
        if subscription.mode == Mode::Checking {
            // Acked offsets further on may not have survived either.
            let acked = subscription.own.last_key_value().map_or_else(Offset::default, |(offset, _)| *offset);
            let offset = Offset(subscription.next.0 - 1).max(acked);
            return Need::Check(Position { generation: subscription.generation, offset });
        }
        if subscription.finished() && !self.planted(Fault::LeftMemberServed) {
            return Need::Leave;
        }
        // A tail of an older life of the store is not this subscription's past.
        let same_life = self.feed.generation >= subscription.generation;
        let Some(due) = self.feed.due.filter(|_| same_life) else {
            // The home has not answered yet; what the store is known to have can be read meanwhile.
            let known = subscription.next <= subscription.head;
            return if known { Need::Page(subscription.next) } else { Need::Nothing };
        };
        if self.planted(Fault::FollowStartsLate) && subscription.next < due {
            subscription.next = due;
        }
        if subscription.next < due {
            if subscription.next < self.floor(subscription) || subscription.next < self.feed.tail.start() {
                return Need::Page(subscription.next);
            }
            if let Some(need) = self.take_tail(subscription, due) {
                return need;
            }
        }
        subscription.mode = Mode::Live;
        Need::Nothing
    }

    /// Offsets below come from the store alone. Faults of the tail are let loose on those who just came, too.
    fn floor(&self, subscription: &Subscription) -> Offset {
        let trusting = self.planted(Fault::DeletedStaysInTail) || self.planted(Fault::ExpiredServed);
        if trusting { Offset(0) } else { subscription.floor }
    }

    /// Goes on from the tail; `None` when it reached the present.
    fn take_tail(&mut self, subscription: &mut Subscription, due: Offset) -> Option<Need> {
        if self.planted(Fault::TailSkipsOne) && due.0 - subscription.next.0 > 1 {
            subscription.pass(subscription.next);
        }
        while subscription.next < due {
            if subscription.finished() && !self.planted(Fault::LeftMemberServed) {
                return Some(Need::Leave);
            }
            if !self.session.outbox.has_room(self.limits) {
                return Some(Need::Room);
            }
            let offset = subscription.next;
            let now_ms = if self.planted(Fault::ExpiredServed) { 0 } else { self.now_ms };
            let Some(frame) = recent_frame(self.feed, self.conversation, offset, now_ms) else {
                return Some(Need::Page(offset));
            };
            let mine = match self.feed.tail.get(offset) {
                Some(Recent::Publication(p)) => own(self.id, self.session, subscription, p),
                _ => false,
            };
            if !mine || self.planted(Fault::DeliverToOrigin) {
                self.push(frame.clone());
            }
            subscription.pass(offset);
            if self.planted(Fault::TailOffByOne) && subscription.next == due {
                self.push(frame);
            }
        }
        None
    }

    fn push(&mut self, frame: Frame) {
        self.session.outbox.fill(frame);
    }

    /// Takes entries of a page while there is room. What is left over is read again.
    fn take(&mut self, subscription: &mut Subscription, page: Page) {
        let count = page.entries.len();
        for (index, entry) in page.entries.into_iter().enumerate() {
            if self.planted(Fault::RecoverSkipsEntry) && index + 1 == count && count > 1 {
                continue;
            }
            if !self.session.outbox.has_room(self.limits) || subscription.finished() {
                return;
            }
            let taken = match entry {
                Entry::Message(message) => self.take_message(subscription, &message),
                Entry::Gone { from, to, reason } => self.take_gone(subscription, from, to, reason),
            };
            if !taken {
                return;
            }
        }
        if page.next > subscription.next {
            subscription.next = page.next;
        }
    }

    fn take_message(&mut self, subscription: &mut Subscription, message: &Message) -> bool {
        if message.offset < subscription.next {
            return true;
        }
        let own_device = message.sender == self.session.user && message.device == self.session.device;
        if own_device && self.session.publishing.contains_key(&message.publish_key) {
            // The ack will say whether this very session published it.
            return false;
        }
        let expired = message.expires_at.is_some_and(|at| at <= self.now_ms);
        if expired {
            let place = (message.offset, message.offset);
            self.push(gone_stretch(self.conversation, message.generation, place, GoneReason::Expired));
        } else if !subscription.is_own(message.offset, message.generation) {
            self.push(message_frame(message));
        }
        subscription.next = message.offset;
        subscription.pass(message.offset);
        true
    }

    fn take_gone(
        &mut self,
        subscription: &mut Subscription,
        from: Offset,
        to: Offset,
        reason: GoneReason,
    ) -> bool {
        let to = subscription.last.map_or(to, |last| to.min(last));
        if to >= subscription.next {
            let from = from.max(subscription.next);
            self.push(gone_stretch(self.conversation, subscription.generation, (from, to), reason));
            subscription.pass(to);
        }
        true
    }
}

/// A stored message as a delivery.
pub(crate) fn message_delivery(m: &Message) -> schema_wire::v1::Delivery {
    delivery(
        m.conversation,
        m.generation,
        m.offset,
        m.kind,
        (m.sender, m.device),
        m.at,
        (m.relates_to, m.expires_at),
        m.publish_key,
        m.body.clone(),
    )
}

fn message_frame(message: &Message) -> Frame {
    delivery_frame(message_delivery(message))
}

/// The store answered with a page for a subscription.
pub(crate) fn page(
    state: &mut State,
    out: &mut Out<'_>,
    (id, conversation, serial): (SessionId, ConversationId, u64),
    page: Result<Page, StoreFault>,
) {
    if !read_done(state, id, conversation, serial) {
        return pump(state, out, id);
    }
    let Ok(page) = page else { return fail(state, out, id, conversation) };
    join::generation_seen(state, out, page.generation);
    if !page.readable {
        return subscribe::left(state, out, id, conversation);
    }
    let (now_ms, planted) = (state.now.unix_ms, state.planted);
    let State { feeds, sessions, config, .. } = state;
    let (Some(feed), Some(session)) = (feeds.get_mut(&conversation), sessions.get_mut(&id)) else { return };
    let Some(mut subscription) = feed.subscribers.remove(&id) else { return };
    let (was_empty, before) = (session.outbox.is_empty(), subscription.next);
    if page.generation != subscription.generation {
        subscription.mode = Mode::Checking;
    } else if subscription.mode == Mode::Recovering {
        subscription.head = page.head;
        let mut walk = Walk { id, conversation, feed, session, now_ms, limits: &config.limits, planted };
        walk.take(&mut subscription, page);
    }
    if was_empty && !session.outbox.is_empty() {
        out.push(Effect::Transmit { session: id });
    }
    let stuck = subscription.mode == Mode::Recovering && subscription.next == before;
    let room = session.outbox.has_room(&config.limits);
    feed.subscribers.insert(id, subscription);
    if stuck && room {
        // Nothing new yet where something is due: a store that lags, or an ack on its way.
        return fail(state, out, id, conversation);
    }
    queue(state, out, id, conversation);
}

/// A read ended; `false` when the subscription it was for is over.
fn read_done(state: &mut State, id: SessionId, conversation: ConversationId, serial: u64) -> bool {
    if let Some(session) = state.sessions.get_mut(&id) {
        session.reads -= 1;
    }
    let feed = state.feeds.get_mut(&conversation);
    match feed.and_then(|f| f.subscribers.get_mut(&id)) {
        Some(subscription) if subscription.serial == serial => {
            subscription.reading = false;
            true
        }
        _ => false,
    }
}

/// Lines up again, to be tried after a while.
fn fail(state: &mut State, out: &mut Out<'_>, id: SessionId, conversation: ConversationId) {
    line_up(state, id, conversation);
    rest(state, id);
    pump(state, out, id);
}

/// Nothing is read for the session for a while.
pub(crate) fn rest(state: &mut State, id: SessionId) {
    let at = state.after_ms(state.limits().retry_ms);
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.retry_us.is_none() {
        session.retry_us = Some(at);
        state.timers.set(at, Timer::Retry(id));
    }
}

/// The store said whether a subscription's position still exists and what its user is now.
pub(crate) fn checked(
    state: &mut State,
    out: &mut Out<'_>,
    check: Check,
    standing: Result<Option<Standing>, StoreFault>,
) {
    let Check { session: id, conversation, serial, asked } = check;
    if !read_done(state, id, conversation, serial) {
        return pump(state, out, id);
    }
    let Ok(standing) = standing else { return fail(state, out, id, conversation) };
    let Some(standing) = standing.filter(|s| s.role.is_some()) else {
        return subscribe::left(state, out, id, conversation);
    };
    join::generation_seen(state, out, standing.generation);
    if standing.generation < state.generation {
        return fail(state, out, id, conversation);
    }
    let silent = state.planted(Fault::RewoundNotTold);
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    let Some(subscription) = feed.subscribers.get_mut(&id) else { return };
    subscription.mode = Mode::Recovering;
    subscription.generation = standing.generation;
    subscription.head = standing.head;
    subscription.floor = standing.head.next();
    let had = Offset(subscription.next.0 - 1);
    let rewound = standing.rewound.filter(|_| !silent).map(|head| head.min(had));
    if let Some(head) = rewound {
        subscription.next = head.next();
        subscription.own.clear();
        subscription.last = None;
    }
    membership::joined(feed, &standing);
    let bound = state.config.limits.apart;
    if let Some(session) = state.sessions.get_mut(&id) {
        session.apart.found(&standing.apart, asked, bound);
    }
    if let Some(head) = rewound {
        let body = rewound_body(Some(conversation), standing.generation, head);
        send_in(state, out, id, 0, body, Lane::Conversation(conversation.spread()));
    }
    membership::look_if_behind(state, out, conversation);
    queue(state, out, id, conversation);
}

/// The frame that says the store went back. Without a conversation it is about the user's own stream.
pub(crate) fn rewound_body(
    conversation: Option<ConversationId>,
    generation: schema_wire::Generation,
    head: Offset,
) -> Body {
    Body::Rewound(Rewound {
        conversation: conversation.map(ConversationId::to_bytes).unwrap_or_default(),
        generation: generation.0,
        head: head.0,
        ..Default::default()
    })
}
