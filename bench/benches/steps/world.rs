//! One shard with one conversation, a publisher and its subscribers, and a store that answers at once with as little
//! as the logic needs.

use std::time::{Duration, Instant};

use bytes::Bytes;
use relay_proto::event::{Claims, Ticket, Transport};
use relay_proto::{Effect, Event, Limits, Now, Shard, ShardConfig};
use schema_wire::bus::Life;
use schema_wire::record::{
    Appended, Attachment, MembersDelta, Page, Standing, StoreReply, StoreRequest, UserEventPage, UserStatus,
};
use schema_wire::v1::{ClientFrame, Hello, Publish, Role, Subscribe, client_frame::Body};
use schema_wire::{
    ConversationId, DeviceId, Encoding, Generation, NodeId, Offset, PublishKey, SessionId, ShardId, UserId,
};

const GENERATION: Generation = Generation(1);
const MEMBERS_VERSION: u64 = 1;

/// Time of one publication's three parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// From the decoded frame to the question to the store: admit, authorise, append.
    pub asked: Duration,
    /// From the store's answer to filled outboxes: append, fan out, deliver, ack.
    pub stored: Duration,
    /// Draining the outboxes.
    pub drained: Duration,
}

pub struct World {
    shard: Shard,
    now: Now,
    head: u64,
    members: u32,
    publisher: SessionId,
    body: Bytes,
    effects: Vec<Effect>,
}

pub fn conversation() -> ConversationId {
    ConversationId([9; 16])
}

/// A publish whose key is made of a number.
pub fn publish(number: u64, body: Bytes) -> Publish {
    let mut key = [7; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    Publish {
        conversation: conversation().to_bytes(),
        publish_key: PublishKey(key).to_bytes(),
        body,
        ..Default::default()
    }
}

fn id(number: u32) -> [u8; 16] {
    (u128::from(number) + 1).to_be_bytes()
}

impl World {
    /// Everybody is attached, the subscribers follow, the publisher's right is known.
    pub fn new(subscribers: u32) -> Self {
        let config = ShardConfig {
            shard: ShardId(0),
            shards: 1,
            node: NodeId(0),
            life: Life(1),
            peers: false,
            limits: Limits::default(),
        };
        let mut world = Self {
            shard: Shard::new(config),
            now: Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 },
            head: 0,
            members: subscribers + 1,
            publisher: SessionId::new(ShardId(0), 1),
            body: Bytes::from(vec![7; 128]),
            effects: Vec::new(),
        };
        for number in 0..=subscribers {
            let session = SessionId::new(ShardId(0), u64::from(number) + 1);
            world.attach(session, number);
            if number > 0 {
                let conversation = conversation().to_bytes();
                world.say(session, Subscribe { conversation, ..Default::default() }.into());
            }
        }
        let before = world.head;
        let (delivered, _) = world.publication();
        assert_eq!(
            (world.head - before, delivered),
            (1, u64::from(subscribers) + 1),
            "deliveries and one ack"
        );
        world
    }

    /// One publication from its frame to drained outboxes: frames that came out, and the time it took.
    pub fn publication(&mut self) -> (u64, Spent) {
        // A second each, so that the message limit never refuses; no timer is let fire.
        self.now = Now { mono_us: self.now.mono_us + 1_000_000, unix_ms: self.now.unix_ms + 1_000 };
        let body = Some(publish(self.head + 1, self.body.clone()).into());
        let frame = ClientFrame { request: self.head + 9, body, ..Default::default() };
        let event = Event::Received { session: self.publisher, frame, early: false };
        let mut effects = std::mem::take(&mut self.effects);
        let mut spent = Spent { asked: self.timed(event, &mut effects), ..Spent::default() };
        // The first one asks for the publisher's right before.
        while let Some((ticket, request)) = question(&mut effects) {
            effects.clear();
            let reply = self.answer(&request);
            spent.stored = self.timed(Event::Stored { ticket, reply }, &mut effects);
        }
        let since = Instant::now();
        let mut frames = 0;
        for effect in effects.drain(..) {
            if let Effect::Transmit { session } = effect {
                while self.shard.poll_transmit(session).is_some() {
                    frames += 1;
                }
            }
        }
        spent.drained = since.elapsed();
        self.effects = effects;
        (frames, spent)
    }

    fn timed(&mut self, event: Event, effects: &mut Vec<Effect>) -> Duration {
        let since = Instant::now();
        self.shard.handle(self.now, event, effects);
        since.elapsed()
    }

    fn attach(&mut self, session: SessionId, number: u32) {
        self.bring(Event::Connected {
            session,
            transport: Transport::WebSocket,
            encoding: Encoding::Proto,
            address: None,
            bearer: None,
        });
        let token = number.to_string();
        self.say(session, Hello { versions: vec![1], token, ..Default::default() }.into());
    }

    fn say(&mut self, session: SessionId, body: Body) {
        let frame = ClientFrame { request: 1, body: Some(body), ..Default::default() };
        self.bring(Event::Received { session, frame, early: false });
    }

    /// Handles an event and all that follows from it.
    fn bring(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            self.shard.handle(self.now, event, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Verify { session, token } => {
                        let number = token.parse().expect("tokens are numbers");
                        events.push(Event::Verified { session, verdict: Ok(self.claims(number)) });
                    }
                    Effect::Store { ticket, request } => {
                        let reply = self.answer(&request);
                        events.push(Event::Stored { ticket, reply });
                    }
                    Effect::Transmit { session } => while self.shard.poll_transmit(session).is_some() {},
                    Effect::Close { session, with } => panic!("{session:?} was closed: {with:?}"),
                    _ => {}
                }
            }
        }
    }

    fn claims(&self, number: u32) -> Claims {
        let issued_at = self.now.unix_ms / 1_000;
        // Further than any number of publications gets.
        let expires_at = issued_at + 1_000_000_000_000;
        Claims { user: UserId(id(number)), device: DeviceId(id(number)), issued_at, expires_at }
    }

    fn answer(&mut self, request: &StoreRequest) -> StoreReply {
        let (generation, head) = (GENERATION, Offset(self.head));
        match request {
            StoreRequest::Attach { .. } => StoreReply::Attach(Attachment {
                status: UserStatus::Active,
                device_active: true,
                address_banned: false,
                tokens_not_before: 0,
                generation,
                user_head: Offset(0),
            }),
            StoreRequest::Append(_) => {
                self.head += 1;
                let (offset, at) = (Offset(self.head), self.now.unix_ms);
                let members_version = MEMBERS_VERSION;
                StoreReply::Append(Appended::Stored {
                    generation,
                    offset,
                    at,
                    expires_at: None,
                    members_version,
                })
            }
            StoreRequest::Standing { .. } => StoreReply::Standing(Some(self.standing())),
            StoreRequest::Recover { .. } => StoreReply::Recover(self.page()),
            StoreRequest::Read { .. } => StoreReply::Read(self.page()),
            StoreRequest::Members { .. } => StoreReply::Members(MembersDelta {
                version: MEMBERS_VERSION,
                member_count: self.members,
                ..MembersDelta::default()
            }),
            StoreRequest::Heads { conversations } => {
                StoreReply::Heads { generation, heads: vec![head; conversations.len()] }
            }
            StoreRequest::UserEvents { .. } => {
                let head = Offset(0);
                StoreReply::UserEvents(UserEventPage { generation, head, events: Vec::new(), rewound: None })
            }
            other => panic!("nothing here asks {other:?}"),
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            generation: GENERATION,
            head: Offset(self.head),
            members_version: MEMBERS_VERSION,
            member_count: self.members,
            epoch: 0,
            role: Some(Role::Member),
            first: Offset(1),
            last: None,
            muted_until: None,
            cursor: Offset(0),
            rewound: None,
            waiting: false,
            apart: Vec::new(),
        }
    }

    /// Nothing was missed.
    fn page(&self) -> Page {
        Page {
            generation: GENERATION,
            entries: Vec::new(),
            head: Offset(self.head),
            next: Offset(self.head + 1),
            members_version: MEMBERS_VERSION,
            readable: true,
        }
    }
}

fn question(effects: &mut Vec<Effect>) -> Option<(Ticket, StoreRequest)> {
    let at = effects.iter().position(|effect| matches!(effect, Effect::Store { .. }))?;
    match effects.swap_remove(at) {
        Effect::Store { ticket, request } => Some((ticket, request)),
        _ => None,
    }
}
