//! How a step speaks to the outside: a frame to a session, a refusal, a question to the store. Decides only when a
//! session has to go because its outbox is full or it keeps sending what is refused.

use alloc::string::String;

use bytes::Bytes;
use schema_wire::frame::Lane;
use schema_wire::record::StoreRequest;
use schema_wire::v1::{self, ServerFrame, server_frame::Body};
use schema_wire::{ConversationId, Disconnect, Frame, PublishKey, Refused, SessionId, UserId};

use crate::effect::{Effect, Out};
use crate::planted::Fault;
use crate::session::detach;
use crate::state::State;
use crate::state::ticket::Pending;

const MINUTE_US: u64 = 60_000_000;

/// Asks the store.
pub(crate) fn ask(state: &mut State, out: &mut Out<'_>, pending: Pending, request: StoreRequest) {
    let ticket = state.tickets.open(pending);
    out.push(Effect::Store { ticket, request });
}

/// Puts an encoded frame that may not be dropped into a session's outbox.
pub(crate) fn put(state: &mut State, out: &mut Out<'_>, id: SessionId, frame: Frame) {
    let unbounded = state.planted(Fault::OutboxUnbounded);
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let pushed = if unbounded {
        Ok(session.outbox.fill(frame))
    } else {
        session.outbox.push(frame, &state.config.limits)
    };
    match pushed {
        Ok(true) => out.push(Effect::Transmit { session: id }),
        Ok(false) => {}
        Err(_) => detach::close(state, out, id, Disconnect::SlowReader),
    }
}

/// Answers a request (0: unasked).
pub(crate) fn send(state: &mut State, out: &mut Out<'_>, id: SessionId, answers: u64, body: Body) {
    send_in(state, out, id, answers, body, Lane::Control);
}

/// Answers on the lane of a conversation, so that it keeps its place among the deliveries.
pub(crate) fn send_in(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    answers: u64,
    body: Body,
    lane: Lane,
) {
    let frame = Frame::new(&ServerFrame { answers, body: Some(body), ..Default::default() }, lane);
    put(state, out, id, frame);
}

/// Puts a frame that may be dropped.
pub(crate) fn put_ephemeral(state: &mut State, out: &mut Out<'_>, id: SessionId, frame: Frame) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.outbox.push_ephemeral(frame, &state.config.limits) {
        out.push(Effect::Transmit { session: id });
    }
}

/// The same of what comes from a user, unless the session is kept apart from them.
pub(crate) fn put_ephemeral_of(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    user: UserId,
    frame: Frame,
) {
    if state.sessions.get(&id).is_some_and(|session| !session.apart.from(user)) {
        put_ephemeral(state, out, id, frame);
    }
}

/// An expected no, before it is told.
#[derive(Clone)]
pub(crate) struct No {
    refused: Refused,
    advice: Option<String>,
    retry_after_ms: u32,
    conversation: Option<ConversationId>,
    publish_key: Option<PublishKey>,
    head: u64,
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        Self { refused, advice: None, retry_after_ms: 0, conversation: None, publish_key: None, head: 0 }
    }
}

impl No {
    /// Says more precisely what to do.
    pub(crate) fn because(mut self, advice: &str) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn retry_after_ms(mut self, ms: u32) -> Self {
        self.retry_after_ms = ms;
        self
    }

    pub(crate) fn conversation(mut self, conversation: ConversationId) -> Self {
        self.conversation = Some(conversation);
        self
    }

    pub(crate) fn publish_key(mut self, key: PublishKey) -> Self {
        self.publish_key = Some(key);
        self
    }

    pub(crate) fn head(mut self, head: u64) -> Self {
        self.head = head;
        self
    }

    /// When to try again. What many publishes are refused for at once is tried again at as many moments, up to the
    /// double, or the store would have them all back at the moment it is back itself.
    fn spread_ms(&self) -> u32 {
        let for_all = matches!(self.refused, Refused::Busy | Refused::StoreUnavailable | Refused::StoreFull);
        let Some(key) = self.publish_key.filter(|_| for_all) else { return self.retry_after_ms };
        let seed = u128::from_be_bytes(key.0) as u64;
        let share = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let more = (u64::from(self.retry_after_ms) * share) >> 32;
        self.retry_after_ms.saturating_add(more as u32)
    }
}

/// Tells a session no, and parts with it when it keeps asking for what is refused.
pub(crate) fn refuse(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, no: impl Into<No>) {
    let no = no.into();
    out.push(Effect::Refused { refused: no.refused });
    let retry_after_ms = no.spread_ms();
    let refusal = v1::Refusal {
        code: no.refused.code(),
        message: no.advice.unwrap_or_else(|| no.refused.advice().into()),
        retry_after_ms,
        conversation: no.conversation.map_or_else(Bytes::new, ConversationId::to_bytes),
        publish_key: no.publish_key.map_or_else(Bytes::new, PublishKey::to_bytes),
        head: no.head,
        ..Default::default()
    };
    send(state, out, id, request, Body::Refusal(refusal));
    let (now_us, most) = (state.now.mono_us, state.limits().refusals_per_min);
    let Some(session) = state.sessions.get_mut(&id) else { return };
    // From 500 on the relay is to blame.
    if no.refused.code() < 500 && !session.refusals.count(now_us, MINUTE_US, most) {
        detach::close(state, out, id, Disconnect::Abusive);
    }
}
