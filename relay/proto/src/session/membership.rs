//! Membership: when a conversation's members change, this shard looks who left, who came, and from whom newcomers are kept
//! apart, before it delivers anything appended after the change or shows anything of a newcomer.

use alloc::vec::Vec;

use schema_wire::record::{MemberChange, MembersDelta, Standing, StoreFault, StoreRequest};
use schema_wire::{ConversationId, SessionId, UserId};

use crate::effect::Out;
use crate::message::deliver;
use crate::outward::ask;
use crate::planted::Fault;
use crate::session::{recover, signal, subscribe, watch};
use crate::state::State;
use crate::state::conversation::Feed;
use crate::state::subscription::{Mode, Subscription};
use crate::state::ticket::{Look, Pending};
use crate::state::timer::Timer;

/// A subscriber or watcher was authorised as of this standing.
pub(crate) fn joined(feed: &mut Feed, standing: &Standing) {
    let alone = feed.subscribers.len() + feed.watchers.len() <= 1;
    feed.members_version =
        if alone { standing.members_version } else { feed.members_version.min(standing.members_version) };
    feed.members_heard = feed.members_heard.max(standing.members_version);
    feed.member_count = standing.member_count;
    feed.waiting = standing.waiting && (alone || feed.waiting);
}

/// The change log or a publication says that members changed.
pub(crate) fn changed(state: &mut State, out: &mut Out<'_>, conversation: ConversationId, version: u64) {
    state.standings.drop_conversation(conversation);
    if state.planted(Fault::MembersVersionIgnored) {
        return;
    }
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    feed.members_heard = feed.members_heard.max(version);
    look_if_behind(state, out, conversation);
}

/// Looks the members up unless nothing newer was heard of.
pub(crate) fn look_if_behind(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let Some(feed) = state.feeds.get(&conversation) else { return };
    if feed.wanted() && feed.members_heard > feed.members_version {
        look(state, out, conversation);
    }
}

/// Asks who joined and left since.
pub(crate) fn look(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let asked = state.next_serial();
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    if feed.looking {
        return;
    }
    feed.looking = true;
    let since = feed.members_version;
    let pending = Pending::Members(Look { conversation, since, asked });
    ask(state, out, pending, StoreRequest::Members { conversation, since });
}

/// The wait after a failed look is over.
pub(crate) fn retry(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    if let Some(feed) = state.feeds.get_mut(&conversation) {
        feed.looking = false;
    }
    look_if_behind(state, out, conversation);
}

/// The store said who joined and left.
pub(crate) fn looked(
    state: &mut State,
    out: &mut Out<'_>,
    look: Look,
    delta: Result<MembersDelta, StoreFault>,
) {
    let Look { conversation, since, asked } = look;
    let retry_at = state.after_ms(state.limits().retry_ms);
    let ignored = state.planted(Fault::LeftMemberServed);
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    let Ok(delta) = delta else {
        state.timers.set(retry_at, Timer::Members(conversation));
        return signal::resume(state, out, conversation);
    };
    feed.looking = false;
    let Touched { behind, left, watchers } = if ignored { Touched::default() } else { apply(feed, &delta) };
    feed.members_heard = feed.members_heard.max(delta.version);
    // Somebody who joined meanwhile with an older standing needs another look, from there.
    if feed.members_version >= since {
        feed.members_version = feed.members_version.max(delta.version);
    }
    feed.member_count = delta.member_count;
    feed.waiting &= delta.waiting;
    keep_apart(state, &delta.apart, asked);
    signal::resume(state, out, conversation);
    // What was appended before a member left is still theirs, so it goes out before they are let go.
    deliver::resume(state, out, conversation);
    for id in watchers {
        watch::forget(state, out, id, conversation);
        if delta.overflow {
            // Nobody knows whether its user left: it is asked what they are, as when the client named the conversation.
            watch::ask_standing(state, out, id, conversation);
        }
    }
    for id in left {
        subscribe::leave_if_finished(state, out, id, conversation);
    }
    for id in behind {
        recover::queue(state, out, id, conversation);
    }
    look_if_behind(state, out, conversation);
}

/// Newcomers and members blocked one another.
fn keep_apart(state: &mut State, pairs: &[(UserId, UserId)], asked: u64) {
    if state.planted(Fault::NewcomerBlockIgnored) {
        return;
    }
    let bound = state.config.limits.apart;
    for (one, other) in pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
        for id in state.sessions_of(one) {
            if let Some(session) = state.sessions.get_mut(&id) {
                session.apart.found(&[other], asked, bound);
            }
        }
    }
}

/// Sessions a change of members concerns.
#[derive(Default)]
struct Touched {
    behind: Vec<SessionId>,
    left: Vec<SessionId>,
    watchers: Vec<SessionId>,
}

fn apply(feed: &mut Feed, delta: &MembersDelta) -> Touched {
    let mut touched = Touched::default();
    if delta.overflow {
        for (id, subscription) in &mut feed.subscribers {
            subscription.mode = Mode::Checking;
            touched.behind.push(*id);
        }
        touched.watchers.extend(feed.watchers.keys().copied());
        return touched;
    }
    for change in &delta.changes {
        for (id, subscription) in feed.subscribers.iter_mut().filter(|(_, s)| s.user == change.user) {
            match apply_one(subscription, change) {
                Touch::Nothing => {}
                Touch::Left => touched.left.push(*id),
                Touch::Behind => touched.behind.push(*id),
            }
        }
        if change.left.is_some() {
            let gone = feed.watchers.iter().filter(|(_, user)| **user == change.user);
            touched.watchers.extend(gone.map(|(id, _)| *id));
        }
    }
    touched
}

enum Touch {
    Nothing,
    Left,
    Behind,
}

fn apply_one(subscription: &mut Subscription, change: &MemberChange) -> Touch {
    subscription.last = change.left;
    if change.joined > subscription.next {
        // What lies between the two memberships only the store can tell.
        subscription.floor = subscription.floor.max(change.joined);
        if subscription.mode == Mode::Live {
            subscription.mode = Mode::Recovering;
            return Touch::Behind;
        }
        return Touch::Nothing;
    }
    match change.left {
        Some(_) => Touch::Left,
        None => Touch::Nothing,
    }
}
