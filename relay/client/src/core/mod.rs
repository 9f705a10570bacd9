//! The client's mind: commands, frames and time in; frames and events out. No socket and no task in here.
//! Each arm hands over to the file that decides: publishes, calls, one follow per conversation, the session.

pub(crate) mod call;
pub(crate) mod follow;
pub(crate) mod frames;
pub(crate) mod pace;
pub(crate) mod publish;
pub(crate) mod session;

use std::collections::{HashMap, VecDeque};

use schema_wire::v1::{self, client_frame::Body};
use schema_wire::{ConversationId, Offset, Position};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::call::{CallReply, Calls};
use crate::core::follow::{Follow, State, SubscribeReply};
use crate::core::publish::{Outgoing, Publishes};
use crate::core::session::Session;
use crate::error::{Error, Refusal};
use crate::event::Event;
use crate::limits;
use crate::request::{After, PageRequest};

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Publish(Outgoing),
    Subscribe {
        conversation: ConversationId,
        after: After,
        reply: SubscribeReply,
    },
    Unsubscribe {
        conversation: ConversationId,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Call {
        body: Body,
        reply: CallReply,
    },
    /// Replaces the watch list, now and after each reconnect.
    Watch {
        watch: v1::Watch,
        reply: CallReply,
    },
    /// Remembered and said again after each reconnect.
    Presence(v1::PresenceState),
    /// Sent if there is a session, else dropped.
    Ephemeral(Body),
    /// The driver's own: end the session.
    Close(oneshot::Sender<()>),
}

/// Rising request numbers.
#[derive(Debug, Default)]
pub(crate) struct Numbering(u64);

impl Numbering {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What stays the same over all sessions of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub agent: String,
    pub capabilities: Vec<String>,
    /// Last user event the program has.
    pub user_position: Option<Position>,
}

/// Everything the client knows. One call, then drain `out` and `events`, then the next.
#[derive(Debug)]
pub(crate) struct Core {
    /// Frames to send on the current link.
    pub out: VecDeque<v1::ClientFrame>,
    /// Events for the program.
    pub events: VecDeque<Event>,
    identity: Identity,
    numbers: Numbering,
    publishes: Publishes,
    calls: Calls,
    follows: HashMap<ConversationId, Follow>,
    user: Option<Position>,
    watch: Option<v1::Watch>,
    presence: Option<v1::PresenceState>,
    body_bytes: usize,
    frame_bytes: usize,
    page: u32,
    /// Between Hello and the end of the link.
    session: Option<Session>,
    welcomed_before: bool,
}

impl Core {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            out: VecDeque::new(),
            events: VecDeque::new(),
            user: identity.user_position,
            identity,
            numbers: Numbering::default(),
            publishes: Publishes::default(),
            calls: Calls::default(),
            follows: HashMap::new(),
            watch: None,
            presence: None,
            body_bytes: limits::BODY_BYTES,
            frame_bytes: schema_wire::codec::FRAME_BYTES_MAX,
            page: 200,
            session: None,
            welcomed_before: false,
        }
    }

    /// Whether another command may be taken: waiting calls and unsent frames are bounded.
    pub(crate) fn has_room(&self) -> bool {
        self.out.len() < limits::OUTGOING && self.calls.len() < limits::COMMANDS
    }

    /// A handle asks for something. `Close` never gets here.
    pub(crate) fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Publish(publish) => self.publish(publish),
            Command::Subscribe { conversation, after, reply } => self.subscribe(conversation, after, reply),
            Command::Unsubscribe { conversation, reply } => self.unsubscribe(conversation, reply),
            Command::Call { body, reply } => self.calls.push(body, reply),
            Command::Watch { watch, reply } => self.set_watch(watch, reply),
            Command::Presence(state) => self.set_presence(state),
            Command::Ephemeral(body) => self.ephemeral(body),
            Command::Close(done) => drop(done.send(())),
        }
        self.pump(now);
    }

    /// Sends whatever may go out now.
    pub(crate) fn pump(&mut self, now: Instant) {
        let Some(session) = self.session.as_mut().filter(|s| s.welcomed) else { return };
        let out = &mut self.out;
        let mut send = |request, body| out.push_back(frame(request, body));
        if !session.draining() {
            self.publishes.pump(now, &mut self.numbers, &mut send);
        }
        self.calls.pump(&mut self.numbers, &mut send);
        self.pump_follows();
    }

    fn pump_follows(&mut self) {
        let asked = |f: &Follow| matches!(f.state, State::Asked(_) | State::Paging(1..));
        let busy = self.follows.values().filter(|f| asked(f)).count();
        let mut room = limits::SUBSCRIBES_IN_FLIGHT.saturating_sub(busy);
        for (conversation, follow) in &mut self.follows {
            if room == 0 {
                return;
            }
            let request = self.numbers.next();
            let body = match follow.state {
                State::Wanted => Body::from(follow.subscribe(*conversation)),
                State::Paging(0) => Body::from(recover(
                    *conversation,
                    PageRequest { from: follow.next(), limit: self.page, backwards: false },
                )),
                _ => continue,
            };
            let paging = follow.state == State::Paging(0);
            follow.state = if paging { State::Paging(request) } else { State::Asked(request) };
            self.out.push_back(frame(request, body));
            room -= 1;
        }
    }

    fn publish(&mut self, publish: Outgoing) {
        let (body, whole) = match &publish.body {
            Body::Publish(p) => (p.body.len(), p.body.len() + p.targets.len() * 18 + 128),
            Body::Ring(r) => (r.body.len(), r.body.len() + 128),
            _ => (0, 0),
        };
        if body > self.body_bytes || whole > self.frame_bytes {
            let refusal = Refusal::of(schema_wire::Refused::TooLarge);
            publish.reply.into_iter().for_each(|r| drop(r.send(Err(Error::Refused(refusal.clone())))));
            return;
        }
        self.publishes.push(publish);
    }

    fn subscribe(&mut self, conversation: ConversationId, after: After, reply: SubscribeReply) {
        self.follows.insert(conversation, Follow::new(after, Some(reply)));
    }

    fn unsubscribe(&mut self, conversation: ConversationId, reply: oneshot::Sender<Result<(), Error>>) {
        let known = self.follows.remove(&conversation).is_some();
        if !known || self.session.is_none() {
            let _ = reply.send(Ok(()));
            return;
        }
        let body = v1::Unsubscribe { conversation: conversation.to_bytes(), ..Default::default() };
        self.calls.push(body.into(), CallReply::Done(reply));
    }

    fn set_watch(&mut self, watch: v1::Watch, reply: CallReply) {
        self.watch = Some(watch.clone());
        self.calls.push(watch.into(), reply);
    }

    fn set_presence(&mut self, state: v1::PresenceState) {
        self.presence = Some(state);
        self.ephemeral(presence(state));
    }

    fn ephemeral(&mut self, body: Body) {
        let welcomed = self.session.as_ref().is_some_and(|s| s.welcomed);
        if welcomed && self.out.len() < limits::EVENTS_EPHEMERAL {
            self.out.push_back(frame(0, body));
        }
    }

    /// The connection is gone; what was under way waits for the next one.
    pub(crate) fn link_lost(&mut self, now: Instant) {
        self.session = None;
        self.out.clear();
        self.publishes.link_lost(now);
        self.calls.link_lost();
        self.follows.values_mut().for_each(Follow::link_lost);
    }

    /// The program had not read its events for a while, so time spent waiting says nothing about the relay.
    pub(crate) fn unblocked(&mut self) {
        self.follows.values_mut().for_each(Follow::forgive);
        if let Some(session) = &mut self.session {
            session.heard();
        }
    }
}

pub(crate) fn frame(request: u64, body: Body) -> v1::ClientFrame {
    v1::ClientFrame { request, body: Some(body), ..Default::default() }
}

pub(crate) fn presence(state: v1::PresenceState) -> Body {
    v1::Presence { state: state.into(), ..Default::default() }.into()
}

pub(crate) fn recover(conversation: ConversationId, page: PageRequest) -> v1::Recover {
    v1::Recover {
        conversation: conversation.to_bytes(),
        from: page.from.0,
        limit: page.limit,
        backwards: page.backwards,
        ..Default::default()
    }
}

/// `None` for the 0 that stands for "nothing further".
pub(crate) fn some_offset(raw: u64) -> Option<Offset> {
    (raw != 0).then_some(Offset(raw))
}

#[cfg(test)]
mod tests;
