//! Watch: whose typing, cursors and presence a session wants to see. Only of conversations it is a member of and of
//! users it shares one with: of whom it named it sees those it may, also those it may only later.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;
use schema_wire::peer::PeerFrame;
use schema_wire::record::{Standing, StoreFault, StoreRequest};
use schema_wire::v1::{Done, Watch, server_frame::Body};
use schema_wire::{ConversationId, Refused, SessionId, UserId};

use crate::effect::Out;
use crate::outward::{No, ask, refuse, send};
use crate::planted::Fault;
use crate::session::{membership, presence, subscribe};
use crate::state::State;
use crate::state::ticket::Pending;
use crate::state::timer::Timer;

/// How often one session may ask whom it sees, in microseconds.
const LOOK_EVERY_US: u64 = 500_000;

/// A client replaces its watch list. What it may not watch is left out without a word.
pub(crate) fn watch(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, watch: &Watch) {
    let Some((conversations, users)) = lists(watch) else {
        let no =
            No::from(Refused::Malformed).because("Watched conversations and users must be 16 bytes each.");
        return refuse(state, out, id, request, no);
    };
    let limits = state.limits();
    if conversations.len() > limits.watched_conversations || users.len() > limits.watched_users {
        return refuse(state, out, id, request, Refused::TooMany);
    }
    let serial = state.next_serial();
    let Some(session) = state.sessions.get_mut(&id) else { return };
    session.watch_serial = serial;
    session.look_us = 0;
    session.unstood.clear();
    let user = session.user;
    let old_conversations: Vec<_> =
        session.watched_conversations.difference(&conversations).copied().collect();
    let old_users: Vec<_> = session.watched_users.difference(&users).copied().collect();
    let new_conversations: Vec<_> =
        conversations.difference(&session.watched_conversations).copied().collect();
    for conversation in old_conversations {
        forget(state, out, id, conversation);
    }
    for user in old_users {
        forget_user(state, out, id, user);
    }
    for conversation in new_conversations {
        ask_standing(state, out, id, conversation);
    }
    name(state, id, users.into_iter().filter(|other| *other != user).collect());
    look(state, out, id);
    send(state, out, id, request, Body::Done(Done::default()));
}

fn lists(watch: &Watch) -> Option<(BTreeSet<ConversationId>, BTreeSet<UserId>)> {
    let conversations =
        watch.conversations.iter().map(|b: &Bytes| ConversationId::from_slice(b)).collect::<Option<_>>()?;
    let users = watch.users.iter().map(|b: &Bytes| UserId::from_slice(b)).collect::<Option<_>>()?;
    Some((conversations, users))
}

/// Notes whom the client names.
fn name(state: &mut State, id: SessionId, users: BTreeSet<UserId>) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let former = core::mem::replace(&mut session.named_users, users.clone());
    for user in users.difference(&former) {
        state.named.entry(*user).or_default().insert(id);
    }
    for user in former.difference(&users) {
        unname(state, id, *user);
    }
}

/// A session does not name the user any more.
pub(crate) fn unname(state: &mut State, id: SessionId, user: UserId) {
    let Some(sessions) = state.named.get_mut(&user) else { return };
    sessions.remove(&id);
    if sessions.is_empty() {
        state.named.remove(&user);
    }
}

/// Asks what the session's user is to a conversation that it wants to watch.
pub(crate) fn ask_standing(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    conversation: ConversationId,
) {
    let Some(session) = state.sessions.get(&id) else { return };
    let (user, serial) = (session.user, session.watch_serial);
    state.feeds.entry(conversation).or_default().joining += 1;
    let request = StoreRequest::Standing { user, conversation, after: None };
    ask(state, out, Pending::WatchConversation { session: id, conversation, serial }, request);
}

/// The store said what the user is to a conversation it wants to watch.
pub(crate) fn stood(
    state: &mut State,
    out: &mut Out<'_>,
    (id, conversation, serial): (SessionId, ConversationId, u64),
    standing: Result<Option<Standing>, StoreFault>,
) {
    let session = state.sessions.get_mut(&id).filter(|session| session.watch_serial == serial);
    if let (Some(session), true) = (session, standing.is_err()) {
        session.unstood.insert(conversation);
        again_later(state, id);
    }
    let standing = standing.ok().flatten().filter(|s| s.role.is_some());
    let State { feeds, sessions, config, .. } = &mut *state;
    if let Some(feed) = feeds.get_mut(&conversation) {
        feed.joining -= 1;
        let session = sessions.get_mut(&id).filter(|session| session.watch_serial == serial);
        if let (Some(standing), Some(session)) = (standing, session) {
            session.watched_conversations.insert(conversation);
            session.apart.found(&standing.apart, serial, config.limits.apart);
            feed.watchers.insert(id, session.user);
            membership::joined(feed, &standing);
        }
    }
    subscribe::follow(state, out, conversation);
    membership::look_if_behind(state, out, conversation);
    subscribe::release_feed(state, out, conversation);
}

/// Looks which of those the client named the session may see: when it names them, and whenever that may have changed. One
/// question at a time, so that no older answer undoes a newer one, and after changes two a second: each cursor that
/// somebody named moves is told as one.
pub(crate) fn look(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    let (enabled, missed) = (state.limits().presence, state.planted(Fault::AcquaintanceMissed));
    let now_us = state.now.mono_us;
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.named_users.is_empty() || !enabled {
        return;
    }
    let early = now_us < session.look_us;
    session.unsure = session.looking || early;
    if early {
        return state.timers.set(session.look_us, Timer::Watch(id));
    }
    if session.looking {
        return;
    }
    session.looking = true;
    session.look_us = now_us + LOOK_EVERY_US;
    let (user, serial) = (session.user, session.watch_serial);
    let asked = if missed && !session.watched_users.is_empty() {
        &session.watched_users
    } else {
        &session.named_users
    };
    let others = asked.iter().copied().collect();
    let pending = Pending::WatchUsers { session: id, serial };
    ask(state, out, pending, StoreRequest::Acquaintances { user, others });
}

/// The store said which of the users the session may see.
pub(crate) fn acquainted(
    state: &mut State,
    out: &mut Out<'_>,
    (id, serial): (SessionId, u64),
    users: Result<Vec<UserId>, StoreFault>,
) {
    let given_up = users.is_err() && state.planted(Fault::WatchNotRepeated);
    let Some(session) = state.sessions.get_mut(&id) else { return };
    session.looking = given_up;
    let Ok(users) = users else {
        session.unsure = true;
        return again_later(state, id);
    };
    let (unsure, current) = (session.unsure, session.watch_serial == serial);
    if current {
        see(state, out, id, users.into_iter().collect());
    }
    if unsure {
        look(state, out, id);
    }
}

/// From now on the session sees these.
fn see(state: &mut State, out: &mut Out<'_>, id: SessionId, mut users: BTreeSet<UserId>) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    // What the change log said of a block since, the answer may not know.
    users.retain(|user| !session.apart.from(*user));
    let former = core::mem::replace(&mut session.watched_users, users.clone());
    for user in former.difference(&users) {
        forget_user(state, out, id, *user);
    }
    for user in users {
        let watched = state.watched.entry(user).or_default();
        let first = watched.sessions.is_empty();
        let (new, known) = (watched.sessions.insert(id), watched.shown);
        if first {
            out.peer(state.presence_home(user), PeerFrame::WatchUser { user, watching: true });
        } else if let (true, Some(known)) = (new, known) {
            presence::show_one(state, out, id, user, known);
        }
    }
}

/// After the store failed, it is asked again.
fn again_later(state: &mut State, id: SessionId) {
    let at = state.after_ms(state.limits().retry_ms);
    state.timers.set(at, Timer::Watch(id));
}

/// The wait after a failed question is over.
pub(crate) fn retry(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let unsure = session.unsure;
    for conversation in core::mem::take(&mut session.unstood) {
        ask_standing(state, out, id, conversation);
    }
    if unsure {
        look(state, out, id);
    }
}

/// The session does not watch the conversation any more.
pub(crate) fn forget(state: &mut State, out: &mut Out<'_>, id: SessionId, conversation: ConversationId) {
    if let Some(session) = state.sessions.get_mut(&id) {
        session.watched_conversations.remove(&conversation);
    }
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    feed.watchers.remove(&id);
    subscribe::release_feed(state, out, conversation);
}

/// The session does not watch the user any more.
pub(crate) fn forget_user(state: &mut State, out: &mut Out<'_>, id: SessionId, user: UserId) {
    if let Some(session) = state.sessions.get_mut(&id) {
        session.watched_users.remove(&user);
    }
    let Some(watched) = state.watched.get_mut(&user) else { return };
    watched.sessions.remove(&id);
    if watched.sessions.is_empty() {
        state.watched.remove(&user);
        out.peer(state.presence_home(user), PeerFrame::WatchUser { user, watching: false });
    }
}
