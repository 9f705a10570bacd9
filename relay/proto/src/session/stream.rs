//! Stream: the user's own durable events reach each device in order, from the position it named.

use schema_wire::frame::Lane;
use schema_wire::record::{Attachment, StoreFault, StoreRequest, UserEventPage};
use schema_wire::v1::{ServerFrame, server_frame::Body};
use schema_wire::{Frame, Offset, Position, SessionId, UserId};

use crate::effect::{Effect, Out};
use crate::node::join;
use crate::outward::{ask, send};
use crate::planted::Fault;
use crate::session::recover;
use crate::state::State;
use crate::state::session::{Behind, Stream};
use crate::state::ticket::Pending;

/// Where the device's stream begins.
pub(crate) fn begin(stream: &mut Stream, position: Option<Position>, attachment: &Attachment) {
    stream.head = stream.head.max(attachment.user_head);
    match position {
        Some(position) => {
            stream.next = position.offset.next();
            stream.generation = position.generation;
            stream.unsure =
                position.generation != attachment.generation || position.offset > attachment.user_head;
        }
        None => {
            stream.next = attachment.user_head.next();
            stream.generation = attachment.generation;
        }
    }
}

/// The user's stream grew.
pub(crate) fn grew(state: &mut State, out: &mut Out<'_>, user: UserId, head: Offset) {
    for id in state.sessions_of(user) {
        if let Some(session) = state.sessions.get_mut(&id) {
            session.stream.head = session.stream.head.max(head);
        }
        queue(state, out, id);
    }
}

/// Puts the stream into the session's line of what is behind.
pub(crate) fn queue(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    line_up(state, id);
    recover::pump(state, out, id);
}

fn line_up(state: &mut State, id: SessionId) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.attached() && !session.stream.queued && !session.stream.reading {
        session.stream.queued = true;
        session.behind.push_back(Behind::Stream);
    }
}

/// Asks for the next page if there is something to get.
pub(crate) fn step(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    let limit = state.limits().page;
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let stream = &mut session.stream;
    stream.queued = false;
    if stream.reading || (stream.next > stream.head && !stream.unsure) {
        return;
    }
    stream.reading = true;
    session.reads += 1;
    let after = Position { generation: stream.generation, offset: Offset(stream.next.0 - 1) };
    let request = StoreRequest::UserEvents { user: session.user, after, limit };
    ask(state, out, Pending::UserEvents { session: id }, request);
}

/// The store answered with a page of the stream.
pub(crate) fn page(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    page: Result<UserEventPage, StoreFault>,
) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    session.reads -= 1;
    session.stream.reading = false;
    let Ok(page) = page else {
        line_up(state, id);
        return recover::rest(state, id);
    };
    let UserEventPage { generation, head, events, rewound } = page;
    // It may have grown while the page was on its way; in another life of the store only a further look tells.
    let same_life = session.stream.generation == generation;
    session.stream.generation = generation;
    session.stream.unsure = !same_life;
    session.stream.head = if same_life { session.stream.head.max(head) } else { head };
    if let Some(cut) = rewound.filter(|_| !state.planted(Fault::RewoundNotTold)) {
        if let Some(session) = state.sessions.get_mut(&id) {
            session.stream.next = cut.next();
        }
        send(state, out, id, 0, recover::rewound_body(None, generation, cut));
    } else {
        take(state, out, id, events);
    }
    join::generation_seen(state, out, generation);
    queue(state, out, id);
}

/// Passes events on while there is room; the rest is read again.
fn take(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    events: alloc::vec::Vec<schema_wire::v1::UserEvent>,
) {
    let (repeated, skipped) =
        (state.planted(Fault::UserEventRepeated), state.planted(Fault::UserEventSkipped));
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let was_empty = session.outbox.is_empty();
    let count = events.len();
    for (index, event) in events.into_iter().enumerate() {
        let offset = Offset(event.offset);
        if offset < session.stream.next || !session.outbox.has_room(&state.config.limits) {
            continue;
        }
        session.stream.next = offset.next();
        if skipped && index > 0 && index + 1 == count {
            continue;
        }
        let frame = ServerFrame { body: Some(Body::UserEvent(event)), ..Default::default() };
        let frame = Frame::new(&frame, Lane::Control);
        if repeated && session.outbox.has_room(&state.config.limits) {
            session.outbox.fill(frame.clone());
        }
        session.outbox.fill(frame);
    }
    if was_empty && !session.outbox.is_empty() {
        out.push(Effect::Transmit { session: id });
    }
}
