//! Share: a user with sessions on several shards has one message limit. The presence home deals it out, so that the
//! shards together never accept more than it in any window.
//!
//! A deal asks every shard what it accepted within the last window; from its answer on a shard accepts nothing until it
//! has its new part: what it used and its even share of what nobody used. All parts together, those of shards the user
//! left included, are the limit. Publishes that come meanwhile wait.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use schema_wire::peer::PeerFrame;
use schema_wire::{ShardId, UserId};

use crate::effect::Out;
use crate::message::admit;
use crate::session::presence;
use crate::state::State;
use crate::state::timer::Timer;

/// How often a shard that used up its part may ask for another deal, in microseconds.
const ASK_AGAIN_US: u64 = 1_000_000;

/// The window of the message limit.
pub(crate) fn window_us(state: &State) -> u64 {
    u64::from(state.limits().publish_window_s) * 1_000_000
}

/// The window of a limit that is shared: a little longer, so that a publish which waited for a deal is within the
/// limit by the time it came as well as by the time it was accepted.
pub(crate) fn shared_window_us(state: &State) -> u64 {
    window_us(state) + window_us(state) / 64
}

/// An operator set another limit: whoever is present is dealt it anew. Until a shard has its new part, the old one is
/// worth no more than the whole new limit.
pub(crate) fn limit(state: &mut State, out: &mut Out<'_>, max: u32, window_s: u32) {
    let limits = &mut state.config.limits;
    (limits.publish_limit, limits.publish_window_s) = (max.max(1), window_s.max(1));
    let mut users: Vec<UserId> = state.present.keys().copied().collect();
    users.sort_unstable();
    for user in users {
        deal(state, out, user);
    }
}

/// On the presence home: the user came to a shard, left one, or used up a part.
pub(crate) fn deal(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let limit = state.limits().publish_limit;
    let Some(known) = state.present.get_mut(&user) else { return };
    if !known.deal.answers.is_empty() {
        known.deal.again = true;
        return;
    }
    let present = known.shards();
    let asked: BTreeSet<ShardId> = present.union(&known.deal.holders).copied().collect();
    if present.len() == 1 && asked == present {
        known.deal.holders = present;
        for to in asked {
            out.peer(to, PeerFrame::Share { user, allowance: Some(limit) });
        }
    } else if present.is_empty() {
        plan(state, user);
    } else {
        known.deal.answers = asked.iter().map(|shard| (*shard, None)).collect();
        for to in asked {
            out.peer(to, PeerFrame::Share { user, allowance: None });
        }
    }
}

/// On the presence home: what a shard accepted within the last window, asked or because it used up its part.
pub(crate) fn spent(state: &mut State, out: &mut Out<'_>, from: ShardId, user: UserId, spent: u32) {
    let Some(known) = state.present.get_mut(&user) else { return };
    if known.deal.answers.is_empty() && !known.sessions.is_empty() {
        return deal(state, out, user);
    }
    let Some(answer) = known.deal.answers.get_mut(&from) else { return };
    *answer = Some(spent);
    if known.deal.answers.values().all(Option::is_some) {
        hand_out(state, out, user);
    }
}

fn hand_out(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let limit = state.limits().publish_limit;
    let Some(known) = state.present.get_mut(&user) else { return };
    let answers = core::mem::take(&mut known.deal.answers);
    let present = known.shards();
    let used: u32 = answers.values().flatten().sum();
    let rest = limit.saturating_sub(used);
    let sharing = u32::try_from(answers.keys().filter(|shard| present.contains(shard)).count()).unwrap_or(1);
    let (even, mut odd) = (rest / sharing.max(1), rest % sharing.max(1));
    let mut parts: Vec<(u32, ShardId)> = answers.iter().map(|(shard, n)| (n.unwrap_or(0), *shard)).collect();
    // What does not divide goes to those who use most.
    parts.sort_unstable_by(|a, b| b.cmp(a));
    known.deal.holders = answers.keys().copied().collect();
    // Of a limit that was lowered below what was used, nobody gets more than is left of it.
    let mut left = limit;
    for (spent, to) in parts {
        let spent = spent.min(left);
        let part = if present.contains(&to) {
            let extra = u32::from(odd > 0);
            odd -= extra;
            spent + even + extra
        } else {
            spent
        };
        left = left.saturating_sub(part);
        out.peer(to, PeerFrame::Share { user, allowance: Some(part) });
    }
    let again = core::mem::take(&mut known.deal.again);
    if known.deal.holders != present {
        plan(state, user);
    }
    if again {
        deal(state, out, user);
    }
}

/// Once a window has passed, what was used on shards the user left counts no more.
fn plan(state: &mut State, user: UserId) {
    let window = window_us(state);
    // A stretch of a large limit counts from its end, hence a little longer.
    let at = state.now.mono_us + window + window / 32 + 1;
    let Some(known) = state.present.get_mut(&user) else { return };
    let Some(planned) = known.deal.planned.replace(at) else {
        return state.timers.set(at, Timer::Share(user));
    };
    state.timers.clear(planned, Timer::Share(user));
    state.timers.set(at, Timer::Share(user));
}

/// On the presence home: a window passed since the user left a shard.
pub(crate) fn again(state: &mut State, out: &mut Out<'_>, user: UserId) {
    let Some(known) = state.present.get_mut(&user) else { return };
    known.deal.planned = None;
    if !known.deal.answers.is_empty() {
        return plan(state, user);
    }
    let present = known.shards();
    let left: Vec<ShardId> = known.deal.holders.difference(&present).copied().collect();
    for to in left {
        known.deal.holders.remove(&to);
        out.peer(to, PeerFrame::Share { user, allowance: None });
    }
    if present.is_empty() {
        presence::forget_if_idle(state, user);
    } else {
        deal(state, out, user);
    }
}

/// On a session's shard: its part of the limit, or the question how much it used.
pub(crate) fn share(state: &mut State, out: &mut Out<'_>, from: ShardId, user: UserId, part: Option<u32>) {
    let (now_us, window) = (state.now.mono_us, shared_window_us(state));
    let allowance = state.allowances.entry(user).or_default();
    allowance.share = part;
    if part.is_some() {
        let parked = core::mem::take(&mut allowance.parked);
        for (session, request, append) in parked {
            admit::go_on(state, out, session, request, append);
        }
        return;
    }
    let spent = allowance.spent(now_us, window);
    if spent == 0 && allowance.parked.is_empty() && !state.users.contains_key(&user) {
        state.allowances.remove(&user);
    }
    out.peer(from, PeerFrame::Spent { user, spent });
}

/// On a session's shard: its part is used up, others may have some left. `false`: that was asked just now.
pub(crate) fn ask_again(state: &mut State, out: &mut Out<'_>, user: UserId) -> bool {
    let (now_us, window) = (state.now.mono_us, shared_window_us(state));
    let home = state.presence_home(user);
    let limit = state.limits().publish_limit;
    let Some(allowance) = state.allowances.get_mut(&user) else { return false };
    let whole = allowance.share.is_none_or(|part| part >= limit);
    if whole || allowance.asked_us.is_some_and(|at| now_us < at + ASK_AGAIN_US) {
        return false;
    }
    allowance.asked_us = Some(now_us);
    allowance.share = None;
    let spent = allowance.spent(now_us, window);
    out.peer(home, PeerFrame::Spent { user, spent });
    true
}
