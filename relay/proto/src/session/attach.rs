//! Attach: from a finished handshake to Welcome, and on to everything Hello asked to resume.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use schema_wire::record::{Attachment, StoreFault, StoreRequest, UserStatus};
use schema_wire::v1::{self, Hello, PresenceState, Welcome, server_frame::Body};
use schema_wire::{ConversationId, DeviceId, Disconnect, Position, Refused, SessionId};

use crate::effect::{Effect, Out};
use crate::event::Claims;
use crate::message::authorise;
use crate::node::join;
use crate::outward::{No, ask, refuse, send};
use crate::session::subscribe::position;
use crate::session::{detach, presence, refresh, stream, subscribe};
use crate::state::State;
use crate::state::session::{Greeting, Phase, Session};
use crate::state::ticket::Pending;

/// The protocol version this relay speaks.
const VERSION: u32 = 1;
/// Features this relay offers.
const CAPABILITIES: [&str; 0] = [];
/// Capabilities and versions one Hello may list.
const OFFERS_MAX: usize = 64;
/// Longest `agent`, in bytes.
const AGENT_MAX: usize = 64;

/// A transport finished its handshake.
pub(crate) fn connected(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    address: Option<IpAddr>,
    bearer: Option<String>,
) {
    assert_eq!(id.shard(), state.config.shard, "a session lives on the shard its number names");
    let refused = if state.drain.is_some() {
        Some(Disconnect::Draining)
    } else if state.sessions.len() >= state.limits().sessions {
        Some(Disconnect::Overloaded)
    } else {
        None
    };
    if let Some(with) = refused {
        return out.push(Effect::Close { session: id, with });
    }
    state.sessions.insert(id, Session::new(state.now.mono_us, address, bearer));
    state.arm(id);
}

/// The first frame.
pub(crate) fn hello(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, hello: Hello) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.phase != Phase::Connected {
        return refuse(state, out, id, request, Refused::NotGreeted);
    }
    let bearer = session.bearer.take();
    let token = if hello.token.is_empty() { bearer.unwrap_or_default() } else { hello.token.clone() };
    let greeting = match greeting(state, request, &hello) {
        Ok(_) if token.is_empty() => Err((No::from(Refused::TokenInvalid), Disconnect::Unauthenticated)),
        other => other,
    };
    match greeting {
        Ok(greeting) => {
            let Some(session) = state.sessions.get_mut(&id) else { return };
            session.phase = Phase::Verifying;
            session.greeting = Some(Box::new(greeting));
            out.push(Effect::Verify { session: id, token });
        }
        Err((no, with)) => turn_away(state, out, id, request, no, with),
    }
}

fn greeting(state: &State, request: u64, hello: &Hello) -> Result<Greeting, (No, Disconnect)> {
    let malformed = |advice: &str| (No::from(Refused::Malformed).because(advice), Disconnect::ProtocolError);
    if hello.versions.len() > OFFERS_MAX || hello.capabilities.len() > OFFERS_MAX {
        return Err(malformed("At most 64 `versions` and 64 `capabilities`."));
    }
    if !hello.versions.contains(&VERSION) {
        return Err((Refused::VersionUnsupported.into(), Disconnect::VersionUnsupported));
    }
    if hello.agent.len() > AGENT_MAX {
        return Err(malformed("`agent` is at most 64 bytes."));
    }
    if hello.resume.len() > state.limits().resume {
        let no =
            No::from(Refused::TooMany).because("Resume fewer conversations at once; subscribe to the rest.");
        return Err((no, Disconnect::ProtocolError));
    }
    let device = match hello.device.len() {
        0 => None,
        _ => {
            Some(DeviceId::from_slice(&hello.device).ok_or_else(|| malformed("`device` must be 16 bytes."))?)
        }
    };
    let resume: Option<VecDeque<(ConversationId, Option<Position>)>> = hello
        .resume
        .iter()
        .map(|entry| {
            let conversation = ConversationId::from_slice(&entry.conversation)?;
            Some((conversation, entry.after.as_option().map(position)))
        })
        .collect();
    let offered = |c: &&String| CAPABILITIES.contains(&c.as_str());
    Ok(Greeting {
        request,
        capabilities: hello.capabilities.iter().filter(offered).cloned().collect(),
        device,
        user_position: hello.user_position.as_option().map(position),
        resume: resume.ok_or_else(|| malformed("Each resumed `conversation` must be 16 bytes."))?,
    })
}

/// A session that may not come in is told why, then closed.
fn turn_away(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, no: No, with: Disconnect) {
    refuse(state, out, id, request, no);
    detach::close(state, out, id, with);
}

/// The token was verified, for Hello or for Refresh.
pub(crate) fn verified(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    verdict: Result<Claims, Refused>,
) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.phase != Phase::Verifying {
        return refresh::verified(state, out, id, verdict);
    }
    let (request, device) = session.greeting.as_ref().map_or((0, None), |g| (g.request, g.device));
    let claims = match admissible(verdict, device, state.now.unix_ms) {
        Ok(claims) => claims,
        Err(Refused::TokenExpired) => {
            return turn_away(
                state,
                out,
                id,
                request,
                Refused::TokenExpired.into(),
                Disconnect::TokenExpired,
            );
        }
        Err(refused) => {
            return turn_away(state, out, id, request, refused.into(), Disconnect::Unauthenticated);
        }
    };
    session.phase = Phase::Attaching;
    (session.user, session.device) = (claims.user, claims.device);
    (session.issued_at, session.expires_at) = (claims.issued_at, claims.expires_at);
    let address = session.address;
    // From here on changes to the account reach the session, also those the store's answer is too old to show.
    state.users.entry(claims.user).or_default().insert(id);
    let store = StoreRequest::Attach { user: claims.user, device: claims.device, address };
    ask(state, out, Pending::Attach { session: id }, store);
}

fn admissible(
    verdict: Result<Claims, Refused>,
    device: Option<DeviceId>,
    now_ms: u64,
) -> Result<Claims, Refused> {
    let claims = verdict?;
    if claims.expires_at.saturating_mul(1_000) <= now_ms {
        return Err(Refused::TokenExpired);
    }
    match device {
        Some(device) if device != claims.device => Err(Refused::TokenInvalid),
        _ => Ok(claims),
    }
}

/// The store said whether the device may come in.
pub(crate) fn attached(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    answer: Result<Attachment, StoreFault>,
) {
    let now_ms = state.now.unix_ms;
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let request = session.greeting.as_ref().map_or(0, |g| g.request);
    let attachment = match answer {
        Ok(attachment) => attachment,
        Err(fault) => {
            let no = authorise::no_store(state, fault);
            return turn_away(state, out, id, request, no, Disconnect::InternalFault);
        }
    };
    if let Err((refused, with)) = may_attach(&attachment, session.issued_at, now_ms) {
        return turn_away(state, out, id, request, refused.into(), with);
    }
    join::generation_seen(state, out, attachment.generation);
    let Some(session) = state.sessions.get_mut(&id) else { return };
    session.phase = Phase::Attached;
    session.not_before = session.not_before.max(attachment.tokens_not_before);
    let greeting = session.greeting.as_deref();
    let position = greeting.and_then(|g| g.user_position);
    stream::begin(&mut session.stream, position, &attachment);
    let capabilities = greeting.map(|g| g.capabilities.clone()).unwrap_or_default();
    let welcome = welcome(state, id, capabilities, &attachment);
    presence::tell(state, out, id, Some(PresenceState::Unspecified));
    state.arm(id);
    send(state, out, id, request, Body::Welcome(welcome));
    stream::queue(state, out, id);
    resume_next(state, out, id);
}

/// Whether the account, the device, the address and the age of the token allow it.
fn may_attach(a: &Attachment, issued_at: u64, now_ms: u64) -> Result<(), (Refused, Disconnect)> {
    match a.status {
        UserStatus::Suspended { until } if until.is_none_or(|until| until > now_ms) => {
            return Err((Refused::Suspended, Disconnect::Suspended));
        }
        UserStatus::Banned => return Err((Refused::Banned, Disconnect::Banned)),
        UserStatus::Deleted => return Err((Refused::AccountGone, Disconnect::AccountGone)),
        UserStatus::Pending => return Err((Refused::TokenInvalid, Disconnect::Unauthenticated)),
        UserStatus::Active | UserStatus::Suspended { .. } => {}
    }
    if a.address_banned {
        return Err((Refused::Banned, Disconnect::Banned));
    }
    if !a.device_active {
        return Err((Refused::DeviceRevoked, Disconnect::DeviceRevoked));
    }
    if issued_at < a.tokens_not_before {
        return Err((Refused::TokenInvalid, Disconnect::Unauthenticated));
    }
    Ok(())
}

fn welcome(state: &State, id: SessionId, capabilities: Vec<String>, attachment: &Attachment) -> Welcome {
    let session = state.sessions.get(&id).expect("just attached");
    let limits = state.limits();
    let told = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Welcome {
        version: VERSION,
        capabilities,
        user: session.user.to_bytes(),
        device: session.device.to_bytes(),
        generation: attachment.generation.0,
        user_head: attachment.user_head.0,
        now: state.now.unix_ms,
        token_expires_at: session.expires_at,
        limits: v1::Limits {
            max_frame: told(schema_wire::codec::FRAME_BYTES_MAX),
            max_body: told(limits.body_bytes),
            max_subscriptions: told(limits.subscriptions),
            max_page: limits.page_max,
            publish_limit: limits.publish_limit,
            publish_window_s: limits.publish_window_s,
            ..Default::default()
        }
        .into(),
        ..Default::default()
    }
}

/// The next entry of Hello's list, answered like a Subscribe, in order.
pub(crate) fn resume_next(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let Some(greeting) = &mut session.greeting else { return };
    let request = greeting.request;
    match greeting.resume.pop_front() {
        Some((conversation, after)) => subscribe::begin(state, out, id, request, conversation, after, true),
        None => session.greeting = None,
    }
}
