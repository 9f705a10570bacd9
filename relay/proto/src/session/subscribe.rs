//! Subscribe: a session begins to follow a conversation after the position it has, and stops. The shard follows the
//! conversation's home as long as anybody here wants it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use schema_wire::frame::Lane;
use schema_wire::peer::PeerFrame;
use schema_wire::record::{Standing, StoreFault, StoreRequest};
use schema_wire::v1::{Subscribe, Subscribed, Unsubscribe, Unsubscribed, server_frame::Body};
use schema_wire::{ConversationId, Generation, Offset, Position, Refused, SessionId};

use crate::effect::Out;
use crate::message::authorise;
use crate::node::join;
use crate::outward::{No, ask, refuse, send, send_in};
use crate::planted::Fault;
use crate::session::{attach, membership, recover};
use crate::state::State;
use crate::state::subscription::{Mode, Subscription};
use crate::state::ticket::Pending;

/// A position as the wire has it.
pub(crate) fn position(wire: &schema_wire::v1::Position) -> Position {
    Position { generation: Generation(wire.generation), offset: Offset(wire.offset) }
}

/// A client wants to follow a conversation.
pub(crate) fn subscribe(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, frame: Subscribe) {
    let Some(conversation) = ConversationId::from_slice(&frame.conversation) else {
        let no = No::from(Refused::Malformed).because("`conversation` must be 16 bytes.");
        return refuse(state, out, id, request, no);
    };
    let after = frame.after.as_option().map(position);
    begin(state, out, id, request, conversation, after, false);
}

/// Asks what the user is to the conversation. `resume`: one entry of Hello's list, the next waits for this one.
pub(crate) fn begin(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    request: u64,
    conversation: ConversationId,
    after: Option<Position>,
    resume: bool,
) {
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let limits = &state.config.limits;
    let held = session.subscriptions.len() + session.joining.len();
    let one_more = !session.subscriptions.contains(&conversation) && held >= limits.subscriptions;
    let many = one_more || (!resume && session.requests >= limits.requests);
    if many {
        refuse(state, out, id, request, No::from(Refused::TooMany).conversation(conversation));
        return resumed(state, out, id, resume);
    }
    state.serial += 1;
    let serial = state.serial;
    session.requests += 1;
    session.joining.insert(serial, (conversation, request));
    let user = session.user;
    state.feeds.entry(conversation).or_default().joining += 1;
    let pending = Pending::Subscribe(Box::new(Joining { id, request, conversation, after, resume, serial }));
    ask(state, out, pending, StoreRequest::Standing { user, conversation, after });
}

/// A subscription that waits for the standing of its user.
pub(crate) use crate::state::ticket::Joining;

fn resumed(state: &mut State, out: &mut Out<'_>, id: SessionId, resume: bool) {
    if resume {
        attach::resume_next(state, out, id);
    }
}

/// The store said what the user is to the conversation.
pub(crate) fn stood(
    state: &mut State,
    out: &mut Out<'_>,
    joining: &Joining,
    standing: Result<Option<Standing>, StoreFault>,
) {
    let conversation = joining.conversation;
    if let Some(feed) = state.feeds.get_mut(&conversation) {
        feed.joining -= 1;
    }
    if let Some(session) = state.sessions.get_mut(&joining.id) {
        session.requests -= 1;
        // Without an entry it was given up, and answered then.
        let wanted = session.joining.remove(&joining.serial).is_some();
        if wanted && let Err(no) = establish(state, out, joining, standing) {
            refuse(state, out, joining.id, joining.request, no.conversation(conversation));
        }
    }
    release_feed(state, out, conversation);
    resumed(state, out, joining.id, joining.resume);
}

fn establish(
    state: &mut State,
    out: &mut Out<'_>,
    joining: &Joining,
    standing: Result<Option<Standing>, StoreFault>,
) -> Result<(), No> {
    let standing = standing.map_err(|fault| authorise::no_store(state, fault))?;
    let standing = standing.filter(|s| s.role.is_some()).ok_or(Refused::NotMember)?;
    join::generation_seen(state, out, standing.generation);
    let rewound = standing.rewound.filter(|_| !state.planted(Fault::RewoundNotTold));
    let after = match (rewound, joining.after) {
        (Some(head), _) => head,
        (None, Some(position)) => position.offset,
        (None, None) => standing.head,
    };
    let next = after.next().max(standing.first);
    let missed = (standing.head.0 + 1).saturating_sub(next.0);
    // Who was rewound must hear so first; pages alone would never tell.
    if rewound.is_none() && missed > state.limits().behind {
        return Err(No::from(Refused::TooFarBehind).head(standing.head.0));
    }
    answer(state, out, joining, &standing, rewound);
    insert(state, out, joining, &standing, next);
    Ok(())
}

fn answer(
    state: &mut State,
    out: &mut Out<'_>,
    joining: &Joining,
    standing: &Standing,
    rewound: Option<Offset>,
) {
    let conversation = joining.conversation;
    let lane = Lane::Conversation(conversation.spread());
    if let Some(head) = rewound {
        let body = recover::rewound_body(Some(conversation), standing.generation, head);
        send_in(state, out, joining.id, 0, body, lane);
    }
    let subscribed = Subscribed {
        conversation: conversation.to_bytes(),
        generation: standing.generation.0,
        head: standing.head.0,
        first: standing.first.0,
        epoch: standing.epoch,
        cursor: standing.cursor.0,
        ..Default::default()
    };
    send_in(state, out, joining.id, joining.request, Body::Subscribed(subscribed), lane);
}

fn insert(state: &mut State, out: &mut Out<'_>, joining: &Joining, standing: &Standing, next: Offset) {
    let (id, conversation) = (joining.id, joining.conversation);
    // The store began a new life while the answer was on its way.
    let mode = if standing.generation < state.generation { Mode::Checking } else { Mode::Recovering };
    let State { sessions, feeds, config, .. } = &mut *state;
    let Some(session) = sessions.get_mut(&id) else { return };
    session.subscriptions.insert(conversation);
    session.apart.found(&standing.apart, joining.serial, config.limits.apart);
    let feed = feeds.entry(conversation).or_default();
    let subscription = Subscription {
        serial: joining.serial,
        user: session.user,
        mode,
        next,
        generation: standing.generation,
        floor: standing.head.next(),
        head: standing.head,
        last: None,
        own: Default::default(),
        reading: false,
        queued: false,
    };
    feed.subscribers.insert(id, subscription);
    membership::joined(feed, standing);
    if let Some(right) = authorise::right_of(Some(standing)) {
        let user = session.user;
        if feed.members_heard <= standing.members_version {
            authorise::remember(state, conversation, user, right);
        }
    }
    follow(state, out, conversation);
    membership::look_if_behind(state, out, conversation);
    recover::queue(state, out, id, conversation);
}

/// Asks the home for publications, once.
pub(crate) fn follow(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let home = state.home(conversation);
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    if !feed.asked && feed.wanted() {
        feed.asked = true;
        out.peer(home, PeerFrame::Follow { conversation });
    }
}

/// Something is missing on the way from the home: begin anew. What was missed comes from the store.
pub(crate) fn follow_anew(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let home = state.home(conversation);
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    feed.due = None;
    feed.paused.clear();
    for subscription in feed.subscribers.values_mut().filter(|s| s.mode == Mode::Live) {
        subscription.mode = Mode::Recovering;
    }
    out.peer(home, PeerFrame::Follow { conversation });
}

/// Drops the feed and unfollows when nobody here wants it any more.
pub(crate) fn release_feed(state: &mut State, out: &mut Out<'_>, conversation: ConversationId) {
    let home = state.home(conversation);
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    if !feed.wanted() && feed.asked {
        feed.asked = false;
        feed.due = None;
        feed.paused.clear();
        out.peer(home, PeerFrame::Unfollow { conversation });
    }
    if feed.idle() {
        state.feeds.remove(&conversation);
    }
}

/// A client does not want to follow any more.
pub(crate) fn unsubscribe(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    request: u64,
    frame: &Unsubscribe,
) {
    let Some(conversation) = ConversationId::from_slice(&frame.conversation) else {
        let no = No::from(Refused::Malformed).because("`conversation` must be 16 bytes.");
        return refuse(state, out, id, request, no);
    };
    // Answered at once: a later answer would seem to end the subscription that may have begun meanwhile.
    for given_up in give_up(state, id, conversation) {
        unsubscribed(state, out, id, given_up, conversation, 0);
    }
    remove(state, out, id, conversation);
    unsubscribed(state, out, id, request, conversation, 0);
}

/// Forgets what the session asked for and has not got, of one conversation; the requests, in order.
fn give_up(state: &mut State, id: SessionId, conversation: ConversationId) -> Vec<u64> {
    let Some(session) = state.sessions.get_mut(&id) else { return Vec::new() };
    let joining = session.joining.extract_if(.., |_, (joining, _)| *joining == conversation);
    let mut requests: Vec<u64> = joining.map(|(_, (_, request))| request).collect();
    if let Some(greeting) = &mut session.greeting {
        let before = greeting.resume.len();
        greeting.resume.retain(|(resumed, _)| *resumed != conversation);
        requests.extend(core::iter::repeat_n(greeting.request, before - greeting.resume.len()));
    }
    requests
}

/// Takes a subscription away without a word.
pub(crate) fn remove(state: &mut State, out: &mut Out<'_>, id: SessionId, conversation: ConversationId) {
    let too_early = state.planted(Fault::UnfollowTooEarly);
    let home = state.home(conversation);
    if let Some(session) = state.sessions.get_mut(&id) {
        session.subscriptions.remove(&conversation);
        session.outbox.forget(Lane::Conversation(conversation.spread()));
    }
    let Some(feed) = state.feeds.get_mut(&conversation) else { return };
    if feed.subscribers.remove(&id).is_some() && too_early && feed.wanted() {
        out.peer(home, PeerFrame::Unfollow { conversation });
    }
    release_feed(state, out, conversation);
}

/// The user is no member any more: the subscription ends, unasked.
pub(crate) fn left(state: &mut State, out: &mut Out<'_>, id: SessionId, conversation: ConversationId) {
    remove(state, out, id, conversation);
    unsubscribed(state, out, id, 0, conversation, Refused::NotMember.code());
}

/// Ends a subscription whose user left and that has had everything up to then.
pub(crate) fn leave_if_finished(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    conversation: ConversationId,
) {
    let feed = state.feeds.get(&conversation);
    if feed.and_then(|f| f.subscribers.get(&id)).is_some_and(Subscription::finished) {
        left(state, out, id, conversation);
    }
}

fn unsubscribed(
    state: &mut State,
    out: &mut Out<'_>,
    id: SessionId,
    request: u64,
    conversation: ConversationId,
    code: u32,
) {
    let body = Unsubscribed { conversation: conversation.to_bytes(), code, ..Default::default() };
    let lane = Lane::Conversation(conversation.spread());
    if code == 0 {
        send(state, out, id, request, Body::Unsubscribed(body));
    } else {
        send_in(state, out, id, request, Body::Unsubscribed(body), lane);
    }
}
