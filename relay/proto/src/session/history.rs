//! History: a page of the past, without a subscription. The store applies intervals, deletion and expiry.

use schema_wire::frame::Lane;
use schema_wire::record::{Entry, Page, StoreFault, StoreRequest};
use schema_wire::v1::{Gone, HistoryItem, HistoryPage, Recover, history_item::Item, server_frame::Body};
use schema_wire::{ConversationId, Offset, Refused, SessionId};

use crate::effect::Out;
use crate::message::authorise;
use crate::node::join;
use crate::outward::{No, ask, refuse, send_in};
use crate::session::recover::message_delivery;
use crate::state::State;
use crate::state::ticket::Pending;

/// Entries of a page when the client does not say.
const LIMIT_DEFAULT: u32 = 50;

/// A client wants a page.
pub(crate) fn recover(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, frame: &Recover) {
    let Some(conversation) = ConversationId::from_slice(&frame.conversation) else {
        let no = No::from(Refused::Malformed).because("`conversation` must be 16 bytes.");
        return refuse(state, out, id, request, no);
    };
    let limit = if frame.limit == 0 { LIMIT_DEFAULT } else { frame.limit }.min(state.limits().page_max);
    let most = state.limits().requests;
    let Some(session) = state.sessions.get_mut(&id) else { return };
    if session.requests >= most {
        return refuse(state, out, id, request, No::from(Refused::TooMany).conversation(conversation));
    }
    session.requests += 1;
    let from = if frame.backwards { Offset(frame.from) } else { Offset(frame.from.max(1)) };
    let store =
        StoreRequest::Recover { user: session.user, conversation, from, limit, backwards: frame.backwards };
    ask(state, out, Pending::History { session: id, request, conversation }, store);
}

/// The store answered with the page.
pub(crate) fn page(
    state: &mut State,
    out: &mut Out<'_>,
    (id, request, conversation): (SessionId, u64, ConversationId),
    page: Result<Page, StoreFault>,
) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    session.requests -= 1;
    let page = match page {
        Ok(page) if page.readable => page,
        Ok(_) => {
            return refuse(state, out, id, request, No::from(Refused::NotMember).conversation(conversation));
        }
        Err(fault) => {
            let no = authorise::no_store(state, fault).conversation(conversation);
            return refuse(state, out, id, request, no);
        }
    };
    join::generation_seen(state, out, page.generation);
    let now_ms = state.now.unix_ms;
    let next = if page.next > page.head { 0 } else { page.next.0 };
    let body = HistoryPage {
        conversation: conversation.to_bytes(),
        generation: page.generation.0,
        items: page
            .entries
            .iter()
            .map(|entry| item(conversation, page.generation.0, entry, now_ms))
            .collect(),
        head: page.head.0,
        next,
        ..Default::default()
    };
    send_in(state, out, id, request, Body::HistoryPage(body), Lane::Control);
}

fn item(conversation: ConversationId, generation: u32, entry: &Entry, now_ms: u64) -> HistoryItem {
    let gone = |from: Offset, to: Offset, reason: schema_wire::v1::GoneReason| {
        Item::Gone(Gone {
            conversation: conversation.to_bytes(),
            generation,
            from: from.0,
            to: to.0,
            reason: reason.into(),
            ..Default::default()
        })
    };
    let item = match entry {
        Entry::Message(m) if m.expires_at.is_some_and(|at| at <= now_ms) => {
            gone(m.offset, m.offset, schema_wire::v1::GoneReason::Expired)
        }
        Entry::Message(m) => Item::Delivery(message_delivery(m)),
        Entry::Gone { from, to, reason } => gone(*from, *to, *reason),
    };
    HistoryItem { item: Some(item), ..Default::default() }
}
