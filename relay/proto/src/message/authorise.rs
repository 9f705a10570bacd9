//! Authorise: may this user write here? Runs on the session's shard, from a cache that changes drop; what is missing
//! is asked once for all who wait. The store judges again inside the append.

use schema_wire::record::{Append, Standing, StoreFault, StoreRequest};
use schema_wire::{ConversationId, Refused, SessionId, Step, UserId};

use crate::effect::Out;
use crate::message::append;
use crate::outward::{No, ask, refuse};
use crate::session::{signal, typing};
use crate::state::State;
use crate::state::standing::{Right, Waiter};
use crate::state::ticket::Pending;

/// An admitted publish.
pub(crate) fn publish(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, append: Append) {
    let (conversation, user) = (append.conversation, append.sender);
    let waiter = Waiter::Publish { session: id, request, append };
    look(state, out, conversation, user, waiter);
}

/// Lets `waiter` go on as soon as the user's right is known. Whoever comes later waits behind.
pub(crate) fn look(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    user: UserId,
    waiter: Waiter,
) {
    if let Some(lookup) = state.standings.lookups.get_mut(&(conversation, user)) {
        lookup.waiters.push(waiter);
        return;
    }
    if let Some(right) = state.standings.get(conversation, user) {
        return go_on(state, out, waiter, Ok(right));
    }
    state.standings.lookups.entry((conversation, user)).or_default().waiters.push(waiter);
    let request = StoreRequest::Standing { user, conversation, after: None };
    ask(state, out, Pending::Authorise { conversation, user }, request);
}

/// The store said what the user is to the conversation.
pub(crate) fn stood(
    state: &mut State,
    out: &mut Out<'_>,
    (conversation, user): (ConversationId, UserId),
    standing: Result<Option<Standing>, StoreFault>,
) {
    let Some(lookup) = state.standings.lookups.remove(&(conversation, user)) else { return };
    let right = match standing {
        Ok(standing) => right_of(standing.as_ref()).ok_or(No::from(Refused::NotMember)),
        Err(fault) => Err(no_store(state, fault)),
    };
    if let (Ok(right), false) = (&right, lookup.stale) {
        remember(state, conversation, user, *right);
    }
    let right = right.map_err(|no| no.conversation(conversation));
    for waiter in lookup.waiters {
        go_on(state, out, waiter, right.clone());
    }
}

/// What a standing allows; `None`: not a member now.
pub(crate) fn right_of(standing: Option<&Standing>) -> Option<Right> {
    let standing = standing.filter(|s| s.role.is_some())?;
    Some(Right {
        muted_until: standing.muted_until,
        member_count: standing.member_count,
        members_version: standing.members_version,
    })
}

/// Keeps what the store said, within the bound.
pub(crate) fn remember(state: &mut State, conversation: ConversationId, user: UserId, right: Right) {
    let bound = state.config.limits.standings;
    state.standings.put(conversation, user, right, bound);
}

/// The refusal for a store that failed.
pub(crate) fn no_store(state: &State, fault: StoreFault) -> No {
    let refused = match fault {
        StoreFault::Unavailable => Refused::StoreUnavailable,
        StoreFault::Full => Refused::StoreFull,
    };
    No::from(refused).retry_after_ms(u32::try_from(state.limits().retry_ms).unwrap_or(u32::MAX))
}

fn go_on(state: &mut State, out: &mut Out<'_>, waiter: Waiter, right: Result<Right, No>) {
    match waiter {
        Waiter::Publish { session, request, append } => judge(state, out, session, request, append, right),
        Waiter::Typing { session, conversation, active } => {
            if let Ok(right) = right {
                typing::allowed(state, out, session, conversation, active, right);
            }
        }
        Waiter::Signal { session, conversation, body } => {
            if let Ok(right) = right {
                signal::allowed(state, out, session, conversation, body, right);
            }
        }
    }
}

/// Whether a member may publish now (unix milliseconds).
pub(crate) fn may_publish(right: Right, now_ms: u64) -> Result<(), No> {
    match right.muted_until {
        Some(until) if until > now_ms => {
            let wait = u32::try_from(until - now_ms).unwrap_or(u32::MAX);
            Err(No::from(Refused::Muted).retry_after_ms(wait))
        }
        _ => Ok(()),
    }
}

fn judge(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    request: u64,
    append: Append,
    right: Result<Right, No>,
) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let since_us = session.publishing.get(&append.publish_key).map_or(state.now.mono_us, |p| p.accepted_us);
    let verdict = right.and_then(|right| may_publish(right, state.now.unix_ms));
    out.measured(Step::Authorise, since_us);
    match verdict {
        Ok(()) => append::send(state, out, id, request, append),
        Err(no) => {
            session.publishing.remove(&append.publish_key);
            let no = no.conversation(append.conversation).publish_key(append.publish_key);
            refuse(state, out, id, request, no);
        }
    }
}
