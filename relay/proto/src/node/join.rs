//! Join: a home learns the head of a conversation when the first shard follows it, again in each life of the store,
//! and compares heads when other nodes append too: from time to time, and often while the bus is away or silent.

use alloc::vec::Vec;

use schema_wire::bus::Subject;
use schema_wire::peer::PeerFrame;
use schema_wire::record::{StoreFault, StoreRequest};
use schema_wire::{ConversationId, Generation, Offset, ShardId};

use crate::effect::{Effect, Out};
use crate::message::fan_out;
use crate::outward::ask;
use crate::planted::Fault;
use crate::session::stream;
use crate::state::State;
use crate::state::conversation::Home;
use crate::state::ticket::Pending;
use crate::state::timer::Timer;

/// Conversations of one question about heads.
const HEADS_MAX: usize = 256;

/// A shard has subscribers now.
pub(crate) fn follow(state: &mut State, out: &mut Out<'_>, from: ShardId, conversation: ConversationId) {
    let generation = state.generation;
    let serial = state.next_serial();
    let new = || Home { serial, generation, ..Home::default() };
    let home = state.homes.entry(conversation).or_insert_with(new);
    if state.config.peers && home.followers.is_empty() {
        out.push(Effect::Listen { subject: Subject::Conversation(conversation), on: true });
    }
    home.followers.insert(from);
    match home.due {
        Some(next) => {
            out.peer(from, PeerFrame::Following { conversation, generation: home.generation, next });
        }
        None => ask_head(state, out, conversation),
    }
    plan_heads(state);
}

/// A shard's last subscriber left.
pub(crate) fn unfollow(state: &mut State, out: &mut Out<'_>, from: ShardId, conversation: ConversationId) {
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    home.followers.remove(&from);
    if !home.followers.is_empty() {
        return;
    }
    state.homes.remove(&conversation);
    state.heads.unsure.remove(&conversation);
    if state.config.peers {
        out.push(Effect::Listen { subject: Subject::Conversation(conversation), on: false });
    }
}

/// Asks where the conversation stands.
pub(crate) fn ask_head(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    if home.reading {
        return;
    }
    home.reading = true;
    let serial = home.serial;
    let request = StoreRequest::Heads { conversations: [conversation].into() };
    ask(state, out, Pending::Head { conversation, serial }, request);
}

/// The store said where the conversation stands: from there on everything is fanned out.
pub(crate) fn head(
    state: &mut State,
    out: &mut Out<'_>,
    (conversation, serial): (ConversationId, u64),
    answer: Result<(Generation, Vec<Offset>), StoreFault>,
) {
    let Some(home) = state.homes.get_mut(&conversation).filter(|home| home.serial == serial) else { return };
    home.reading = false;
    let Ok((generation, heads)) = answer else { return fan_out::wait(state, conversation) };
    let Some(head) = heads.first().copied() else { return fan_out::wait(state, conversation) };
    generation_seen(state, out, generation);
    let current = state.generation;
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    if generation < current {
        return ask_head(state, out, conversation);
    }
    if home.due.is_none() {
        home.generation = generation;
        home.due = Some(head.next());
        fan_out::tell_following(home, out, conversation);
    }
    fan_out::release(state, out, conversation);
}

/// A newer life of the store was heard of: nothing remembered of the older one is trusted.
pub(crate) fn generation_seen(state: &mut State, out: &mut Out<'_>, generation: Generation) {
    if generation <= state.generation {
        return;
    }
    let first = state.generation == Generation::default();
    state.generation = generation;
    if first || state.planted(Fault::GenerationIgnored) {
        return;
    }
    state.standings.drop_all();
    let mut homes: Vec<ConversationId> = state.homes.keys().copied().collect();
    homes.sort_unstable();
    for conversation in homes {
        if let Some(home) = state.homes.get_mut(&conversation) {
            home.reset();
        }
        ask_head(state, out, conversation);
    }
    let mut sessions: Vec<_> = state.sessions.keys().copied().collect();
    sessions.sort_unstable();
    for id in sessions {
        if let Some(session) = state.sessions.get_mut(&id) {
            session.stream.unsure = true;
        }
        stream::queue(state, out, id);
    }
}

/// The bus came or went: what was said meanwhile may have been missed.
pub(crate) fn bus(state: &mut State, out: &mut Out<'_>, sound: bool) {
    state.heads.sound = sound;
    if let Some(planned) = state.heads.planned.take() {
        state.timers.clear(planned, Timer::Heads);
    }
    compare(state, out);
}

/// Plans when heads are compared again.
fn plan_heads(state: &mut State) {
    let limits = &state.config.limits;
    let every_ms = if state.heads.sound { limits.heads_sound_ms } else { limits.heads_ms };
    if !state.config.peers || every_ms == 0 || state.heads.planned.is_some() || state.homes.is_empty() {
        return;
    }
    let at = state.after_ms(every_ms);
    state.heads.planned = Some(at);
    state.timers.set(at, Timer::Heads);
}

/// Compares all heads.
pub(crate) fn compare(state: &mut State, out: &mut Out<'_>) {
    state.heads.planned = None;
    if !state.planted(Fault::HeadsNotCompared) {
        state.heads.unsure.extend(state.homes.keys());
    }
    ask_heads(state, out);
    plan_heads(state);
}

/// Other nodes may have appended to a conversation without a word that reached this one.
pub(crate) fn doubt(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    if state.homes.contains_key(&conversation) && !state.planted(Fault::HeadsNotCompared) {
        state.heads.unsure.insert(conversation);
        ask_heads(state, out);
    }
}

/// One question at a time: while the store is slow, more conversations share the next one.
fn ask_heads(state: &mut State, out: &mut Out<'_>) {
    let heads = &mut state.heads;
    if heads.asked || heads.unsure.is_empty() {
        return;
    }
    heads.asked = true;
    let conversations: Vec<ConversationId> =
        core::iter::from_fn(|| heads.unsure.pop_first()).take(HEADS_MAX).collect();
    let pending = Pending::Heads { conversations: conversations.clone() };
    ask(state, out, pending, StoreRequest::Heads { conversations });
}

/// The store's heads: whatever is behind them is repaired.
pub(crate) fn compared(
    state: &mut State,
    out: &mut Out<'_>,
    conversations: &[ConversationId],
    answer: Result<(Generation, Vec<Offset>), StoreFault>,
) {
    state.heads.asked = false;
    let Ok((generation, heads)) = answer else {
        // Asked again with all others, when it is time.
        return state.heads.unsure.clear();
    };
    generation_seen(state, out, generation);
    for (conversation, head) in conversations.iter().zip(heads) {
        let behind = state.homes.get(conversation).and_then(|h| h.due).is_some_and(|due| due <= head);
        if behind && generation == state.generation {
            fan_out::repair(state, out, *conversation);
        }
    }
    ask_heads(state, out);
}
