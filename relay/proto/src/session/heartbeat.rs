//! Heartbeat: signs of life, and what happens when a deadline of a session comes: Hello, silence, token, drain.

use schema_wire::v1::{Ping, Pong, server_frame::Body};
use schema_wire::{Disconnect, Refused, SessionId};

use crate::effect::Out;
use crate::outward::{No, refuse, send};
use crate::planted::Fault;
use crate::session::detach;
use crate::state::State;
use crate::state::session::Session;

/// Longest payload of a ping, in bytes.
const PING_MAX: usize = 64;

/// The other side is alive.
pub(crate) fn heard(state: &mut State, id: SessionId) {
    let now_us = state.now.mono_us;
    if let Some(session) = state.sessions.get_mut(&id) {
        session.heard_us = now_us;
    }
}

/// A client wants a sign of life.
pub(crate) fn ping(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, ping: Ping) {
    if ping.payload.len() > PING_MAX {
        let no = No::from(Refused::Malformed).because("A ping carries at most 64 bytes.");
        return refuse(state, out, id, request, no);
    }
    send(state, out, id, request, Body::Pong(Pong { payload: ping.payload, ..Default::default() }));
}

/// A deadline of the session came, or moved meanwhile.
pub(crate) fn look(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    let Some(session) = state.sessions.get(&id) else { return };
    match overdue(state, session) {
        Some(with) => detach::close(state, out, id, with),
        None => state.arm(id),
    }
}

/// Whether the token ran out; asked with every frame, since the wall clock may jump.
pub(crate) fn token_expired(state: &State, session: &Session) -> bool {
    session.attached()
        && session.expires_at.saturating_mul(1_000) <= state.now.unix_ms
        && !state.planted(Fault::TokenExpiryIgnored)
}

fn overdue(state: &State, session: &Session) -> Option<Disconnect> {
    let (limits, now_us) = (state.limits(), state.now.mono_us);
    let since = |at_us: u64| now_us.saturating_sub(at_us) / 1_000;
    if token_expired(state, session) {
        return Some(Disconnect::TokenExpired);
    }
    if !session.attached() && since(session.connected_us) >= limits.hello_ms {
        return Some(Disconnect::HandshakeTimeout);
    }
    if since(session.heard_us) >= limits.idle_ms && !state.planted(Fault::IdleIgnored) {
        return Some(Disconnect::IdleTimeout);
    }
    let drained = session.drain_us.is_some_and(|at| at <= now_us);
    let past = state.drain.as_ref().is_some_and(|drain| drain.deadline_us <= now_us);
    (drained && (session.publishing.is_empty() || past)).then_some(Disconnect::Draining)
}

/// A draining session whose last publish was just answered need not wait any longer.
pub(crate) fn drain_when_quiet(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    let due = state.sessions.get(&id).is_some_and(|s| s.drain_us.is_some_and(|at| at <= state.now.mono_us));
    if due {
        look(state, out, id);
    }
}
