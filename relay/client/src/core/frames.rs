//! One server frame: which part of the mind it concerns.

use std::time::Duration;

use schema_wire::v1::server_frame::Body;
use schema_wire::v1::{self, notice};
use schema_wire::{ConversationId, Generation, Offset, Position, PublishKey, Refused, publication::kind};
use tokio::time::Instant;

use crate::core::follow::State;
use crate::core::publish::retry_in;
use crate::core::{Core, some_offset};
use crate::error::{ConnectError, Error, Refusal};
use crate::event::{Delivery, Event, Gone, Item};
use crate::limits;
use crate::request::{Ack, Page, Subscription};

/// A frame that can't be what it says.
fn broken(what: &str) -> ConnectError {
    ConnectError::Protocol(format!("{what} is malformed"))
}

fn conversation(bytes: &[u8]) -> Result<ConversationId, ConnectError> {
    ConversationId::from_slice(bytes).ok_or_else(|| broken("a conversation id"))
}

impl Core {
    /// Handles one frame. `Err`: the link has to go.
    pub(crate) fn frame(&mut self, now: Instant, frame: v1::ServerFrame) -> Result<(), ConnectError> {
        let answers = frame.answers;
        if let Some(session) = &mut self.session {
            session.heard();
        }
        match frame.body {
            Some(Body::Welcome(welcome)) => self.welcomed(now, welcome)?,
            Some(Body::PublishAck(ack)) => self.publish_ack(now, answers, &ack)?,
            Some(Body::Delivery(delivery)) => self.delivery(now, delivery)?,
            Some(Body::Gone(gone)) => {
                self.item(Item::Gone(Gone::from_wire(&gone).ok_or_else(|| broken("a Gone"))?))
            }
            Some(Body::Rewound(rewound)) => self.rewound(&rewound)?,
            Some(Body::UserEvent(event)) => self.user_event(event)?,
            Some(Body::Subscribed(subscribed)) => self.subscribed(answers, &subscribed)?,
            Some(Body::Unsubscribed(unsubscribed)) => self.unsubscribed(answers, &unsubscribed)?,
            Some(Body::HistoryPage(page)) => self.history_page(answers, page)?,
            Some(Body::CursorEvent(event)) => self.passing(Event::Cursor(event)),
            Some(Body::TypingEvent(event)) => self.passing(Event::Typing(event)),
            Some(Body::PresenceEvent(event)) => self.passing(Event::Presence(event)),
            Some(Body::SignalEvent(event)) => self.signal(event)?,
            Some(Body::Refreshed(refreshed)) => self.refreshed(now, answers, &refreshed),
            Some(Body::Notice(v1::Notice { notice: Some(notice), .. })) => self.notice(now, notice),
            Some(Body::Refusal(refusal)) => self.refusal(now, answers, &refusal)?,
            Some(Body::Done(_)) => drop(self.calls.done(answers)),
            // A Pong has done its work by being heard; a body of a later version is not for us.
            Some(Body::Pong(_) | Body::Notice(_)) | None => {}
        }
        self.pump(now);
        Ok(())
    }

    fn publish_ack(&mut self, now: Instant, answers: u64, ack: &v1::PublishAck) -> Result<(), ConnectError> {
        let ack = Ack {
            conversation: conversation(&ack.conversation)?,
            position: Position { generation: Generation(ack.generation), offset: Offset(ack.offset) },
            publish_key: PublishKey::from_slice(&ack.publish_key).ok_or_else(|| broken("a publish key"))?,
            at: ack.at,
            duplicate: ack.duplicate,
        };
        if ack.position.offset == Offset(0) {
            return Err(broken("a PublishAck"));
        }
        if let Some(body) = self.publishes.acked(now, answers, ack) {
            self.own(ack, body);
        }
        Ok(())
    }

    /// An own message takes its place among the deliveries: the relay does not send it back to its publisher.
    fn own(&mut self, ack: Ack, body: v1::client_frame::Body) {
        let Some(session) = &self.session else { return };
        let mut delivery = Delivery {
            conversation: ack.conversation,
            position: ack.position,
            kind: kind::RING,
            sender: session.user,
            device: session.device,
            at: ack.at,
            relates_to: None,
            expires_at: None,
            stamp: None,
            body: Default::default(),
            publish_key: ack.publish_key,
            own: true,
        };
        match body {
            v1::client_frame::Body::Publish(p) => {
                delivery.kind = p.kind;
                delivery.relates_to = p.relates_to.map(Offset);
                delivery.expires_at = p.expires_in.map(|s| ack.at.saturating_add(u64::from(s) * 1_000));
                delivery.body = p.body;
            }
            v1::client_frame::Body::Ring(r) => delivery.body = r.body,
            _ => return,
        }
        self.item(Item::Delivery(delivery));
    }

    fn delivery(&mut self, now: Instant, delivery: v1::Delivery) -> Result<(), ConnectError> {
        let mut delivery = Delivery::from_wire(delivery).ok_or_else(|| broken("a Delivery"))?;
        if self.session.as_ref().is_some_and(|s| s.device == delivery.device) {
            let ack = Ack {
                conversation: delivery.conversation,
                position: delivery.position,
                publish_key: delivery.publish_key,
                at: delivery.at,
                duplicate: true,
            };
            // Known by its key although its ack was lost with an earlier connection.
            delivery.own = self.publishes.seen(now, ack);
        }
        self.item(Item::Delivery(delivery));
        Ok(())
    }

    fn item(&mut self, item: Item) {
        let conversation = match &item {
            Item::Delivery(d) => d.conversation,
            Item::Gone(g) => g.conversation,
        };
        self.renewed(conversation, item.generation());
        let Some(follow) = self.follows.get_mut(&conversation) else { return };
        match follow.outlived(&item) {
            Some(position) => {
                self.publishes.rewound(conversation, position.generation, position.offset);
            }
            None => follow.accept(item, &mut self.events),
        }
    }

    /// A frame of the conversation names a life of the store: own messages that a newer one may lack are published again.
    fn renewed(&mut self, conversation: ConversationId, generation: Generation) {
        let follow = self.follows.get_mut(&conversation);
        if let Some(offset) = follow.and_then(|follow| follow.renewed(generation)) {
            self.publishes.rewound(conversation, generation, offset);
        }
    }

    fn rewound(&mut self, rewound: &v1::Rewound) -> Result<(), ConnectError> {
        let (generation, head) = (Generation(rewound.generation), Offset(rewound.head));
        if rewound.conversation.is_empty() {
            self.user = Some(Position { generation, offset: head });
            self.events.push_back(Event::UserRewound { generation, head });
            return Ok(());
        }
        let conversation = conversation(&rewound.conversation)?;
        let Some(follow) = self.follows.get_mut(&conversation) else { return Ok(()) };
        self.events.push_back(Event::Rewound { conversation, generation, head });
        self.publishes.rewound(conversation, generation, head);
        follow.rewound(generation, head, &mut self.events);
        Ok(())
    }

    fn user_event(&mut self, event: v1::UserEvent) -> Result<(), ConnectError> {
        let position = Position { generation: Generation(event.generation), offset: Offset(event.offset) };
        let last =
            self.user.unwrap_or(Position { offset: Offset(position.offset.0.saturating_sub(1)), ..position });
        if position.offset <= last.offset {
            return Ok(());
        }
        if position.offset != last.offset.next() {
            return Err(ConnectError::Protocol("the user's own stream has a hole".to_owned()));
        }
        self.user = Some(Position { generation: last.generation.max(position.generation), ..position });
        self.events.push_back(Event::UserEvent(event));
        Ok(())
    }

    fn subscribed(&mut self, answers: u64, subscribed: &v1::Subscribed) -> Result<(), ConnectError> {
        let conversation = conversation(&subscribed.conversation)?;
        let asks =
            |state: &State| matches!(state, State::Asked(request) if *request == answers || answers == 0);
        if !self.follows.get(&conversation).is_some_and(|follow| asks(&follow.state)) {
            return Ok(());
        }
        let subscription = Subscription {
            generation: Generation(subscribed.generation),
            head: Offset(subscribed.head),
            first: Offset(subscribed.first),
            epoch: subscribed.epoch,
            cursor: Offset(subscribed.cursor),
        };
        self.renewed(conversation, subscription.generation);
        if let Some(follow) = self.follows.get_mut(&conversation) {
            follow.subscribed(subscription, &mut self.events);
        }
        for (ack, body) in self.publishes.acked_here(conversation) {
            self.own(ack, body);
        }
        Ok(())
    }

    fn unsubscribed(&mut self, answers: u64, unsubscribed: &v1::Unsubscribed) -> Result<(), ConnectError> {
        let conversation = conversation(&unsubscribed.conversation)?;
        if answers != 0 && self.calls.done(answers) {
            return Ok(());
        }
        // The answer to a Subscribe that was given up says nothing about the one that came after it.
        let ends = |state: &State| answers == 0 || *state == State::Asked(answers);
        if self.follows.get(&conversation).is_some_and(|follow| ends(&follow.state)) {
            self.follows.remove(&conversation);
            let refusal = Refused::from_code(unsubscribed.code).map(Refusal::of);
            self.events.push_back(Event::Unsubscribed { conversation, refusal });
        }
        Ok(())
    }

    fn history_page(&mut self, answers: u64, page: v1::HistoryPage) -> Result<(), ConnectError> {
        let items: Option<Vec<Item>> = page.items.into_iter().map(Item::from_wire).collect();
        let items = items.ok_or_else(|| broken("a history item"))?;
        let id = conversation(&page.conversation)?;
        if self.follows.get(&id).is_some_and(|f| f.state == State::Paging(answers)) {
            self.renewed(id, Generation(page.generation));
        }
        if let Some(follow) = self.follows.get_mut(&id).filter(|f| f.state == State::Paging(answers)) {
            follow.page(items, Offset(page.head), page.next != 0, &mut self.events);
            return Ok(());
        }
        let generation = Generation(page.generation);
        let page = Page { generation, items, head: Offset(page.head), next: some_offset(page.next) };
        self.calls.page(answers, page);
        Ok(())
    }

    /// What is still on its way when the program stops following is not for it any more.
    fn signal(&mut self, event: v1::SignalEvent) -> Result<(), ConnectError> {
        if self.follows.contains_key(&conversation(&event.conversation)?) {
            self.passing(Event::Signal(event));
        }
        Ok(())
    }

    /// Ephemeral: dropped when the program is slow to read.
    fn passing(&mut self, event: Event) {
        if self.events.len() < limits::EVENTS_EPHEMERAL {
            self.events.push_back(event);
        }
    }

    fn refreshed(&mut self, now: Instant, answers: u64, refreshed: &v1::Refreshed) {
        let Some(session) = &mut self.session else { return };
        if session.refreshing == Some(answers) {
            let left = session.left(now, refreshed.token_expires_at);
            session.token_holds(now, left);
        }
    }

    fn notice(&mut self, now: Instant, notice: notice::Notice) {
        if let (notice::Notice::Draining(draining), Some(session)) = (&notice, &mut self.session) {
            session.leave_after(now, Duration::from_millis(draining.reconnect_after_ms.into()));
            session.alternate = Some(draining.alternate.clone()).filter(|a| !a.is_empty());
        }
        self.events.push_back(Event::Notice(notice));
    }

    fn refusal(&mut self, now: Instant, answers: u64, wire: &v1::Refusal) -> Result<(), ConnectError> {
        let refusal = Refusal::from_wire(wire);
        let Some(session) = &mut self.session else { return Ok(()) };
        let about = ConversationId::from_slice(&wire.conversation);
        if !session.welcomed && (answers == session.hello || answers == 0) && about.is_none() {
            return Err(ConnectError::Refused(refusal));
        }
        if session.refreshing == Some(answers) {
            return Err(ConnectError::Refused(refusal));
        }
        if refusal.refused() == Some(Refused::Draining) {
            session.leave_after(now, limits::LEAVE);
        }
        if self.calls.refused(answers, &refusal) {
            return Ok(());
        }
        let key = PublishKey::from_slice(&wire.publish_key);
        if !self.publishes.refused(now, answers, key, refusal.clone()) {
            self.follow_refused(now, answers, about, refusal);
        }
        Ok(())
    }

    fn follow_refused(
        &mut self,
        now: Instant,
        answers: u64,
        about: Option<ConversationId>,
        refusal: Refusal,
    ) {
        let asked = |id: &ConversationId, state: State| match state {
            State::Asked(request) => request == answers && about.is_none_or(|a| a == *id),
            State::Paging(request) => request == answers && request != 0,
            _ => false,
        };
        let Some(id) = self.follows.iter().find(|(id, f)| asked(id, f.state)).map(|(id, _)| *id) else {
            return;
        };
        let follow = self.follows.get_mut(&id).expect("found just now");
        if refusal.refused() == Some(Refused::TooFarBehind) {
            follow.state = State::Paging(0);
        } else if let Some(delay) = retry_in(&refusal) {
            follow.state = State::Delayed(now + delay);
        } else {
            let follow = self.follows.remove(&id).expect("found just now");
            match follow.reply {
                Some(reply) => drop(reply.send(Err(Error::Refused(refusal)))),
                None => {
                    self.events.push_back(Event::Unsubscribed { conversation: id, refusal: Some(refusal) })
                }
            }
        }
    }
}
