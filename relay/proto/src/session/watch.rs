//! Watch: whose typing, cursors and presence a session wants to see. Only of conversations it is a member of and of
//! users it shares one with.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;
use schema_wire::peer::PeerFrame;
use schema_wire::record::{Standing, StoreFault, StoreRequest};
use schema_wire::v1::{Done, Watch, server_frame::Body};
use schema_wire::{ConversationId, Refused, SessionId, UserId};

use crate::effect::Out;
use crate::outward::{No, ask, refuse, send};
use crate::session::{membership, subscribe};
use crate::state::State;
use crate::state::ticket::Pending;

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
    let user = session.user;
    let old_conversations: Vec<_> =
        session.watched_conversations.difference(&conversations).copied().collect();
    let old_users: Vec<_> = session.watched_users.difference(&users).copied().collect();
    let new_conversations: Vec<_> =
        conversations.difference(&session.watched_conversations).copied().collect();
    let others: Vec<_> = users.into_iter().filter(|other| *other != user).collect();
    for conversation in old_conversations {
        forget(state, out, id, conversation);
    }
    for user in old_users {
        forget_user(state, out, id, user);
    }
    for conversation in new_conversations {
        state.feeds.entry(conversation).or_default().joining += 1;
        let store = StoreRequest::Standing { user, conversation, after: None };
        ask(state, out, Pending::WatchConversation { session: id, conversation, serial }, store);
    }
    if !others.is_empty() && state.limits().presence {
        ask(
            state,
            out,
            Pending::WatchUsers { session: id, serial },
            StoreRequest::Acquaintances { user, others },
        );
    }
    send(state, out, id, request, Body::Done(Done::default()));
}

fn lists(watch: &Watch) -> Option<(BTreeSet<ConversationId>, BTreeSet<UserId>)> {
    let conversations =
        watch.conversations.iter().map(|b: &Bytes| ConversationId::from_slice(b)).collect::<Option<_>>()?;
    let users = watch.users.iter().map(|b: &Bytes| UserId::from_slice(b)).collect::<Option<_>>()?;
    Some((conversations, users))
}

/// The store said what the user is to a conversation it wants to watch.
pub(crate) fn stood(
    state: &mut State,
    out: &mut Out<'_>,
    (id, conversation, serial): (SessionId, ConversationId, u64),
    standing: Result<Option<Standing>, StoreFault>,
) {
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

/// The store said which of the users the session may watch.
pub(crate) fn acquainted(
    state: &mut State,
    out: &mut Out<'_>,
    (id, serial): (SessionId, u64),
    users: Result<Vec<UserId>, StoreFault>,
) {
    let (Some(session), Ok(users)) = (state.sessions.get_mut(&id), users) else { return };
    if session.watch_serial != serial {
        return;
    }
    let users: BTreeSet<UserId> = users.into_iter().collect();
    let lost: Vec<_> = session.watched_users.difference(&users).copied().collect();
    for user in &users {
        session.watched_users.insert(*user);
    }
    for user in lost {
        forget_user(state, out, id, user);
    }
    for user in users {
        // Asked again for each newcomer, so that the home answers with what the user shows now.
        let first = state.watched.entry(user).or_default().insert(id);
        if first {
            out.peer(state.presence_home(user), PeerFrame::WatchUser { user, watching: true });
        }
    }
}

/// Looks again whether the session still shares a conversation with those it watches.
pub(crate) fn look_again(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    let Some(session) = state.sessions.get(&id) else { return };
    if session.watched_users.is_empty() {
        return;
    }
    let (user, serial) = (session.user, session.watch_serial);
    let others = session.watched_users.iter().copied().collect();
    ask(
        state,
        out,
        Pending::WatchUsers { session: id, serial },
        StoreRequest::Acquaintances { user, others },
    );
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
    let Some(watchers) = state.watched.get_mut(&user) else { return };
    watchers.remove(&id);
    if watchers.is_empty() {
        state.watched.remove(&user);
        out.peer(state.presence_home(user), PeerFrame::WatchUser { user, watching: false });
    }
}
