//! Presence: a user's home shard knows all sessions of the user on this node, closes the older one of a device, and
//! tells those who watch what the user shows.

use schema_wire::frame::Lane;
use schema_wire::peer::PeerFrame;
use schema_wire::v1::{Presence, PresenceEvent, PresenceState, ServerFrame, server_frame::Body};
use schema_wire::{DeviceId, Disconnect, Frame, SessionId, ShardId, UserId};

use crate::effect::Out;
use crate::outward::put_ephemeral;
use crate::planted::Fault;
use crate::session::{share, typing};
use crate::state::State;

/// A device says what it shows of itself. Never answered.
pub(crate) fn presence(state: &mut State, out: &mut Out<'_>, id: SessionId, frame: &Presence) {
    let shown = frame.state.as_known().filter(|s| *s != PresenceState::Unspecified);
    if !typing::may_send(state, id) {
        return;
    }
    if let Some(shown) = shown {
        tell(state, out, id, Some(shown));
    }
}

/// Tells the presence home about a session of this shard; `None`: it ended.
pub(crate) fn tell(state: &mut State, out: &mut Out<'_>, id: SessionId, shown: Option<PresenceState>) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    session.presence = shown.unwrap_or_default();
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
    show(state, out, user);
    if moved {
        share::deal(state, out, user);
    }
    forget_if_idle(state, user);
}

/// Tells the watching shards if what the user shows has changed.
fn show(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let now_ms = state.now.unix_ms;
    let enabled = state.limits().presence;
    let Some(known) = state.present.get_mut(&user) else { return };
    let hidden = known.state() == PresenceState::Hidden;
    let shown = if hidden { PresenceState::Offline } else { known.state() };
    if shown != PresenceState::Offline || (known.shown != shown && !hidden) {
        known.seen_at = now_ms;
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

/// On the presence home: a shard begins or stops to watch the user.
pub(crate) fn watch(state: &mut State, out: &mut Out<'_>, from: ShardId, user: UserId, watching: bool) {
    let known = state.present.entry(user).or_default();
    if watching {
        known.watchers.insert(from);
        let shown = match known.shown {
            PresenceState::Unspecified => PresenceState::Offline,
            shown => shown,
        };
        out.peer(from, PeerFrame::PresenceOf { user, state: shown, seen_at: known.seen_at });
    } else {
        known.watchers.remove(&from);
    }
    forget_if_idle(state, user);
}

/// On a watching shard: what the user shows now.
pub(crate) fn shown(state: &mut State, out: &mut Out<'_>, user: UserId, shown: PresenceState, seen_at: u64) {
    let Some(watchers) = state.watched.get(&user) else { return };
    let event = PresenceEvent { user: user.to_bytes(), state: shown.into(), seen_at, ..Default::default() };
    let frame = ServerFrame { body: Some(Body::PresenceEvent(event)), ..Default::default() };
    let frame = Frame::new(&frame, Lane::Ephemeral);
    let watchers: alloc::vec::Vec<SessionId> = watchers.iter().copied().collect();
    for id in watchers {
        put_ephemeral(state, out, id, frame.clone());
    }
}

/// A user without sessions that nobody watches is forgotten.
pub(crate) fn forget_if_idle(state: &mut State, user: UserId) {
    if state.present.get(&user).is_some_and(|known| known.idle()) {
        state.present.remove(&user);
    }
}
