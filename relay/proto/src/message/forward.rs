//! Forward: what happens to a conversation or a user here goes to the other nodes, once per node, as a hint. Runs on the
//! home of what it concerns, here and there.

use schema_wire::bus::{Hint, Life, Subject};
use schema_wire::peer::{Ephemeral, Sender};
use schema_wire::publication::{Publication, Shared};
use schema_wire::{ConversationId, Frame, SessionId, Step, UserId};

use crate::effect::{Effect, Out};
use crate::message::fan_out;
use crate::node::join;
use crate::planted::Fault;
use crate::session::{presence, signal, typing};
use crate::state::State;
use crate::state::conversation::Gathered;

/// To every other node, if there may be any.
pub(crate) fn send(state: &State, out: &mut Out<'_>, hint: Hint) {
    if state.config.peers {
        out.push(Effect::Forward { hint });
    }
}

/// A durable message.
pub(crate) fn publication(state: &State, out: &mut Out<'_>, publication: &Shared) {
    if state.config.peers {
        send(state, out, Hint::Publication(publication.clone()));
        out.measured(Step::Forward, state.now.mono_us);
    }
}

/// Somebody of this node types or read up to somewhere.
pub(crate) fn ephemeral(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    sender: Sender,
    event: Ephemeral,
) {
    let serial = state.next_serial();
    let Sender { user, members_version, .. } = sender;
    send(state, out, Hint::Ephemeral { conversation, serial, user, members_version, event });
}

/// A signal of this node.
pub(crate) fn signal(
    state: &mut State,
    out: &mut Out<'_>,
    conversation: ConversationId,
    sender: Sender,
    frame: &Frame,
) {
    let serial = state.next_serial();
    let (Sender { user, members_version, .. }, frame) = (sender, frame.clone());
    send(state, out, Hint::Signal { conversation, serial, user, members_version, frame });
}

/// From the bus.
pub(crate) fn received(state: &mut State, out: &mut Out<'_>, from: Life, hint: Hint) {
    if from == state.config.life && !state.planted(Fault::OwnFrameTaken) {
        return;
    }
    match hint {
        Hint::Publication(publication) => appended(state, out, publication),
        Hint::Ephemeral { conversation, serial, user, members_version, event } => {
            if in_turn(state, from, conversation, serial) {
                let gathered = Gathered { sender: elsewhere(user, members_version), event };
                typing::elsewhere(state, out, conversation, gathered);
            }
        }
        Hint::Signal { conversation, serial, user, members_version, frame } => {
            if in_turn(state, from, conversation, serial) {
                signal::spread(state, out, conversation, elsewhere(user, members_version), frame);
            }
        }
        Hint::Presence { user, state: shown, seen_at } => {
            presence::elsewhere(state, out, user, from, shown, seen_at);
        }
        Hint::PresenceAsked { user } => presence::asked(state, out, user),
    }
}

fn elsewhere(user: UserId, members_version: u64) -> Sender {
    Sender { session: SessionId::ELSEWHERE, user, members_version }
}

/// A message of another node. The session it came from is none of ours, whatever its number says.
fn appended(state: &mut State, out: &mut Out<'_>, mut publication: Shared) {
    if publication.generation > state.generation {
        // Only the store says that it began a new life.
        return join::doubt(state, out, publication.conversation);
    }
    if publication.origin.is_some() {
        publication = Shared::new(Publication { origin: None, ..Publication::clone(&publication) });
    }
    fan_out::offer(state, out, publication);
}

fn in_turn(state: &mut State, from: Life, conversation: ConversationId, serial: u64) -> bool {
    let taken_anyway = state.planted(Fault::OvertakenTaken);
    let Some(home) = state.homes.get_mut(&conversation) else { return false };
    home.in_turn(from, serial) || taken_anyway
}

/// The bus brings from now on what others say about this; what they said before is asked for.
pub(crate) fn listening(state: &mut State, out: &mut Out<'_>, subject: Subject) {
    match subject {
        Subject::Conversation(conversation) => join::doubt(state, out, conversation),
        Subject::User(user) => presence::ask(state, out, user),
        Subject::Nodes => {}
    }
}
