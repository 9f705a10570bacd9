//! Append: the session's shard hands a message to its conversation's home, which hands it to the store. Nothing is
//! told to anybody before the store answered.

use alloc::boxed::Box;

use schema_wire::peer::PeerFrame;
use schema_wire::record::{Append, Appended, StoreFault, StoreRequest};
use schema_wire::{Generation, Offset, Refused, SessionId, Step};

use crate::effect::Out;
use crate::message::fan_out;
use crate::node::drain;
use crate::outward::ask;
use crate::planted::Fault;
use crate::state::State;
use crate::state::ticket::{Appending, Pending};

/// On the session's shard: to the home.
pub(crate) fn send(state: &mut State, out: &mut Out<'_>, session: SessionId, request: u64, append: Append) {
    let home = state.home(append.conversation);
    out.peer(home, PeerFrame::Append { session, request, append });
}

/// On the home: into the store, unless too much is on its way already.
pub(crate) fn take(state: &mut State, out: &mut Out<'_>, session: SessionId, request: u64, append: Append) {
    if state.planted(Fault::AckBeforeDurable) {
        let outcome = early(state, &append);
        answer(out, session, request, &append, Ok(outcome));
    }
    let limits = &state.config.limits;
    let under_way = state.appends.of.get(&append.conversation).copied().unwrap_or(0);
    if state.appends.total >= limits.appends || under_way >= limits.conversation_appends {
        let retry_after_ms = state.appends.retry_ms(state.now.mono_us);
        let busy = Appended::Refused { refused: Refused::Busy, retry_after_ms };
        return answer(out, session, request, &append, Ok(busy));
    }
    state.appends.begin(&append, state.now.mono_us);
    let request_store = StoreRequest::Append(append.clone());
    let appending = Appending { session, request, append, taken_us: state.now.mono_us };
    ask(state, out, Pending::Append(Box::new(appending)), request_store);
}

/// On the home: the store committed, refused or failed. Fan-out first, so that delivery has begun when the ack comes.
pub(crate) fn stored(
    state: &mut State,
    out: &mut Out<'_>,
    appending: Appending,
    outcome: Result<Appended, StoreFault>,
) {
    state.appends.end(&appending.append, outcome.is_ok(), state.now.mono_us);
    out.measured(Step::Append, appending.taken_us);
    let Appending { session, request, append, .. } = appending;
    match outcome {
        Ok(Appended::Stored { generation, offset, at, expires_at, members_version }) => {
            let place = fan_out::Place { generation, offset, at, expires_at, members_version };
            fan_out::stored(state, out, session, &append, place);
        }
        Ok(Appended::Duplicate { generation, offset, at }) => {
            let place = fan_out::Place { generation, offset, at, expires_at: None, members_version: 0 };
            fan_out::duplicate(state, out, session, &append, place);
        }
        Ok(Appended::Refused { .. }) | Err(_) => {}
    }
    let outcome = distort(state, &append, outcome);
    answer(out, session, request, &append, outcome);
    drain::check(state, out);
}

fn answer(
    out: &mut Out<'_>,
    session: SessionId,
    request: u64,
    append: &Append,
    outcome: Result<Appended, StoreFault>,
) {
    let (conversation, publish_key) = (append.conversation, append.publish_key);
    let frame = PeerFrame::Appended { session, request, conversation, publish_key, outcome };
    out.peer(session.shard(), frame);
}

/// What a planted fault makes of an honest outcome.
fn distort(
    state: &State,
    append: &Append,
    outcome: Result<Appended, StoreFault>,
) -> Result<Appended, StoreFault> {
    match outcome {
        Err(_) if state.planted(Fault::AckOnFault) => Ok(early(state, append)),
        Ok(Appended::Duplicate { generation, offset, at })
            if state.planted(Fault::DuplicateGetsNewOffset) =>
        {
            Ok(Appended::Duplicate { generation, offset: offset.next(), at })
        }
        honest => honest,
    }
}

/// A guess at what the store will say.
fn early(state: &State, append: &Append) -> Appended {
    let home = state.homes.get(&append.conversation);
    let offset = home.and_then(|h| h.due).unwrap_or(Offset(1));
    let generation = home.map_or(Generation::default(), |h| h.generation);
    Appended::Stored { generation, offset, at: state.now.unix_ms, expires_at: None, members_version: 0 }
}
