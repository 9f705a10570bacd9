//! Block: two people are kept apart from now on, or no longer. Neither is shown the other's typing, cursors, signals and
//! presence; messages are the store's to refuse.

use schema_wire::UserId;

use crate::effect::Out;
use crate::planted::Fault;
use crate::session::watch;
use crate::state::State;

/// The change log said that one of two people blocked or unblocked the other.
pub(crate) fn changed(state: &mut State, out: &mut Out<'_>, pair: (UserId, UserId), stands: bool) {
    if state.planted(Fault::BlockIgnored) {
        return;
    }
    let (serial, bound) = (state.next_serial(), state.limits().apart);
    for (user, other) in [pair, (pair.1, pair.0)] {
        for id in state.sessions_of(user) {
            let Some(session) = state.sessions.get_mut(&id) else { continue };
            session.apart.heard(other, stands, serial, bound);
            if stands && session.watched_users.contains(&other) {
                watch::forget_user(state, out, id, other);
            }
        }
    }
}
