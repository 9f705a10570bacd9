//! One shard of the relay logic under a script of events, in and out of order: it asks only for what makes sense,
//! its queues stay within their bounds, and a session ends once.

mod frames;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use relay_proto::event::{Claims, Taken, Ticket, Transport};
use relay_proto::{Effect, Event, Limits, Now, Shard, ShardConfig};
use schema_wire::bus::{Hint, Life, Subject};
use schema_wire::record::StoreRequest;
use schema_wire::{Encoding, NodeId, Refused, SessionId, ShardId, UserId, codec};

use crate::script::Script;
use crate::trace;
use frames::{device, user};
use store::Model;

pub const WORDS: &[&[u8]] = &[
    // Connect, greet, settle; subscribe and publish; read; a second later.
    b"\x00\x00",
    b"\x01\x00\x00\x00\x00",
    b"\x04",
    b"\x00\x00\x01\x00\x00\x00\x00\x04",
    b"\x01\x00\x02\x00\x00\x00\x00\x04",
    b"\x01\x00\x01\x00\x00\x01\x00\x05hello\x04",
    b"\x0c\x00",
    b"\x0d\x10",
    b"\x0e\x00\x40",
    b"\x05\x00",
    b"\x06\x00\x01",
    b"\x08\x01\x00",
    b"\x08\x01\x03",
    b"\x08\x01\x05",
    b"\x09\x00\x01",
    b"\x0a\x00",
    b"\x0a\x03",
    b"\x0b\x00",
    b"\x0b\x02",
    b"\x02\x00",
    b"\x03\x00",
    b"\x01\x01\x07",
    b"\x01\x00\x09\x00\x00",
    b"\x01\x00\x08\x00\x01",
];

/// By which the node knows its own frames.
const OWN_LIFE: Life = Life(1);
/// Operations of one script; more are not looked at.
const OPERATIONS_MAX: usize = 200;
/// Effects of one event: every session of the small shard is told everything it may hold, with room to spare.
const EFFECTS_MAX: usize = 20_000;
/// A page goes out as one frame, which may pass the bound on bytes of an outbox that is empty.
const FRAME_BYTES_MAX: usize = 64 * 1_024;

struct World {
    shard: Shard,
    own: ShardId,
    shards: u16,
    limits: Limits,
    now: Now,
    model: Model,
    /// Every session that was ever connected, and whether it is live.
    sessions: BTreeMap<SessionId, bool>,
    serial: u64,
    taking: VecDeque<(UserId, u32)>,
    verifying: VecDeque<SessionId>,
    asked: VecDeque<(Ticket, StoreRequest)>,
    tickets: BTreeSet<Ticket>,
}

/// Inputs: a byte for the set-up, then operations.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let choice = script.byte();
    let shards = 1 + u16::from(choice >> 1 & 1) * 2;
    let own = ShardId(u16::from(choice >> 2) % shards);
    let limits = limits();
    let peers = choice & 1 == 1;
    let config =
        ShardConfig { shard: own, shards, node: NodeId(1), life: OWN_LIFE, peers, limits: limits.clone() };
    let mut world = World {
        shard: Shard::new(config),
        own,
        shards,
        limits,
        now: Now { mono_us: 0, unix_ms: 1_800_000_000_000 },
        model: Model::default(),
        sessions: BTreeMap::new(),
        serial: 0,
        verifying: VecDeque::new(),
        taking: VecDeque::new(),
        asked: VecDeque::new(),
        tickets: BTreeSet::new(),
    };
    for _ in 0..OPERATIONS_MAX {
        if script.is_over() {
            break;
        }
        world.operate(&mut script);
    }
}

/// Small, so that scripts reach them.
fn limits() -> Limits {
    Limits {
        sessions: 5,
        outbox_frames: 12,
        outbox_bytes: 2_048,
        outbox_ephemeral: 4,
        subscriptions: 3,
        requests: 4,
        resume: 3,
        watched_conversations: 2,
        watched_users: 2,
        publishes: 3,
        pages: 2,
        standings: 4,
        appends: 5,
        conversation_appends: 3,
        tail_publications: 3,
        held_publications: 3,
        body_bytes: 200,
        page: 3,
        page_max: 5,
        behind: 20,
        publish_limit: 6,
        publish_window_s: 10,
        heads_ms: 5_000,
        ..Limits::default()
    }
}

impl World {
    fn operate(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let what = choice % 16;
        trace::note("operation", u64::from(what));
        match what {
            0 => self.connect(script),
            1 => {
                let session = self.session(script);
                let frame = frames::client(script);
                self.handle(Event::Received { session, frame, early: script.byte() & 15 == 15 });
            }
            2 => {
                let session = self.session(script);
                self.handle(match codec::decode_client(script.bytes(), Encoding::Proto) {
                    Ok(frame) => Event::Received { session, frame, early: false },
                    Err(_) => Event::Undecodable { session },
                });
            }
            3 => {
                let session = self.session(script);
                self.sessions.entry(session).and_modify(|live| *live = false);
                self.handle(Event::Disconnected { session });
            }
            4 => self.settle(),
            5 => self.verify(script),
            6 => self.answer(script),
            7 => {
                let ticket = Ticket(u64::from(script.byte()) << 32);
                let reply = store::any(script);
                self.handle(Event::Stored { ticket, reply });
            }
            8 if self.shards > 1 => {
                let from =
                    ShardId((self.own.0 + 1 + u16::from(script.byte()) % (self.shards - 1)) % self.shards);
                let frame = frames::peer(script, from, self.own, &self.sessions);
                self.handle(Event::Peer { from, frame });
            }
            9 => {
                // Half of them, so that older inputs keep their meaning.
                let other = choice >= 128;
                let hint =
                    if other { frames::hint(script) } else { Hint::Publication(frames::publication(script)) };
                let from = if other && script.byte() & 7 == 7 { OWN_LIFE } else { Life(2) };
                self.handle(Event::Forwarded { from, hint });
            }
            10 => {
                let change = frames::change(script);
                self.handle(Event::Changed { change });
            }
            11 => {
                let control = frames::control(script);
                self.handle(Event::Control { control });
            }
            12 => self.drain(script),
            13 => self.pass(u64::from(script.byte()) * 100_000),
            14 => self.jump(script),
            // Of the last, half.
            _ if choice >= 128 => {
                let subject = frames::subject(script);
                self.handle(match subject {
                    Subject::Nodes => Event::Bus { sound: script.byte() & 1 == 0 },
                    subject => Event::Listening { subject },
                });
            }
            _ => self.handle(Event::Timeout),
        }
    }

    /// One that was connected, or with luck one that never was.
    fn session(&mut self, script: &mut Script<'_>) -> SessionId {
        let choice = usize::from(script.byte());
        let known = self.sessions.keys().rev().nth(choice % 16);
        known.copied().unwrap_or(SessionId::new(self.own, 1 << 40))
    }

    fn connect(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        self.serial += 1;
        let session = SessionId::new(self.own, self.serial);
        self.sessions.insert(session, true);
        self.handle(Event::Connected {
            session,
            transport: if choice & 1 == 0 { Transport::WebSocket } else { Transport::Quic },
            encoding: if choice & 2 == 0 { Encoding::Proto } else { Encoding::Json },
            address: (choice & 4 != 0).then_some([192, 0, 2, choice >> 6].into()),
            bearer: (choice & 8 != 0).then(|| "bearer".into()),
        });
    }

    fn claims(&self, choice: u8) -> Claims {
        let now_s = self.now.unix_ms / 1_000;
        let lasts = [900, 1, 0, 60][usize::from(choice >> 4 & 3)];
        let (user, device) = (user(choice), device(choice));
        Claims { user, device, issued_at: now_s, expires_at: now_s + lasts }
    }

    fn verify(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let session = match self.verifying.pop_front() {
            Some(session) if choice & 64 == 0 => session,
            _ => self.session(script),
        };
        let verdict = if choice & 128 == 0 { Ok(self.claims(choice)) } else { Err(Refused::TokenInvalid) };
        self.handle(Event::Verified { session, verdict });
    }

    /// Answers one question, in any order, right or wrong.
    fn answer(&mut self, script: &mut Script<'_>) {
        let (which, how) = (usize::from(script.byte()), script.byte());
        let Some(at) = which.checked_rem(self.asked.len()) else { return };
        let (ticket, request) = self.asked.remove(at).expect("within the queue");
        let reply = match how % 4 {
            0 | 1 => self.model.answer(&request, self.now.unix_ms),
            2 => store::fault(script),
            _ => store::any(script),
        };
        self.handle(Event::Stored { ticket, reply });
    }

    /// Answers everything as it should be, until nothing is asked any more.
    fn settle(&mut self) {
        for serial in 0..200_u8 {
            if let Some(session) = self.verifying.pop_front() {
                let verdict = Ok(self.claims(session.0 as u8 & 3));
                self.handle(Event::Verified { session, verdict });
            } else if let Some((ticket, request)) = self.asked.pop_front() {
                let reply = self.model.answer(&request, self.now.unix_ms);
                self.handle(Event::Stored { ticket, reply });
            } else {
                trace::note_size("settled after", usize::from(serial));
                return;
            }
        }
    }

    fn drain(&mut self, script: &mut Script<'_>) {
        let session = self.session(script);
        let was_connected = self.sessions.contains_key(&session);
        let mut frames = 0;
        while let Some(frame) = self.shard.poll_transmit(session) {
            assert!(was_connected, "nobody else is told anything");
            let decoded = codec::decode_server(&frame.body(), Encoding::Proto);
            let body = decoded.expect("a frame decodes").body;
            assert!(body.is_some(), "a frame says something");
            trace::note("told", frames::kind(&frame.body()));
            frames += 1;
        }
        assert!(frames <= self.limits.outbox_frames + self.limits.outbox_ephemeral);
    }

    /// Time passes; what is due is done, and that ends.
    fn pass(&mut self, span_us: u64) {
        while let Some((user, count)) = self.taking.pop_front() {
            let taken = [Some(Taken::Granted(count)), Some(Taken::Dry(span_us)), None][self.taking.len() % 3];
            self.handle(Event::Taken { user, taken });
        }
        let end = self.now.mono_us + span_us;
        for _ in 0..2_000 {
            let Some(due) = self.shard.next_timeout().filter(|due| *due <= end) else { break };
            let step_us = due.saturating_sub(self.now.mono_us);
            self.now.mono_us += step_us;
            self.now.unix_ms += step_us / 1_000;
            self.handle(Event::Timeout);
        }
        let left = self.shard.next_timeout();
        assert!(
            left.is_none_or(|due| due > end),
            "what is due at {end} and done is over, not due at {left:?} again"
        );
        self.now.unix_ms += (end - self.now.mono_us) / 1_000;
        self.now.mono_us = end;
    }

    /// The wall clock jumps, either way.
    fn jump(&mut self, script: &mut Script<'_>) {
        let (back, step_s) = (script.byte() & 1 == 1, u64::from(script.byte()) * 10);
        let unix_ms = self.now.unix_ms;
        self.now.unix_ms =
            if back { unix_ms.saturating_sub(step_s * 1_000) } else { unix_ms + step_s * 1_000 };
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.shard.handle(self.now, event, &mut effects);
        assert!(effects.len() <= EFFECTS_MAX, "{} effects of one event", effects.len());
        for effect in effects {
            self.perform(effect);
        }
        self.check();
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Verify { session, .. } => {
                self.check_live(session, "Verify");
                self.verifying.push_back(session);
            }
            Effect::Store { ticket, request } => {
                assert!(self.tickets.insert(ticket), "a ticket is used once");
                trace::note("asked", store::kind(&request));
                self.asked.push_back((ticket, request));
            }
            Effect::Peer { to, .. } => {
                assert_ne!(to, self.own, "a shard says nothing to itself through others");
                assert!(to.0 < self.shards, "there is no shard {}", to.0);
            }
            Effect::Transmit { session } => {
                self.check_live(session, "Transmit");
                assert!(
                    self.shard.waiting(session).is_none_or(|(frames, _)| frames > 0),
                    "Transmit says that something waits"
                );
            }
            Effect::Close { session, with } => {
                self.check_live(session, "Close");
                self.sessions.insert(session, false);
                trace::note("closed", u64::from(with.code()));
            }
            Effect::Refused { refused } => trace::note("refused", u64::from(refused.code())),
            Effect::Measured { step, .. } => trace::note("measured", step as u64),
            Effect::Forward { .. } => trace::note("forward", 0),
            Effect::Take { user, count } => {
                assert!(count > 0, "something is asked for");
                self.taking.push_back((user, count));
            }
            Effect::Listen { on, .. } => trace::note("listen", u64::from(on)),
            Effect::Drained => {
                assert!(!self.sessions.values().any(|live| *live), "drained means that no session is left");
                trace::note("drained", 0);
            }
        }
    }

    fn check_live(&self, session: SessionId, what: &str) {
        assert_eq!(self.sessions.get(&session), Some(&true), "{what} names a session that is not live");
    }

    fn check(&self) {
        let (counts, limits) = (self.shard.counts(), &self.limits);
        let live = self.sessions.values().filter(|live| **live).count();
        assert_eq!(counts.sessions, live, "the shard holds the sessions that are live");
        assert!(counts.sessions <= limits.sessions && counts.attached <= counts.sessions);
        assert!(counts.subscriptions <= limits.subscriptions * limits.sessions, "{counts:?}");
        assert!(counts.standings <= limits.standings, "{counts:?}");
        assert!(counts.appends <= limits.appends, "{counts:?}");
        assert!(counts.held <= limits.held_publications * counts.homes, "{counts:?}");
        for session in self.sessions.iter().filter(|(_, live)| **live).map(|(session, _)| *session) {
            let (frames, bytes) = self.shard.waiting(session).expect("a live session has an outbox");
            assert!(frames <= limits.outbox_frames + limits.outbox_ephemeral, "{frames} frames wait");
            assert!(bytes <= limits.outbox_bytes + FRAME_BYTES_MAX, "{bytes} bytes wait");
        }
    }
}
