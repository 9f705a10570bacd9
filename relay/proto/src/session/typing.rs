//! Typing and shared cursors: ephemeral, from members, through the home and to the homes of other nodes, to the shards
//! that follow, to the sessions that watch. Gathered before they go out; in large conversations only counts do.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;
use schema_wire::frame::Lane;
use schema_wire::peer::{Ephemeral, PeerFrame, Sender};
use schema_wire::v1::{CursorEvent, ServerFrame, Typing, TypingEvent, server_frame::Body};
use schema_wire::{ConversationId, Frame, Offset, SessionId, UserId};

use crate::effect::Out;
use crate::message::{authorise, forward};
use crate::outward::{put_ephemeral, put_ephemeral_of};
use crate::planted::Fault;
use crate::session::membership;
use crate::state::State;
use crate::state::conversation::Gathered;
use crate::state::standing::{Right, Waiter};
use crate::state::timer::Timer;

const SECOND_US: u64 = 1_000_000;
/// Ephemeral events gathered per conversation; beyond, new ones are dropped.
const GATHERED_MAX: usize = 1_024;

/// Somebody types, or stopped. Never answered.
pub(crate) fn typing(state: &mut State, out: &mut Out<'_>, id: SessionId, frame: &Typing) {
    let Some(conversation) = ConversationId::from_slice(&frame.conversation) else { return };
    if !state.limits().typing || !may_send(state, id) {
        return;
    }
    let Some(session) = state.sessions.get(&id) else { return };
    let user = session.user;
    let waiter = Waiter::Typing { session: id, conversation, active: frame.active };
    authorise::look(state, out, conversation, user, waiter);
}

/// Whether the session may send another ephemeral event this second.
pub(crate) fn may_send(state: &mut State, id: SessionId) -> bool {
    let (now_us, most) = (state.now.mono_us, state.limits().ephemeral_per_s);
    state.sessions.get_mut(&id).is_some_and(|s| s.ephemerals.count(now_us, SECOND_US, most))
}

/// The user is a member.
pub(crate) fn allowed(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    conversation: ConversationId,
    active: bool,
    right: Right,
) {
    let muted = right.muted_until.is_some_and(|until| until > state.now.unix_ms);
    let Some(session) = state.sessions.get(&id) else { return };
    if muted {
        return;
    }
    let event = Ephemeral::Typing { active };
    let sender = Sender { session: id, user: session.user, members_version: right.members_version };
    let frame = PeerFrame::Ephemeral { conversation, sender, event };
    out.peer(state.home(conversation), frame);
}

/// On the home, from another node.
pub(crate) fn elsewhere(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    gathered: Gathered,
) {
    let limits = state.limits();
    let wanted = match gathered.event {
        Ephemeral::Typing { .. } => limits.typing,
        Ephemeral::Cursor { .. } => limits.receipts,
    };
    if wanted {
        spread(state, out, conversation, gathered);
        gather(state, out, conversation, gathered);
    }
}

/// On the home, from a session's shard: to all that follow, here and on other nodes. On a following shard, from the
/// home: gathered.
pub(crate) fn ephemeral(
    state: &mut State,
    out: &mut Out<'_>,
    from_shard: schema_wire::ShardId,
    conversation: ConversationId,
    gathered: Gathered,
) {
    let is_home = state.home(conversation) == state.config.shard;
    if is_home {
        forward::ephemeral(state, out, conversation, gathered.sender, gathered.event);
    }
    spread(state, out, conversation, gathered);
    if is_home || from_shard == state.home(conversation) {
        gather(state, out, conversation, gathered);
    }
}

/// From the home to the other shards that follow.
fn spread(state: &State, out: &mut Out<'_>, conversation: ConversationId, gathered: Gathered) {
    let own = state.config.shard;
    if let Some(home) = state.homes.get(&conversation) {
        for to in home.followers.iter().filter(|to| **to != own) {
            let Gathered { sender, event } = gathered;
            out.peer(*to, PeerFrame::Ephemeral { conversation, sender, event });
        }
    }
}

fn gather(state: &mut State, out: &mut Out<'_>, conversation: ConversationId, new: Gathered) {
    let everybody = state.planted(Fault::TypingToEverybody);
    let shown_back = state.planted(Fault::CursorShownBack);
    let at = state.after_ms(state.limits().coalesce_ms);
    let individual = state.limits().individual_members as usize;
    let shown = state.planted(Fault::RequestHeard);
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    if feed.waiting && !shown {
        return;
    }
    if feed.watchers.is_empty() && !everybody {
        return;
    }
    if let Ephemeral::Cursor { offset } = new.event {
        let furthest = feed.shared_cursors.entry(new.sender.user).or_default();
        if *furthest >= offset && !shown_back {
            return;
        }
        *furthest = offset.max(*furthest);
        // Above that number of members nobody is named.
        if feed.shared_cursors.len() > individual {
            feed.shared_cursors.pop_first();
        }
    }
    let same = |old: &&mut Gathered| {
        old.sender.user == new.sender.user
            && core::mem::discriminant(&old.event) == core::mem::discriminant(&new.event)
    };
    if let Some(old) = feed.gathered.iter_mut().find(same) {
        *old = newer(*old, new);
        return;
    }
    if feed.gathered.len() >= GATHERED_MAX {
        return;
    }
    if feed.gathered.is_empty() {
        state.timers.set(at, Timer::Coalesce(conversation));
    }
    feed.gathered.push(new);
    if !feed.knows(new.sender) {
        membership::look(state, out, conversation);
    }
}

/// Cursors never go back, typing is what was said last.
fn newer(old: Gathered, new: Gathered) -> Gathered {
    match (old.event, new.event) {
        (Ephemeral::Cursor { offset: a }, Ephemeral::Cursor { offset: b }) if a > b => old,
        _ => new,
    }
}

/// What was gathered goes out to those who watch.
pub(crate) fn flush(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let everybody = state.planted(Fault::TypingToEverybody);
    let unknown_shown = state.planted(Fault::NewcomerNotLookedAt);
    let individual = state.limits().individual_members;
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    let mut gathered = core::mem::take(&mut feed.gathered);
    // Of whoever is still unknown nobody can say who may see it.
    gathered.retain(|g| feed.knows(g.sender) || unknown_shown);
    let counts = feed.member_count > individual;
    let mut to: Vec<SessionId> = feed.watchers.keys().copied().collect();
    if everybody {
        to = state.sessions.keys().copied().collect::<BTreeSet<_>>().into_iter().collect();
    }
    let frames = if counts { counted(conversation, &gathered) } else { single(conversation, &gathered) };
    for (of, frame) in &frames {
        for id in &to {
            match of {
                Some(of) if of.sender.session == *id => {}
                Some(of) => put_ephemeral_of(state, out, *id, of.sender.user, frame.clone()),
                None => put_ephemeral(state, out, *id, frame.clone()),
            }
        }
    }
}

fn single(conversation: ConversationId, gathered: &[Gathered]) -> Vec<(Option<Gathered>, Frame)> {
    let one = |g: &Gathered| {
        let body = match g.event {
            Ephemeral::Typing { active } => typing_body(conversation, Some(g.sender.user), active, 0),
            Ephemeral::Cursor { offset } => cursor_body(conversation, Some(g.sender.user), offset, 0),
        };
        (Some(*g), frame(body))
    };
    gathered.iter().map(one).collect()
}

/// One frame for all who type and one for all who read, with numbers in place of names.
fn counted(conversation: ConversationId, gathered: &[Gathered]) -> Vec<(Option<Gathered>, Frame)> {
    let typing = gathered.iter().filter(|g| g.event == Ephemeral::Typing { active: true }).count();
    let heard = gathered.iter().any(|g| matches!(g.event, Ephemeral::Typing { .. }));
    let moved: Vec<Offset> = gathered
        .iter()
        .filter_map(|g| match g.event {
            Ephemeral::Cursor { offset } => Some(offset),
            Ephemeral::Typing { .. } => None,
        })
        .collect();
    let mut frames = Vec::new();
    if heard {
        let count = u32::try_from(typing).unwrap_or(u32::MAX);
        frames.push((None, frame(typing_body(conversation, None, typing > 0, count))));
    }
    if let Some(offset) = moved.iter().max() {
        let count = u32::try_from(moved.len()).unwrap_or(u32::MAX);
        frames.push((None, frame(cursor_body(conversation, None, *offset, count))));
    }
    frames
}

fn typing_body(conversation: ConversationId, user: Option<UserId>, active: bool, count: u32) -> Body {
    let user = user.map_or_else(Bytes::new, UserId::to_bytes);
    Body::TypingEvent(TypingEvent {
        conversation: conversation.to_bytes(),
        user,
        active,
        count,
        ..Default::default()
    })
}

fn cursor_body(conversation: ConversationId, user: Option<UserId>, offset: Offset, count: u32) -> Body {
    let user = user.map_or_else(Bytes::new, UserId::to_bytes);
    let conversation = conversation.to_bytes();
    Body::CursorEvent(CursorEvent { conversation, user, offset: offset.0, count, ..Default::default() })
}

fn frame(body: Body) -> Frame {
    Frame::new(&ServerFrame { body: Some(body), ..Default::default() }, Lane::Ephemeral)
}
