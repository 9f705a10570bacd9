//! The front door of one shard: every event enters here and goes to the step that handles it.

use alloc::collections::VecDeque;

use schema_wire::peer::PeerFrame;
use schema_wire::record::{StoreFault, StoreReply};
use schema_wire::v1::{ClientFrame, client_frame::Body};
use schema_wire::{Disconnect, Frame, Refused, SessionId, ShardId, UserId};

use crate::control;
use crate::effect::{Effects, Out};
use crate::event::{Event, Now, Ticket};
use crate::limits::Limits;
use crate::message::{ack, admit, append, authorise, deliver, fan_out, forward};
use crate::node::{drain, join};
use crate::outward::refuse;
use crate::session::{
    attach, cursor, detach, heartbeat, history, membership, presence, recover, refresh, share, signal,
    stream, subscribe, typing, watch,
};
use crate::state::conversation::Gathered;
use crate::state::outbox::Outbox;
use crate::state::session::Session;
use crate::state::ticket::Pending;
use crate::state::timer::Timer;
use crate::state::{ShardConfig, State};

/// A wall clock that jumped by more than this moves the deadlines that hang on it, in milliseconds.
const SKEW_MS: i64 = 500;

/// The mind of one shard.
pub struct Shard {
    state: State,
    inbox: VecDeque<PeerFrame>,
}

/// How much a shard holds, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub sessions: usize,
    pub attached: usize,
    pub subscriptions: usize,
    pub feeds: usize,
    pub homes: usize,
    pub held: usize,
    pub appends: usize,
    pub outbox_frames: usize,
    pub outbox_bytes: usize,
    pub standings: usize,
    /// Users this shard keeps presence or a message limit for.
    pub users: usize,
    /// Questions the store has not answered.
    pub tickets: usize,
}

/// A session, and what its outbox holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reader {
    pub session: SessionId,
    pub user: UserId,
    pub frames: usize,
    pub bytes: usize,
}

impl Shard {
    /// An empty shard.
    pub fn new(config: ShardConfig) -> Self {
        Self { state: State::new(config), inbox: VecDeque::new() }
    }

    /// Makes the shard wrong in one way, for tests of the simulator.
    #[cfg(feature = "planted")]
    pub fn plant(&mut self, fault: crate::planted::Fault) {
        self.state.planted = Some(fault);
    }

    /// Handles one event whole. All effects have to be performed, in order, before the next event.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Effects) {
        assert!(now.mono_us >= self.state.now.mono_us, "the monotonic clock never goes back");
        self.state.now = now;
        let mut out = Out { effects, own: self.state.config.shard, inbox: &mut self.inbox };
        follow_clock(&mut self.state);
        dispatch(&mut self.state, &mut out, event);
        settle(&mut self.state, &mut out);
    }

    /// The next frame for a session, if any waits. After `None` an `Effect::Transmit` announces the next one.
    pub fn poll_transmit(&mut self, session: SessionId) -> Option<Frame> {
        self.outbox(session).next()
    }

    /// All frames that wait for a session, oldest first: found once, however many are taken. After `None` an
    /// `Effect::Transmit` announces the next one.
    pub fn outbox(&mut self, session: SessionId) -> Waiting<'_> {
        let State { sessions, closing, ready, config, .. } = &mut self.state;
        let limits = &config.limits;
        match sessions.get_mut(&session) {
            Some(Session { outbox, starved, .. }) => {
                Waiting { outbox: Some(outbox), starved: Some(starved), session, ready, limits }
            }
            None => {
                closing.forget_empty(session);
                Waiting { outbox: closing.get_mut(session), starved: None, session, ready, limits }
            }
        }
    }

    /// When `Event::Timeout` is due, in microseconds of the monotonic clock. Ask after each event and after draining
    /// outboxes: a session that made room may have to go on at once.
    pub fn next_timeout(&self) -> Option<u64> {
        if self.state.ready.is_empty() { self.state.timers.next() } else { Some(self.state.now.mono_us) }
    }

    /// How much the shard holds. Walks over all sessions: ask once per scrape, not per event.
    pub fn counts(&self) -> Counts {
        let state = &self.state;
        let mut counts = Counts {
            sessions: state.sessions.len(),
            feeds: state.feeds.len(),
            homes: state.homes.len(),
            appends: state.appends.total,
            standings: state.standings.len(),
            users: state.present.len() + state.allowances.len() + state.named.len() + state.watched.len(),
            tickets: state.tickets.len(),
            ..Counts::default()
        };
        for session in state.sessions.values() {
            counts.attached += usize::from(session.attached());
            counts.subscriptions += session.subscriptions.len();
            counts.outbox_frames += session.outbox.len();
            counts.outbox_bytes += session.outbox.bytes();
        }
        counts.held = state.homes.values().map(|h| h.held.len()).sum();
        counts
    }

    /// Sessions that have not taken all that waits for them. Walks over all of them: ask now and then.
    pub fn waiting_readers(&self) -> impl Iterator<Item = Reader> {
        let waiting = self.state.sessions.iter().filter(|(_, s)| s.attached() && !s.outbox.is_empty());
        waiting.map(|(session, s)| reader(*session, s))
    }

    /// What waits for one attached session.
    pub fn reader(&self, session: SessionId) -> Option<Reader> {
        self.state.sessions.get(&session).filter(|s| s.attached()).map(|s| reader(session, s))
    }

    /// When the last event was brought, in microseconds of the monotonic clock.
    pub fn now_us(&self) -> u64 {
        self.state.now.mono_us
    }

    /// The bounds it works within at present.
    pub fn limits(&self) -> &Limits {
        self.state.limits()
    }

    /// Frames and bytes waiting for one session, for checks of the bounds.
    pub fn waiting(&self, session: SessionId) -> Option<(usize, usize)> {
        self.state.sessions.get(&session).map(|s| (s.outbox.len(), s.outbox.bytes()))
    }
}

fn reader(session: SessionId, of: &Session) -> Reader {
    Reader { session, user: of.user, frames: of.outbox.len(), bytes: of.outbox.bytes() }
}

/// The frames that wait for one session. Dropped, it lets what waited for room go on.
pub struct Waiting<'a> {
    outbox: Option<&'a mut Outbox>,
    starved: Option<&'a mut bool>,
    session: SessionId,
    ready: &'a mut VecDeque<SessionId>,
    limits: &'a Limits,
}

impl Iterator for Waiting<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        self.outbox.as_mut()?.pop()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (Some(starved), Some(outbox)) = (&mut self.starved, &self.outbox) else { return };
        if **starved && outbox.is_low(self.limits) {
            **starved = false;
            self.ready.push_back(self.session);
        }
    }
}

/// Deadlines that hang on the wall clock move with it.
fn follow_clock(state: &mut State) {
    let skew = state.now.unix_ms as i64 - (state.now.mono_us / 1_000) as i64;
    let jumped = state.skew_ms.is_some_and(|old| (skew - old).abs() > SKEW_MS);
    if state.skew_ms.is_none() || jumped {
        state.skew_ms = Some(skew);
    }
    if jumped {
        let mut all: alloc::vec::Vec<SessionId> = state.sessions.keys().copied().collect();
        all.sort_unstable();
        for id in all {
            state.arm(id);
        }
    }
}

/// What the shard said to itself, and what has room again, belongs to the same event.
fn settle(state: &mut State, out: &mut Out<'_>) {
    loop {
        if let Some(frame) = out.inbox.pop_front() {
            let own = out.own;
            peer(state, out, own, frame);
        } else if let Some(id) = state.ready.pop_front() {
            recover::pump(state, out, id);
        } else {
            return;
        }
    }
}

fn dispatch(state: &mut State, out: &mut Out<'_>, event: Event) {
    match event {
        Event::Connected { session, address, bearer, .. } => {
            attach::connected(state, out, session, address, bearer)
        }
        Event::Received { session, frame, early } => received(state, out, session, frame, early),
        Event::Heard { session } => heartbeat::heard(state, session),
        Event::Undecodable { session } => undecodable(state, out, session),
        Event::Disconnected { session } => detach::disconnected(state, out, session),
        Event::Verified { session, verdict } => attach::verified(state, out, session, verdict),
        Event::Stored { ticket, reply } => stored(state, out, ticket, reply),
        Event::Peer { from, frame } => peer(state, out, from, frame),
        Event::Forwarded { from, hint } => forward::received(state, out, from, hint),
        Event::Listening { subject } => forward::listening(state, out, subject),
        Event::Taken { user, taken } => admit::taken(state, out, user, taken),
        Event::Bus { sound } => join::bus(state, out, sound),
        Event::Changed { change } => control::changed(state, out, change),
        Event::Control { control } => control::control(state, out, control),
        Event::Timeout => timeout(state, out),
    }
}

fn received(state: &mut State, out: &mut Out<'_>, id: SessionId, frame: ClientFrame, early: bool) {
    heartbeat::heard(state, id);
    let Some(session) = state.sessions.get(&id) else { return };
    let attached = session.attached();
    let request = frame.request;
    let Some(body) = frame.body else { return undecodable(state, out, id) };
    let greets = matches!(body, Body::Hello(_));
    let harmless = greets || matches!(body, Body::Ping(_) | Body::Subscribe(_) | Body::Recover(_));
    if state.sessions.get(&id).is_some_and(|s| heartbeat::token_expired(state, s)) {
        return detach::close(state, out, id, Disconnect::TokenExpired);
    }
    // Said first: what came early is worth sending again, what came ungreeted is a fault of the client.
    if early && !harmless {
        return refuse(state, out, id, request, Refused::NotInEarlyData);
    }
    if !attached && !greets {
        return refuse(state, out, id, request, Refused::NotGreeted);
    }
    match body {
        Body::Hello(hello) => attach::hello(state, out, id, request, hello),
        Body::Publish(publish) => admit::publish(state, out, id, request, publish),
        Body::Subscribe(frame) => subscribe::subscribe(state, out, id, request, frame),
        Body::Unsubscribe(frame) => subscribe::unsubscribe(state, out, id, request, &frame),
        Body::Recover(frame) => history::recover(state, out, id, request, &frame),
        Body::Cursor(frame) => cursor::cursor(state, out, id, request, &frame),
        Body::Typing(frame) => typing::typing(state, out, id, &frame),
        Body::Presence(frame) => presence::presence(state, out, id, &frame),
        Body::Watch(frame) => watch::watch(state, out, id, request, &frame),
        Body::Ring(ring) => admit::ring(state, out, id, request, ring),
        Body::Refresh(frame) => refresh::refresh(state, out, id, request, frame),
        Body::Ping(ping) => heartbeat::ping(state, out, id, request, ping),
        Body::Signal(frame) => signal::signal(state, out, id, request, frame),
    }
}

fn undecodable(state: &mut State, out: &mut Out<'_>, id: SessionId) {
    refuse(state, out, id, 0, Refused::Malformed);
}

fn peer(state: &mut State, out: &mut Out<'_>, from: ShardId, frame: PeerFrame) {
    match frame {
        PeerFrame::Append { session, request, append } => append::take(state, out, session, request, append),
        PeerFrame::Appended { session, request, conversation, publish_key, outcome } => {
            ack::appended(state, out, ack::About { session, request, conversation, publish_key }, outcome);
        }
        PeerFrame::Follow { conversation } => join::follow(state, out, from, conversation),
        PeerFrame::Unfollow { conversation } => join::unfollow(state, out, from, conversation),
        PeerFrame::Following { conversation, generation, next } => {
            deliver::following(state, out, conversation, generation, next);
        }
        PeerFrame::Publication(publication) => deliver::publication(state, out, publication),
        PeerFrame::Ephemeral { conversation, sender, event } => {
            typing::ephemeral(state, out, from, conversation, Gathered { sender, event });
        }
        PeerFrame::Signal { conversation, sender, frame } => {
            signal::pass(state, out, conversation, sender, frame);
        }
        PeerFrame::Present { user, device, session, state: shown } => {
            presence::present(state, out, user, (session, device), shown);
        }
        PeerFrame::Close { session, with } => detach::close(state, out, session, with),
        PeerFrame::WatchUser { user, watching } => presence::watch(state, out, from, user, watching),
        PeerFrame::PresenceOf { user, state: shown, seen_at } => {
            presence::shown(state, out, user, shown, seen_at)
        }
        PeerFrame::Share { user, allowance } => share::share(state, out, from, user, allowance),
        PeerFrame::Spent { user, spent } => share::spent(state, out, from, user, spent),
    }
}

/// The part of a reply that was asked for. Another kind of reply is the store's bug and counts as its failure.
macro_rules! answer {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply {
            $pattern => Ok($value),
            StoreReply::Fault(fault) => Err(fault),
            _ => Err(StoreFault::Unavailable),
        }
    };
}

fn stored(state: &mut State, out: &mut Out<'_>, ticket: Ticket, reply: StoreReply) {
    use StoreReply as R;
    let Some(pending) = state.tickets.close(ticket) else { return };
    match pending {
        Pending::Attach { session } => {
            attach::attached(state, out, session, answer!(reply, R::Attach(a) => a))
        }
        Pending::Append(appending) => {
            append::stored(state, out, *appending, answer!(reply, R::Append(a) => a))
        }
        Pending::Authorise { conversation, user } => {
            authorise::stood(state, out, (conversation, user), answer!(reply, R::Standing(s) => s));
        }
        Pending::Subscribe(joining) => {
            subscribe::stood(state, out, &joining, answer!(reply, R::Standing(s) => s))
        }
        Pending::Check(check) => {
            recover::checked(state, out, check, answer!(reply, R::Standing(s) => s));
        }
        Pending::Page { session, conversation, serial } => {
            recover::page(state, out, (session, conversation, serial), answer!(reply, R::Recover(p) => p));
        }
        Pending::History { session, request, conversation } => {
            history::page(state, out, (session, request, conversation), answer!(reply, R::Recover(p) => p));
        }
        Pending::UserEvents { session } => {
            stream::page(state, out, session, answer!(reply, R::UserEvents(p) => p));
        }
        Pending::Head { conversation, serial } => {
            join::head(
                state,
                out,
                (conversation, serial),
                answer!(reply, R::Heads { generation, heads } => (generation, heads)),
            );
        }
        Pending::Heads { conversations } => {
            let answer = answer!(reply, R::Heads { generation, heads } => (generation, heads));
            join::compared(state, out, &conversations, answer);
        }
        Pending::Repair { conversation, serial } => {
            fan_out::repaired(state, out, (conversation, serial), answer!(reply, R::Read(p) => p));
        }
        Pending::Members(look) => {
            membership::looked(state, out, look, answer!(reply, R::Members(d) => d));
        }
        Pending::Cursor(moved) => {
            let answer = answer!(reply, R::MoveCursor { moved, members_version } => (moved, members_version));
            cursor::moved(state, out, &moved, answer);
        }
        Pending::WatchConversation { session, conversation, serial } => {
            watch::stood(state, out, (session, conversation, serial), answer!(reply, R::Standing(s) => s));
        }
        Pending::WatchUsers { session, serial } => {
            watch::acquainted(state, out, (session, serial), answer!(reply, R::Acquaintances(u) => u));
        }
    }
}

fn timeout(state: &mut State, out: &mut Out<'_>) {
    while let Some(timer) = state.timers.pop_due(state.now.mono_us) {
        match timer {
            Timer::Session(id) => heartbeat::look(state, out, id),
            Timer::Retry(id) => recover::retry(state, out, id),
            Timer::Gap(conversation) => fan_out::gap(state, out, conversation),
            Timer::Members(conversation) => membership::retry(state, out, conversation),
            Timer::Presence(id) => presence::late(state, out, id),
            Timer::Watch(id) => watch::retry(state, out, id),
            Timer::Coalesce(conversation) => typing::flush(state, out, conversation),
            Timer::Heads => join::compare(state, out),
            Timer::Drain => drain::check(state, out),
            Timer::Share(user) => share::again(state, out, user),
            Timer::Lease(user) => presence::renew(state, out, user),
        }
    }
}
