//! Deliver: publications go into the outboxes of this shard's subscribers, each offset once and in order, never to
//! the session that published it and never to somebody who left. Runs on the subscribers' shard.

use alloc::vec::Vec;

use schema_wire::frame::Lane;
use schema_wire::publication::{Shared, kind};
use schema_wire::v1::{Gone, GoneReason, ServerFrame, server_frame::Body};
use schema_wire::{ConversationId, Disconnect, Frame, Generation, Offset, SessionId, Step};

use crate::effect::{Effect, Out};
use crate::limits::Limits;
use crate::planted::Fault;
use crate::session::{detach, membership, recover, subscribe};
use crate::state::State;
use crate::state::conversation::{Feed, Recent};
use crate::state::session::Session;
use crate::state::subscription::{Mode, Subscription};

/// The home says from where on everything will come.
pub(crate) fn following(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    generation: Generation,
    next: Offset,
) {
    crate::node::join::generation_seen(state, out, generation);
    let generation_ignored = state.planted(Fault::GenerationIgnored);
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    let known = feed.due.is_some();
    let renewed = known && feed.generation != generation && !generation_ignored;
    feed.generation = generation;
    feed.due = Some(next);
    feed.tail.restart(next);
    feed.paused.clear();
    let mut behind = Vec::new();
    for (id, subscription) in &mut feed.subscribers {
        if renewed || (subscription.generation < generation && !generation_ignored) {
            subscription.mode = Mode::Checking;
        } else if subscription.mode == Mode::Live && subscription.next < next {
            subscription.mode = Mode::Recovering;
        }
        if subscription.mode != Mode::Live {
            behind.push(*id);
        }
    }
    for id in behind {
        recover::queue(state, out, id, conversation);
    }
}

/// One durable message from the home.
pub(crate) fn publication(state: &mut State, out: &mut Out<'_>, publication: Shared) {
    let conversation = publication.conversation;
    let limits = &state.config.limits;
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    let Some(due) = feed.due else { return };
    let expected = Offset(due.0 + feed.paused.len() as u64);
    if publication.offset != expected && !crate::planted::shuffles(state.planted) {
        if publication.offset > expected {
            subscribe::follow_anew(state, out, conversation);
        }
        return;
    }
    feed.members_heard = feed.members_heard.max(publication.members_version);
    feed.paused.push_back(publication);
    if feed.paused.len() > limits.held_publications {
        // Read again from the store once the members are known.
        subscribe::follow_anew(state, out, conversation);
    }
    resume(state, out, conversation);
}

/// Delivers what waits, until the members have to be looked up.
pub(crate) fn resume(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    loop {
        let ignored = state.planted(Fault::MembersVersionIgnored);
        let Some(feed) = state.feeds.get_mut(&conversation) else { return };
        let Some(publication) = feed.paused.front() else { return };
        if publication.members_version > feed.members_version && !ignored {
            return membership::look(state, out, conversation);
        }
        let Some(publication) = feed.paused.pop_front() else { return };
        deliver(state, out, publication);
    }
}

/// What one live publication meant for a subscriber.
enum Met {
    Nothing,
    Filled,
    Full,
    Behind,
    Left,
}

fn deliver(state: &mut State, out: &mut Out<'_>, publication: Shared) {
    let conversation = publication.conversation;
    let now_ms = state.now.unix_ms;
    let faults = Faults::of(state);
    let State { feeds, sessions, config, .. } = state;
    let Some(feed) = feeds.get_mut(&conversation) else { return };
    let expired = expired(&publication, now_ms) && !faults.expired_served;
    let gone = expired
        .then(|| gone_frame(conversation, publication.generation, publication.offset, GoneReason::Expired));
    let frame = gone.as_ref().unwrap_or(&publication.frame);
    keep(feed, &publication, &config.limits, &faults);
    let mut after = Vec::new();
    for (id, subscription) in &mut feed.subscribers {
        let Some(session) = sessions.get_mut(id) else { continue };
        match meet(*id, subscription, session, &publication, frame, &config.limits, &faults) {
            Met::Nothing => {}
            Met::Filled => out.push(Effect::Transmit { session: *id }),
            met => {
                after.push((*id, met));
                continue;
            }
        }
        if subscription.mode == Mode::Live && subscription.finished() && !faults.left_served {
            after.push((*id, Met::Left));
        }
    }
    for (id, met) in after {
        match met {
            Met::Full => detach::close(state, out, id, Disconnect::SlowReader),
            Met::Left => subscribe::left(state, out, id, conversation),
            _ => recover::queue(state, out, id, conversation),
        }
    }
    out.measured(Step::Deliver, state.now.mono_us);
}

/// The tail and the position of the feed move on.
fn keep(feed: &mut Feed, publication: &Shared, limits: &Limits, faults: &Faults) {
    let deleted =
        publication.relates_to.filter(|_| publication.kind == kind::DELETE && !faults.deleted_stays);
    if let Some(target) = deleted {
        feed.tail.purge(target);
    }
    if feed.due == Some(publication.offset) {
        feed.tail.push(publication.clone(), limits);
        feed.due = Some(publication.offset.next());
    }
}

fn meet(
    id: SessionId,
    subscription: &mut Subscription,
    session: &mut Session,
    publication: &Shared,
    frame: &Frame,
    limits: &Limits,
    faults: &Faults,
) -> Met {
    if subscription.mode != Mode::Live || (publication.offset < subscription.next && !faults.shuffles) {
        return Met::Nothing;
    }
    if subscription.finished() && !faults.left_served {
        return Met::Left;
    }
    if (publication.offset > subscription.next && !faults.shuffles) || publication.offset < subscription.floor
    {
        subscription.mode = Mode::Recovering;
        return Met::Behind;
    }
    let mine = own(id, session, subscription, publication);
    if publication.offset >= subscription.next {
        subscription.next = publication.offset;
        subscription.pass(publication.offset);
    }
    if mine && !faults.to_origin {
        return Met::Nothing;
    }
    let pushed = if faults.unbounded {
        Ok(session.outbox.fill(frame.clone()))
    } else {
        session.outbox.push(frame.clone(), limits)
    };
    match pushed {
        Ok(true) => Met::Filled,
        Ok(false) => Met::Nothing,
        Err(_) => Met::Full,
    }
}

/// Whether the session published it itself and has, or gets, the ack while it follows. An ack that came before the
/// session followed told it nothing about this subscription, so then it is delivered.
pub(crate) fn own(
    id: SessionId,
    session: &Session,
    subscription: &Subscription,
    publication: &Shared,
) -> bool {
    let acking = || session.publishing.contains_key(&publication.publish_key);
    subscription.is_own(publication.offset, publication.generation)
        || (publication.origin == Some(id) && acking())
}

/// The planted faults of this step, asked once per publication.
struct Faults {
    to_origin: bool,
    unbounded: bool,
    expired_served: bool,
    deleted_stays: bool,
    left_served: bool,
    shuffles: bool,
}

impl Faults {
    fn of(state: &State) -> Self {
        Self {
            to_origin: state.planted(Fault::DeliverToOrigin),
            unbounded: state.planted(Fault::OutboxUnbounded),
            expired_served: state.planted(Fault::ExpiredServed),
            deleted_stays: state.planted(Fault::DeletedStaysInTail),
            left_served: state.planted(Fault::LeftMemberServed),
            shuffles: crate::planted::shuffles(state.planted),
        }
    }
}

/// Whether nobody may read it any more.
pub(crate) fn expired(publication: &Shared, now_ms: u64) -> bool {
    publication.expires_at.is_some_and(|at| at <= now_ms)
}

/// The frame that stands for one offset that holds nothing any more.
pub(crate) fn gone_frame(
    conversation: ConversationId,
    generation: Generation,
    offset: Offset,
    reason: GoneReason,
) -> Frame {
    gone_stretch(conversation, generation, (offset, offset), reason)
}

/// The frame for a stretch that holds nothing any more, both ends included.
pub(crate) fn gone_stretch(
    conversation: ConversationId,
    generation: Generation,
    (from, to): (Offset, Offset),
    reason: GoneReason,
) -> Frame {
    let gone = Gone {
        conversation: conversation.to_bytes(),
        generation: generation.0,
        from: from.0,
        to: to.0,
        reason: reason.into(),
        ..Default::default()
    };
    let frame = ServerFrame { body: Some(Body::Gone(gone)), ..Default::default() };
    Frame::new(&frame, Lane::Conversation(conversation.spread()))
}

/// What stands at one place of the tail now.
pub(crate) fn recent_frame(
    feed: &Feed,
    conversation: ConversationId,
    offset: Offset,
    now_ms: u64,
) -> Option<Frame> {
    Some(match feed.tail.get(offset)? {
        Recent::Publication(p) if expired(p, now_ms) => {
            gone_frame(conversation, feed.generation, offset, GoneReason::Expired)
        }
        Recent::Publication(p) => p.frame.clone(),
        Recent::Deleted => gone_frame(conversation, feed.generation, offset, GoneReason::Deleted),
    })
}
