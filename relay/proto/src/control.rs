//! Control: what the change log and operators say about accounts, devices, addresses and conversations that are live
//! on this shard.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use schema_wire::record::{Change, UserStatus};
use schema_wire::{ConversationId, Disconnect, SessionId, UserId};

use crate::effect::Out;
use crate::event::Control;
use crate::node::{drain, join};
use crate::planted::Fault;
use crate::session::{block, detach, membership, recover, share, stream, watch};
use crate::state::State;
use crate::state::conversation::Feed;
use crate::state::session::Session;
use crate::state::subscription::Mode;

/// An entry of the change log.
pub(crate) fn changed(state: &mut State, out: &mut Out<'_>, change: Change) {
    match change {
        Change::UserStatus { user, status } => status_changed(state, out, user, status),
        Change::DeviceRevoked { user, device } if !state.planted(Fault::RevokedDeviceServed) => {
            close_all(state, out, user, Disconnect::DeviceRevoked, |s| s.device == device);
        }
        Change::DeviceRevoked { .. } => {}
        Change::TokensRevoked { user, not_before } => {
            for id in state.sessions_of(user) {
                if let Some(session) = state.sessions.get_mut(&id) {
                    session.not_before = session.not_before.max(not_before);
                }
            }
            close_all(state, out, user, Disconnect::Unauthenticated, |s| s.issued_at < not_before);
        }
        Change::Members { conversation, version } => membership::changed(state, out, conversation, version),
        Change::UserEvents { user, head } => {
            stream::grew(state, out, user, head);
            acquaintances_may_have_changed(state, out, user);
        }
        Change::Block { user, other, stands } => {
            block::changed(state, out, (user, other), stands);
            acquaintances_may_have_changed(state, out, user);
        }
        Change::Erased { conversation } => forget(state, out, conversation),
        Change::Generation { generation } => join::generation_seen(state, out, generation),
        Change::AddressBanned { network } => {
            let mut banned: Vec<SessionId> = state
                .sessions
                .iter()
                .filter(|(_, s)| s.address.is_some_and(|address| network.contains(address)))
                .map(|(id, _)| *id)
                .collect();
            banned.sort_unstable();
            for id in banned {
                detach::close(state, out, id, Disconnect::Banned);
            }
        }
        Change::Missed => missed(state, out),
    }
}

/// What an operator asked for.
pub(crate) fn control(state: &mut State, out: &mut Out<'_>, control: Control) {
    match control {
        Control::DisconnectUser { user, with } => close_all(state, out, user, with, |_| true),
        Control::DisconnectDevice { user, device, with } => {
            close_all(state, out, user, with, |s| s.device == device);
        }
        Control::DisconnectSession { session, user, with } => {
            if state.sessions.get(&session).is_some_and(|s| s.attached() && s.user == user) {
                detach::close(state, out, session, with);
            }
        }
        Control::Drain { reconnect_after_ms, alternate, deadline_ms } => {
            drain::begin(state, out, reconnect_after_ms, &alternate, deadline_ms);
        }
        Control::Forget { conversation } => forget(state, out, conversation),
        Control::MessageLimit { max, window_s } => share::limit(state, out, max, window_s),
    }
}

fn status_changed(state: &mut State, out: &mut Out<'_>, user: UserId, status: UserStatus) {
    let with = match status {
        UserStatus::Suspended { until } if until.is_none_or(|until| until > state.now.unix_ms) => {
            Disconnect::Suspended
        }
        UserStatus::Banned => Disconnect::Banned,
        UserStatus::Deleted => Disconnect::AccountGone,
        UserStatus::Pending => Disconnect::Unauthenticated,
        UserStatus::Active | UserStatus::Suspended { .. } => return,
    };
    if state.planted(Fault::SuspendedNotCut) {
        return;
    }
    close_all(state, out, user, with, |_| true);
}

fn close_all(
    state: &mut State,
    out: &mut Out<'_>,
    user: UserId,
    with: Disconnect,
    which: impl Fn(&Session) -> bool,
) {
    for id in state.sessions_of(user) {
        if state.sessions.get(&id).is_some_and(&which) {
            detach::close(state, out, id, with);
        }
    }
}

/// The user joined or left something, blocked somebody or does not any more: who wants to see them, and whom they want to
/// see, may share something now, or nothing any more.
fn acquaintances_may_have_changed(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let mut concerned = state.sessions_of(user);
    concerned.extend(state.named.get(&user).into_iter().flatten().copied());
    concerned.sort_unstable();
    concerned.dedup();
    for id in concerned {
        watch::look(state, out, id);
    }
}

/// Nobody knows any more what changed. What is remembered is read again, and whoever is here comes again: then the store says
/// whether they may, what they may see, and from whom they are kept apart.
fn missed(state: &mut State, out: &mut Out<'_>) {
    if state.planted(Fault::MissedIgnored) {
        return;
    }
    let mut sessions: Vec<SessionId> = state.sessions.keys().copied().collect();
    sessions.sort_unstable();
    for id in sessions {
        detach::close(state, out, id, Disconnect::InternalFault);
    }
    state.standings.drop_all();
    let conversations: BTreeSet<ConversationId> =
        state.homes.keys().chain(state.feeds.keys()).copied().collect();
    for conversation in conversations {
        forget(state, out, conversation);
    }
}

/// Messages were erased outside the log: what this shard remembers of the conversation is read again.
fn forget(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    state.standings.drop_conversation(conversation);
    if let Some(home) = state.homes.get_mut(&conversation) {
        home.held.clear();
    }
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    let behind = skip_remembered(feed);
    for id in behind {
        recover::queue(state, out, id, conversation);
    }
}

/// Drops tail and paused publications; live subscribers get the latter from the store.
fn skip_remembered(feed: &mut Feed) -> Vec<SessionId> {
    let Some(due) = feed.due else { return Vec::new() };
    let next = schema_wire::Offset(due.0 + feed.paused.len() as u64);
    feed.paused.clear();
    feed.due = Some(next);
    feed.tail.restart(next);
    let mut behind = Vec::new();
    for (id, subscription) in &mut feed.subscribers {
        if subscription.mode == Mode::Live && subscription.next < next {
            subscription.mode = Mode::Recovering;
            behind.push(*id);
        }
    }
    behind
}
