//! Drain: the shard tells everybody it is going away, takes nothing new, finishes what is under way, and closes its
//! sessions one after another.

use alloc::string::String;
use alloc::vec::Vec;

use schema_wire::v1::{self, Notice, notice, server_frame::Body};
use schema_wire::{Disconnect, SessionId};

use crate::effect::{Effect, Out};
use crate::outward::send;
use crate::planted::Fault;
use crate::session::detach;
use crate::state::timer::Timer;
use crate::state::{Drain, State};

/// An operator wants the node to go away.
pub(crate) fn begin(
    state: &mut State,
    out: &mut Out<'_>,
    reconnect_after_ms: u32,
    alternate: &str,
    deadline_ms: u32,
) {
    if state.drain.is_some() {
        return;
    }
    let deadline_us = state.after_ms(u64::from(deadline_ms));
    state.drain = Some(Drain { deadline_us, over: false });
    state.timers.set(deadline_us, Timer::Drain);
    let mut sessions: Vec<SessionId> = state.sessions.keys().copied().collect();
    sessions.sort_unstable();
    let count = sessions.len().max(1) as u64;
    for (index, id) in sessions.into_iter().enumerate() {
        let attached = state.sessions.get(&id).is_some_and(|s| s.attached());
        if !attached {
            detach::close(state, out, id, Disconnect::Draining);
            continue;
        }
        let jitter = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let after = u64::from(reconnect_after_ms) + jitter % (u64::from(reconnect_after_ms) / 2 + 1);
        notice(state, out, id, u32::try_from(after).unwrap_or(u32::MAX), alternate.into());
        let slot_us = u64::from(deadline_ms) * 1_000 * (index as u64 + 1) / (count + 1);
        let at = state.now.mono_us + slot_us;
        if let Some(session) = state.sessions.get_mut(&id) {
            session.drain_us = Some(at);
        }
        state.arm(id);
    }
    check(state, out);
}

fn notice(state: &mut State, out: &mut Out<'_>, id: SessionId, reconnect_after_ms: u32, alternate: String) {
    let draining = v1::Draining { reconnect_after_ms, alternate, ..Default::default() };
    let body = Notice { notice: Some(notice::Notice::Draining(draining)), ..Default::default() };
    send(state, out, id, 0, Body::Notice(body));
}

/// Says once that draining is over: no session is left, and no append is under way that a store which hangs could
/// hold up beyond the deadline.
pub(crate) fn check(state: &mut State, out: &mut Out<'_>) {
    let never = state.planted(Fault::DrainNeverEnds);
    let now_us = state.now.mono_us;
    let Some(drain) = &mut state.drain else { return };
    let settled = state.appends.total == 0 || drain.deadline_us <= now_us;
    if state.sessions.is_empty() && settled && !drain.over && !never {
        drain.over = true;
        out.push(Effect::Drained);
    }
}
