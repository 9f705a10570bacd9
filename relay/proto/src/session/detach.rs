//! Detach: a session ends, by our will or because its transport is gone. Everything that named it forgets it.

use schema_wire::{Disconnect, SessionId};

use crate::effect::{Effect, Out};
use crate::node::drain;
use crate::session::{presence, subscribe, watch};
use crate::state::State;
use crate::state::session::Phase;
use crate::state::timer::Timer;

/// Closes a session. What its outbox holds may still be sent, except to a slow reader.
pub(crate) fn close(state: &mut State, out: &mut Out<'_>, id: SessionId, with: Disconnect) {
    if !state.sessions.contains_key(&id) {
        return;
    }
    end(state, out, id, with != Disconnect::SlowReader);
    out.push(Effect::Close { session: id, with });
    drain::check(state, out);
}

/// The transport is gone.
pub(crate) fn disconnected(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    state.closing.forget(id);
    end(state, out, id, false);
    drain::check(state, out);
}

fn end(state: &mut State, out: &mut Out<'_>, id: SessionId, keep_outbox: bool) {
    let attached = state.sessions.get(&id).is_some_and(|s| s.phase == Phase::Attached);
    if attached {
        presence::tell(state, out, id, None);
    }
    let Some(session) = state.sessions.remove(&id) else { return };
    state.timers.clear(session.timer_us, Timer::Session(id));
    if let Some(at) = session.retry_us {
        state.timers.clear(at, Timer::Retry(id));
    }
    if let Some(sessions) = state.users.get_mut(&session.user) {
        sessions.remove(&id);
        if sessions.is_empty() {
            state.users.remove(&session.user);
        }
    }
    for conversation in session.subscriptions {
        subscribe::remove(state, out, id, conversation);
    }
    for conversation in session.watched_conversations {
        watch::forget(state, out, id, conversation);
    }
    for user in session.named_users {
        watch::unname(state, id, user);
    }
    for user in session.watched_users {
        watch::forget_user(state, out, id, user);
    }
    if keep_outbox {
        state.closing.put(id, session.outbox);
    }
}
