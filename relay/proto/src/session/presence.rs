//! Presence: a user's home shard knows all sessions of the user on this node, closes the older one of a device, and
//! tells those who watch what the user shows. Other nodes are asked as long as somebody watches; what they say holds for
//! one lease, so that a node that is gone takes its users along.

use schema_wire::bus::{Hint, Life, Subject};
use schema_wire::frame::Lane;
use schema_wire::peer::PeerFrame;
use schema_wire::v1::{Presence, PresenceEvent, PresenceState, ServerFrame, server_frame::Body};
use schema_wire::{DeviceId, Disconnect, Frame, SessionId, ShardId, UserId};

use crate::effect::{Effect, Out};
use crate::message::forward;
use crate::outward::put_ephemeral_of;
use crate::planted::Fault;
use crate::session::{share, typing};
use crate::state::State;
use crate::state::timer::Timer;

/// Nodes that a user may show something on; what more say is not kept.
const NODES_MAX: usize = 64;

/// A device says what it shows of itself. Never answered.
pub(crate) fn presence(state: &mut State, out: &mut Out<'_>, id: SessionId, frame: &Presence) {
    let may = typing::may_send(state, id);
    let shown = frame.state.as_known().filter(|s| *s != PresenceState::Unspecified);
    if let Some(shown) = shown {
        take(state, out, id, shown, may);
    }
}

/// It holds until the device says something else, so beyond the limit it waits for the next second: who hides right after
/// many signals does not stay in sight.
fn take(state: &mut State, out: &mut Out<'_>, id: SessionId, shown: PresenceState, may: bool) {
    let dropped = state.planted(Fault::PresenceDropped);
    let Some(session) = state.sessions.get_mut(&id) else { return };
    session.late = (!may && !dropped).then_some(shown);
    if may {
        return tell(state, out, id, Some(shown));
    }
    let at = session.ephemerals.until_us();
    state.timers.set(at, Timer::Presence(id));
}

/// The next second began.
pub(crate) fn late(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    let Some(shown) = state.sessions.get_mut(&id).and_then(|session| session.late.take()) else { return };
    let may = typing::may_send(state, id);
    take(state, out, id, shown, may);
}

/// Tells the presence home about a session of this shard; `None`: it ended.
pub(crate) fn tell(state: &mut State, out: &mut Out<'_>, id: SessionId, shown: Option<PresenceState>) {
    let Some(session) = state.sessions.get(&id) else { return };
    let (user, device) = (session.user, session.device);
    out.peer(state.presence_home(user), PeerFrame::Present { user, device, session: id, state: shown });
}

/// On the presence home: a session of the user began, shows something else, or ended.
pub(crate) fn present(
    state: &mut State,
    out: &mut Out<'_>,
    user: UserId,
    (session, device): (SessionId, DeviceId),
    shown: Option<PresenceState>,
) {
    let keep_older = state.planted(Fault::OlderSessionKept);
    let known = state.present.entry(user).or_default();
    let before = known.shards();
    match shown {
        Some(shown) => {
            let first = known.sessions.insert(session, (device, shown)).is_none();
            let older = known.sessions.iter().find(|(id, (of, _))| first && **id != session && *of == device);
            if let (Some((older, _)), false) = (older, keep_older) {
                out.peer(older.shard(), PeerFrame::Close { session: *older, with: Disconnect::Replaced });
            }
        }
        None => {
            known.sessions.remove(&session);
        }
    }
    let moved = before != known.shards();
    listen(state, out, user);
    announce(state, out, user);
    show(state, out, user);
    if moved {
        share::deal(state, out, user);
    }
    forget_if_idle(state, user);
}

/// Tells the watching shards if what the user shows has changed.
fn show(state: &mut State, out: &mut Out<'_>, user: UserId) {
    show_as_of(state, out, user, state.now.unix_ms);
}

/// `seen_at`: when the user was last seen if what they show now is news.
fn show_as_of(state: &mut State, out: &mut Out<'_>, user: UserId, seen_at: u64) {
    let enabled = state.limits().presence;
    let Some(known) = state.present.get_mut(&user) else { return };
    let hidden = known.state() == PresenceState::Hidden;
    let shown = if hidden { PresenceState::Offline } else { known.state() };
    if shown != PresenceState::Offline || (known.shown != shown && !hidden) {
        known.seen_at = seen_at.max(known.seen_at);
    }
    if hidden {
        known.seen_at = 0;
    }
    if known.shown == shown || !enabled {
        known.shown = shown;
        return;
    }
    known.shown = shown;
    for to in &known.watchers {
        out.peer(*to, PeerFrame::PresenceOf { user, state: shown, seen_at: known.seen_at });
    }
}

/// Listens to what other nodes say of the user as long as it concerns anybody here.
fn listen(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let Some(known) = state.present.get_mut(&user).filter(|_| state.config.peers) else { return };
    let on = known.wants_to_listen();
    if on != known.listens {
        known.listens = on;
        out.push(Effect::Listen { subject: Subject::User(user), on });
    }
}

/// Tells the other nodes if what the user shows on this one has changed.
fn announce(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let Some(known) = state.present.get_mut(&user).filter(|_| state.config.limits.presence) else { return };
    let (before, here) = (known.announced, known.here());
    let nothing = before == PresenceState::Unspecified && here == PresenceState::Offline;
    if before != here && !nothing {
        known.announced = here;
        say(state, out, user);
    }
}

fn say(state: &State, out: &mut Out<'_>, user: UserId) {
    let Some(known) = state.present.get(&user) else { return };
    let (shown, seen_at) = (known.here(), state.now.unix_ms);
    forward::send(state, out, Hint::Presence { user, state: shown, seen_at });
}

/// Asks the other nodes what the user shows there, if anybody watches.
pub(crate) fn ask(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let watched = state.present.get(&user).is_some_and(|known| !known.watchers.is_empty());
    if watched && state.limits().presence && !state.planted(Fault::PresenceNotAsked) {
        forward::send(state, out, Hint::PresenceAsked { user });
    }
}

/// Another node asks.
pub(crate) fn asked(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let present = state.present.get(&user).is_some_and(|known| !known.sessions.is_empty());
    if present && state.limits().presence {
        say(state, out, user);
    }
}

/// Another node says what the user shows there.
pub(crate) fn elsewhere(
    state: &mut State,
    out: &mut Out<'_>,
    user: UserId,
    from: Life,
    shown: PresenceState,
    seen_at: u64,
) {
    let until = state.after_ms(state.limits().lease_ms);
    let Some(known) = state.present.get_mut(&user).filter(|known| !known.watchers.is_empty()) else { return };
    match shown {
        PresenceState::Offline | PresenceState::Unspecified => {
            known.elsewhere.remove(&from);
        }
        _ if known.elsewhere.len() < NODES_MAX || known.elsewhere.contains_key(&from) => {
            known.elsewhere.insert(from, (shown, until));
        }
        _ => return,
    }
    show_as_of(state, out, user, seen_at);
}

/// Leases that ran out lapse, and the others are renewed in time.
pub(crate) fn renew(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let (now_us, ignored) = (state.now.mono_us, state.planted(Fault::LeaseIgnored));
    let Some(known) = state.present.get_mut(&user) else { return };
    known.lease_us = None;
    known.elsewhere.retain(|_, (_, until)| *until > now_us || ignored);
    let seen_at = known.seen_at;
    show_as_of(state, out, user, seen_at);
    ask(state, out, user);
    plan_renewal(state, user);
}

fn plan_renewal(state: &mut State, user: UserId) {
    let half_us = state.after_ms(state.config.limits.lease_ms.div_ceil(2).max(1));
    let peers = state.config.peers && state.config.limits.presence;
    let Some(known) = state.present.get_mut(&user).filter(|_| peers) else { return };
    if known.watchers.is_empty() || known.lease_us.is_some() {
        return;
    }
    let lapses = known.elsewhere.values().map(|(_, until)| *until).filter(|until| *until > state.now.mono_us);
    let at = lapses.min().unwrap_or(half_us).min(half_us);
    known.lease_us = Some(at);
    state.timers.set(at, Timer::Lease(user));
}

/// On the presence home: a shard begins or stops to watch the user.
pub(crate) fn watch(state: &mut State, out: &mut Out<'_>, from: ShardId, user: UserId, watching: bool) {
    let known = state.present.entry(user).or_default();
    if watching {
        let first = known.watchers.is_empty();
        known.watchers.insert(from);
        let shown = match known.shown {
            PresenceState::Unspecified => PresenceState::Offline,
            shown => shown,
        };
        out.peer(from, PeerFrame::PresenceOf { user, state: shown, seen_at: known.seen_at });
        if first {
            ask(state, out, user);
            plan_renewal(state, user);
        }
    } else {
        known.watchers.remove(&from);
        if known.watchers.is_empty() {
            known.elsewhere.clear();
        }
    }
    listen(state, out, user);
    forget_if_idle(state, user);
}

/// On a watching shard: what the user shows now.
pub(crate) fn shown(state: &mut State, out: &mut Out<'_>, user: UserId, shown: PresenceState, seen_at: u64) {
    let Some(watched) = state.watched.get_mut(&user) else { return };
    watched.shown = Some((shown, seen_at));
    let watchers: alloc::vec::Vec<SessionId> = watched.sessions.iter().copied().collect();
    let frame = frame(user, (shown, seen_at));
    for id in watchers {
        put_ephemeral_of(state, out, id, user, frame.clone());
    }
}

/// One more session of the shard watches the user: it is shown what the others were.
pub(crate) fn show_one(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    user: UserId,
    shown: (PresenceState, u64),
) {
    put_ephemeral_of(state, out, id, user, frame(user, shown));
}

fn frame(user: UserId, (shown, seen_at): (PresenceState, u64)) -> Frame {
    let event = PresenceEvent { user: user.to_bytes(), state: shown.into(), seen_at, ..Default::default() };
    Frame::new(&ServerFrame { body: Some(Body::PresenceEvent(event)), ..Default::default() }, Lane::Ephemeral)
}

/// A user without sessions that nobody watches is forgotten.
pub(crate) fn forget_if_idle(state: &mut State, user: UserId) {
    if !state.present.get(&user).is_some_and(|known| known.idle()) {
        return;
    }
    if let Some(at) = state.present.remove(&user).and_then(|known| known.lease_us) {
        state.timers.clear(at, Timer::Lease(user));
    }
}
