//! Forward: a durable message goes to the other nodes, once per node, as a hint. Runs on the home.

use schema_wire::Step;
use schema_wire::publication::Shared;

use crate::effect::{Effect, Out};
use crate::message::fan_out;
use crate::state::State;

/// To every other node, if there are any.
pub(crate) fn send(state: &State, out: &mut Out<'_>, publication: &Shared) {
    if !state.config.peers {
        return;
    }
    out.push(Effect::Forward { publication: publication.clone() });
    out.measured(Step::Forward, state.now.mono_us);
}

/// From another node. The session it came from is not one of ours, whatever its number says.
pub(crate) fn received(state: &mut State, out: &mut Out<'_>, mut publication: Shared) {
    if publication.origin.is_some() {
        let mut foreign = schema_wire::Publication::clone(&publication);
        foreign.origin = None;
        publication = Shared::new(foreign);
    }
    fan_out::offer(state, out, publication);
}
