//! Signal: an ephemeral publication with a body of the client's own, from a member, through the home and to the homes of
//! other nodes, to every session that is subscribed at this moment. Encoded once on the sender's shard; neither gathered
//! nor stored, dropped when full.

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use schema_wire::frame::Lane;
use schema_wire::peer::{PeerFrame, Sender};
use schema_wire::v1::{ServerFrame, Signal, SignalEvent, server_frame::Body};
use schema_wire::{ConversationId, Frame, Refused, SessionId};

use crate::effect::{Effect, Out};
use crate::message::{authorise, forward};
use crate::outward::{No, put_ephemeral, refuse};
use crate::planted::Fault;
use crate::session::{membership, typing};
use crate::state::State;
use crate::state::standing::{Right, Waiter};
use crate::state::subscription::{Mode, Subscription};

/// Signals that wait for one standing, or for the members of one conversation, to be looked up; beyond, new ones are
/// dropped.
const WAITING_MAX: usize = 64;

/// A client has something to say that nobody keeps. Answered only when it is too large.
pub(crate) fn signal(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, frame: Signal) {
    let Some(conversation) = ConversationId::from_slice(&frame.conversation) else { return };
    if !typing::may_send(state, id) {
        return;
    }
    let most = state.limits().signal_bytes;
    if frame.body.len() > most {
        let advice = format!("Keep the body of a signal within {most} bytes, or publish it as a message.");
        let no = No::from(Refused::TooLarge).because(&advice).conversation(conversation);
        return refuse(state, out, id, request, no);
    }
    let Some(session) = state.sessions.get(&id) else { return };
    let user = session.user;
    let lookup = state.standings.lookups.get(&(conversation, user));
    if lookup.is_some_and(|lookup| lookup.waiters.len() >= WAITING_MAX) {
        return;
    }
    let waiter = Waiter::Signal { session: id, conversation, body: frame.body };
    authorise::look(state, out, conversation, user, waiter);
}

/// The user is a member.
pub(crate) fn allowed(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    conversation: ConversationId,
    body: Bytes,
    right: Right,
) {
    let muted = right.muted_until.is_some_and(|until| until > state.now.unix_ms);
    let Some(session) = state.sessions.get(&id) else { return };
    if muted {
        return;
    }
    let event = SignalEvent {
        conversation: conversation.to_bytes(),
        sender: session.user.to_bytes(),
        device: session.device.to_bytes(),
        body,
        ..Default::default()
    };
    let frame = ServerFrame { body: Some(Body::SignalEvent(event)), ..Default::default() };
    let frame = Frame::new(&frame, Lane::Conversation(conversation.spread()));
    let sender = Sender { session: id, user: session.user, members_version: right.members_version };
    let home = state.home(conversation);
    if home == out.own {
        pass(state, out, conversation, sender, frame);
    } else {
        out.peer(home, PeerFrame::Signal { conversation, sender, frame });
    }
}

/// On the home: to the other nodes and to each shard that follows. On a following shard, from the home: to its
/// subscribers.
pub(crate) fn pass(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    sender: Sender,
    frame: Frame,
) {
    if state.home(conversation) == out.own {
        forward::signal(state, out, conversation, sender, &frame);
    }
    spread(state, out, conversation, sender, frame);
}

/// To each shard that follows, if this is the home, and to the own subscribers.
pub(crate) fn spread(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    sender: Sender,
    frame: Frame,
) {
    let own = out.own;
    // Only a home has an entry here.
    if let Some(home) = state.homes.get(&conversation) {
        for to in home.followers.iter().filter(|to| **to != own) {
            out.peer(*to, PeerFrame::Signal { conversation, sender, frame: frame.clone() });
        }
    }
    if !hold(state, out, conversation, sender, &frame) {
        deliver(state, out, conversation, sender, &frame);
    }
}

/// Keeps a signal back while the members are not known well enough: who came or left is looked up first.
fn hold(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    sender: Sender,
    frame: &Frame,
) -> bool {
    let unknown_shown = state.planted(Fault::NewcomerNotLookedAt);
    let Some(feed) = state.feeds.get_mut(&conversation) else { return false };
    let behind = feed.members_heard > feed.members_version;
    if !feed.wanted() || !behind && (feed.knows(sender) || unknown_shown) {
        return false;
    }
    if feed.signals.len() < WAITING_MAX {
        feed.signals.push((sender, frame.clone()));
    }
    membership::look(state, out, conversation);
    true
}

/// The members were looked up, or could not be: what is still not to be judged is dropped.
pub(crate) fn resume(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    for (sender, frame) in core::mem::take(&mut feed.signals) {
        deliver(state, out, conversation, sender, &frame);
    }
}

fn deliver(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    sender: Sender,
    frame: &Frame,
) {
    let to_sender = state.planted(Fault::SignalToSender);
    let while_waiting = state.planted(Fault::RequestHeard);
    let unknown_shown = state.planted(Fault::NewcomerNotLookedAt);
    if state.planted(Fault::SignalToStranger) {
        return deliver_to_everybody(state, out, sender.session, frame);
    }
    let State { feeds, sessions, config, .. } = state;
    let Some(feed) = feeds.get(&conversation) else { return };
    let known = feed.members_heard <= feed.members_version && (feed.knows(sender) || unknown_shown);
    if !known || (feed.waiting && !while_waiting) {
        return;
    }
    for (id, subscription) in &feed.subscribers {
        if (*id == sender.session && !to_sender) || !is_open(subscription) {
            continue;
        }
        let Some(session) = sessions.get_mut(id) else { continue };
        if !session.apart.from(sender.user) && session.outbox.push_ephemeral(frame.clone(), &config.limits) {
            out.push(Effect::Transmit { session: *id });
        }
    }
}

/// For a planted fault.
fn deliver_to_everybody(state: &mut State, out: &mut Out<'_>, from: SessionId, frame: &Frame) {
    let mut all: Vec<SessionId> = state.sessions.keys().copied().collect();
    all.sort_unstable();
    for id in all.into_iter().filter(|id| *id != from) {
        put_ephemeral(state, out, id, frame.clone());
    }
}

/// Whether its user is a member as far as this shard knows. Who left may still be owed messages, but no signals.
fn is_open(subscription: &Subscription) -> bool {
    subscription.mode != Mode::Checking && subscription.last.is_none()
}
