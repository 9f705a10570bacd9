//! Cursor: "I have read up to here" moves forward in the store and, if shared, is shown to those who watch.

use schema_wire::peer::{Ephemeral, PeerFrame, Sender};
use schema_wire::record::{StoreFault, StoreRequest};
use schema_wire::v1::{self, Done, server_frame::Body};
use schema_wire::{ConversationId, Offset, Refused, SessionId};

use crate::effect::Out;
use crate::message::authorise;
use crate::outward::{No, ask, refuse, send};
use crate::planted::Fault;
use crate::state::State;
use crate::state::ticket::{Moved, Pending};

/// A client read up to somewhere.
pub(crate) fn cursor(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, frame: &v1::Cursor) {
    let Some(conversation) = ConversationId::from_slice(&frame.conversation) else {
        let no = No::from(Refused::Malformed).because("`conversation` must be 16 bytes.");
        return refuse(state, out, id, request, no);
    };
    let most = state.limits().requests;
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.requests >= most {
        return refuse(state, out, id, request, No::from(Refused::TooMany).conversation(conversation));
    }
    session.requests += 1;
    let offset = Offset(frame.offset);
    let store = StoreRequest::MoveCursor { user: session.user, device: session.device, conversation, offset };
    let pending = Pending::Cursor(Moved { session: id, request, conversation, offset, share: frame.share });
    ask(state, out, pending, store);
}

/// The store moved it, or knew better. `outcome`: whether it moved, and as of which membership version the user is a member.
pub(crate) fn moved(
    state: &mut State,
    out: &mut Out<'_>,
    about: &Moved,
    outcome: Result<(bool, Option<u64>), StoreFault>,
) {
    let (id, conversation) = (about.session, about.conversation);
    let home = state.home(conversation);
    let Some(session) = state.sessions.get_mut(&id) else { return };
    session.requests -= 1;
    let user = session.user;
    match outcome {
        Ok((moved, Some(members_version))) => {
            if (moved || state.planted(Fault::CursorShownBack)) && about.share && state.limits().receipts {
                let event = Ephemeral::Cursor { offset: about.offset };
                let sender = Sender { session: id, user, members_version };
                out.peer(home, PeerFrame::Ephemeral { conversation, sender, event });
            }
            send(state, out, id, about.request, Body::Done(Done::default()));
        }
        Ok((_, None)) => {
            refuse(state, out, id, about.request, No::from(Refused::NotMember).conversation(conversation));
        }
        Err(fault) => {
            let no = authorise::no_store(state, fault).conversation(conversation);
            refuse(state, out, id, about.request, no);
        }
    }
}
