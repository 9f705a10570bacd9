//! Ack: the publishing session learns where its message is, or why it is nowhere. Runs on the session's shard, after
//! the commit.

use schema_wire::record::{Appended, StoreFault};
use schema_wire::v1::{PublishAck, server_frame::Body};
use schema_wire::{ConversationId, PublishKey, Refused, SessionId, Step};

use crate::effect::Out;
use crate::message::authorise;
use crate::outward::{No, refuse, send};
use crate::session::{heartbeat, recover};
use crate::state::State;

/// Which publish an outcome is about.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) session: SessionId,
    pub(crate) request: u64,
    pub(crate) conversation: ConversationId,
    pub(crate) publish_key: PublishKey,
}

/// The home said what became of a publish.
pub(crate) fn appended(
    state: &mut State,
    out: &mut Out<'_>,
    about: About,
    outcome: Result<Appended, StoreFault>,
) {
    let now_us = state.now.mono_us;
    let Some(session) = state.sessions.get_mut(&about.session) else { return };
    let since_us = session.publishing.remove(&about.publish_key).map_or(now_us, |p| p.accepted_us);
    match outcome {
        Ok(Appended::Stored { generation, offset, at, .. }) => {
            own(state, about, (generation, offset));
            ack(state, out, about, (generation, offset), at, false);
        }
        Ok(Appended::Duplicate { generation, offset, at }) => {
            ack(state, out, about, (generation, offset), at, true);
        }
        Ok(Appended::Refused { refused, retry_after_ms }) => {
            correct(state, about, refused);
            no(state, out, about, No::from(refused).retry_after_ms(retry_after_ms));
        }
        Err(fault) => {
            let refusal = authorise::no_store(state, fault);
            no(state, out, about, refusal);
        }
    }
    out.measured(Step::Ack, since_us);
    recover::retry_conversation(state, out, about.session, about.conversation);
    heartbeat::drain_when_quiet(state, out, about.session);
}

/// The session must not get this offset as a delivery.
fn own(
    state: &mut State,
    about: About,
    (generation, offset): (schema_wire::Generation, schema_wire::Offset),
) {
    let current = state.generation;
    let feed = state.feeds.get_mut(&about.conversation);
    let Some(subscription) = feed.and_then(|f| f.subscribers.get_mut(&about.session)) else { return };
    // In a newer life of the store somebody else's message may stand there.
    if offset >= subscription.next && generation >= subscription.generation.max(current) {
        subscription.own.insert(offset, generation);
    }
}

fn ack(
    state: &mut State,
    out: &mut Out<'_>,
    about: About,
    (generation, offset): (schema_wire::Generation, schema_wire::Offset),
    at: u64,
    duplicate: bool,
) {
    let body = PublishAck {
        conversation: about.conversation.to_bytes(),
        publish_key: about.publish_key.to_bytes(),
        generation: generation.0,
        offset: offset.0,
        at,
        duplicate,
        ..Default::default()
    };
    send(state, out, about.session, about.request, Body::PublishAck(body));
}

fn no(state: &mut State, out: &mut Out<'_>, about: About, no: No) {
    let no = no.conversation(about.conversation).publish_key(about.publish_key);
    refuse(state, out, about.session, about.request, no);
}

/// The store knew better than the cache.
fn correct(state: &mut State, about: About, refused: Refused) {
    if matches!(refused, Refused::NotMember | Refused::Muted | Refused::NotAllowed) {
        let Some(session) = state.sessions.get(&about.session) else { return };
        state.standings.drop_one(about.conversation, session.user);
    }
}
