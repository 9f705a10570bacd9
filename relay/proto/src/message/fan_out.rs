//! Fan out: what is durable goes to every shard of this node that follows, dense and in order. Runs on the home.
//! What is missing in between is held back for and read from the store.

use alloc::sync::Arc;
use alloc::vec::Vec;

use schema_wire::peer::PeerFrame;
use schema_wire::publication::{Publication, Shared, delivery, delivery_frame};
use schema_wire::record::{Append, Entry, Message, Page, StoreFault, StoreRequest};
use schema_wire::{ConversationId, Generation, Offset, SessionId, ShardId, Step};

use crate::effect::Out;
use crate::message::forward;
use crate::node::join;
use crate::outward::ask;
use crate::planted::Fault;
use crate::state::State;
use crate::state::conversation::Home;
use crate::state::ticket::Pending;
use crate::state::timer::Timer;

/// Where the store put a message.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) generation: Generation,
    pub(crate) offset: Offset,
    pub(crate) at: u64,
    pub(crate) expires_at: Option<u64>,
    pub(crate) members_version: u64,
}

/// A message of this node is durable.
pub(crate) fn stored(
    state: &mut State,
    out: &mut Out<'_>,
    session: SessionId,
    append: &Append,
    place: Place,
) {
    if !state.config.peers && !state.homes.contains_key(&append.conversation) {
        return;
    }
    let publication = Arc::new(publication(append, place, Some(session)));
    forward::publication(state, out, &publication);
    offer(state, out, publication);
    out.measured(Step::FanOut, state.now.mono_us);
}

/// A message was durable before. If this node has not fanned it out yet, its own outcome may never have come.
pub(crate) fn duplicate(
    state: &mut State,
    out: &mut Out<'_>,
    session: SessionId,
    append: &Append,
    place: Place,
) {
    if state.planted(Fault::DuplicateFannedOut) {
        let again = publication(append, place, Some(session));
        let followers: Vec<ShardId> = state
            .homes
            .get(&append.conversation)
            .map(|h| h.followers.iter().copied().collect())
            .unwrap_or_default();
        for to in followers {
            out.peer(to, PeerFrame::Publication(Arc::new(again.clone())));
        }
    }
    let Some(home) = state.homes.get(&append.conversation) else { return };
    if home.due.is_some_and(|due| place.offset >= due) {
        repair(state, out, append.conversation);
    }
}

fn publication(append: &Append, place: Place, origin: Option<SessionId>) -> Publication {
    let delivery = delivery(
        append.conversation,
        place.generation,
        place.offset,
        append.kind,
        (append.sender, append.device),
        place.at,
        (append.relates_to, place.expires_at),
        append.publish_key,
        append.body.clone(),
    );
    Publication {
        conversation: append.conversation,
        generation: place.generation,
        offset: place.offset,
        kind: append.kind,
        sender: append.sender,
        device: append.device,
        at: place.at,
        relates_to: append.relates_to,
        expires_at: place.expires_at,
        publish_key: append.publish_key,
        members_version: place.members_version,
        origin,
        frame: delivery_frame(delivery),
    }
}

/// A publication from the store, without the session it came from.
fn from_message(message: &Message) -> Shared {
    let place = Place {
        generation: message.generation,
        offset: message.offset,
        at: message.at,
        expires_at: message.expires_at,
        members_version: message.members_version,
    };
    let append = Append {
        conversation: message.conversation,
        publish_key: message.publish_key,
        sender: message.sender,
        device: message.device,
        kind: message.kind,
        relates_to: message.relates_to,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: message.body.clone(),
        commitment: None,
    };
    Arc::new(publication(&append, place, None))
}

/// A publication came, from here or from another node: now, later, or never, as its offset says.
pub(crate) fn offer(state: &mut State, out: &mut Out<'_>, publication: Shared) {
    let conversation = publication.conversation;
    if publication.generation > state.generation {
        join::generation_seen(state, out, publication.generation);
    }
    if publication.generation < state.generation && !state.planted(Fault::GenerationIgnored) {
        // Of an older life of the store: what survived of that comes from the store.
        return;
    }
    let gap_ignored = state.planted(Fault::GapIgnored);
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    let Some(due) = home.due else {
        home.hold(publication, &state.config.limits);
        return;
    };
    if publication.offset < due {
        return;
    }
    if gap_ignored {
        home.due = Some(publication.offset);
    }
    home.hold(publication, &state.config.limits);
    release(state, out, conversation);
}

/// Fans out what is due, in order, and looks after a gap if one is left.
pub(crate) fn release(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let swapped = state.planted(Fault::HeldOrderSwapped);
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    if swapped {
        swap_held(home);
    }
    while let Some(due) = home.due {
        let Some(publication) = home.held.remove(&due) else { break };
        emit(home, out, publication);
    }
    if let Some(due) = home.due {
        home.held = home.held.split_off(&due);
    }
    if home.held.is_empty() || home.gap_timer || home.reading {
        return;
    }
    home.gap_timer = true;
    let at = state.after_ms(state.limits().gap_ms);
    state.timers.set(at, Timer::Gap(conversation));
}

fn emit(home: &mut Home, out: &mut Out<'_>, publication: Shared) {
    assert_eq!(home.due, Some(publication.offset), "fan-out is dense");
    home.due = Some(publication.offset.next());
    for to in &home.followers {
        out.peer(*to, PeerFrame::Publication(publication.clone()));
    }
}

/// For a planted fault: two publications held back change bodies.
fn swap_held(home: &mut Home) {
    let mut held = home.held.iter();
    let (Some((a, first)), Some((b, second))) = (held.next(), held.next()) else { return };
    let (a, b) = (*a, *b);
    let (mut first, mut second) = (Publication::clone(first), Publication::clone(second));
    core::mem::swap(&mut first.offset, &mut second.offset);
    home.held.insert(a, Arc::new(second));
    home.held.insert(b, Arc::new(first));
}

/// The wait for a missing offset is over.
pub(crate) fn gap(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    home.gap_timer = false;
    if home.due.is_none() {
        return join::ask_head(state, out, conversation);
    }
    repair(state, out, conversation);
}

/// Reads from the store what is due.
pub(crate) fn repair(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    if state.planted(Fault::GapNeverRepaired) {
        return;
    }
    let limit = state.limits().page;
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    let (Some(from), false) = (home.due, home.reading) else { return };
    home.reading = true;
    let serial = home.serial;
    let request = StoreRequest::Read { conversation, from, limit };
    ask(state, out, Pending::Repair { conversation, serial }, request);
}

/// The store answered a repair.
pub(crate) fn repaired(
    state: &mut State,
    out: &mut Out<'_>,
    (conversation, serial): (ConversationId, u64),
    page: Result<Page, StoreFault>,
) {
    let Some(home) = state.homes.get_mut(&conversation).filter(|home| home.serial == serial) else { return };
    home.reading = false;
    let Ok(page) = page else { return wait(state, conversation) };
    if page.generation > state.generation {
        return join::generation_seen(state, out, page.generation);
    }
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    if home.due.is_none() {
        return join::ask_head(state, out, conversation);
    }
    if page.generation < home.generation {
        return wait(state, conversation);
    }
    let head = page.head;
    let more = fill(state, out, conversation, page);
    release(state, out, conversation);
    let Some(home) = state.homes.get(&conversation) else { return };
    if home.due.is_some_and(|due| due <= head) {
        if more { repair(state, out, conversation) } else { wait(state, conversation) }
    } else if !home.held.is_empty() {
        wait(state, conversation);
    }
}

/// Takes what is due from a page; `true` when the page ended before something stood in the way.
fn fill(state: &mut State, out: &mut Out<'_>, conversation: ConversationId, page: Page) -> bool {
    let State { homes, appends, .. } = state;
    let Some(home) = homes.get_mut(&conversation) else { return false };
    let before = home.due;
    for entry in page.entries {
        let Some(due) = home.due else { return false };
        match entry {
            Entry::Message(message) if message.offset == due => {
                if let Some(held) = home.held.remove(&due) {
                    emit(home, out, held);
                } else if appends.keys.contains_key(&(message.sender, message.publish_key)) {
                    // Its outcome is on the way here and knows which session must not get it.
                    return false;
                } else {
                    emit(home, out, from_message(&message));
                }
            }
            Entry::Gone { from, to, .. } if from <= due && to >= due => {
                // Followers read what is gone from the store themselves, with the reason.
                home.due = Some(to.next());
                tell_following(home, out, conversation);
            }
            _ => {}
        }
    }
    home.due > before
}

/// Tells every following shard from where on it will get everything.
pub(crate) fn tell_following(home: &Home, out: &mut Out<'_>, conversation: ConversationId) {
    let Some(next) = home.due else { return };
    for to in &home.followers {
        out.peer(*to, PeerFrame::Following { conversation, generation: home.generation, next });
    }
}

/// Looks again after the gap time.
pub(crate) fn wait(state: &mut State, conversation: ConversationId) {
    let at = state.after_ms(state.limits().gap_ms.max(1));
    let Some(home) = state.homes.get_mut(&conversation) else { return };
    if !home.gap_timer {
        home.gap_timer = true;
        state.timers.set(at, Timer::Gap(conversation));
    }
}
