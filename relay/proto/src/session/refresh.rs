//! Refresh: a fresh token lets the session go on past the old one's end.

use schema_wire::v1::{Refresh, Refreshed, server_frame::Body};
use schema_wire::{Refused, SessionId};

use crate::effect::{Effect, Out};
use crate::event::Claims;
use crate::outward::{No, refuse, send};
use crate::state::State;

/// A client brings a fresh token.
pub(crate) fn refresh(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, refresh: Refresh) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.refreshing.is_some() {
        let no = No::from(Refused::TooMany).because("Wait for the answer to the Refresh under way.");
        return refuse(state, out, id, request, no);
    }
    session.refreshing = Some(request);
    out.push(Effect::Verify { session: id, token: refresh.token });
}

/// The fresh token was verified. It must name the same user and device.
pub(crate) fn verified(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    verdict: Result<Claims, Refused>,
) {
    let now_ms = state.now.unix_ms;
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let Some(request) = session.refreshing.take() else { return };
    let claims = match verdict {
        Ok(claims) if (claims.user, claims.device) != (session.user, session.device) => {
            Err(Refused::TokenInvalid)
        }
        Ok(claims) if claims.expires_at.saturating_mul(1_000) <= now_ms => Err(Refused::TokenExpired),
        Ok(claims) if claims.issued_at < session.not_before => Err(Refused::TokenInvalid),
        other => other,
    };
    match claims {
        Ok(claims) => {
            (session.issued_at, session.expires_at) = (claims.issued_at, claims.expires_at);
            state.arm(id);
            let body = Refreshed { token_expires_at: claims.expires_at, ..Default::default() };
            send(state, out, id, request, Body::Refreshed(body));
        }
        Err(refused) => refuse(state, out, id, request, refused),
    }
}
