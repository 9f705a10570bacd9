//! A model device: it speaks the real frames, keeps its positions and its unacked messages, and comes back.

mod act;
mod receive;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};

use schema_wire::v1::{ClientFrame, client_frame::Body};
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};

/// Own messages that wait, at most, before a device writes no more.
pub const WAITING_MAX: usize = 7;

/// What stands at an offset, as far as the device was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Message(PublishKey),
    Gone,
}

/// How the device follows a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    No,
    Asked,
    Live,
    /// Too far behind: paging up to the head first.
    Paging,
}

/// One conversation as the device knows it.
#[derive(Clone, Debug)]
pub struct Talk {
    pub member: bool,
    pub follow: Follow,
    /// Generation and last offset; `None` until the first Subscribed.
    pub position: Option<(u32, u64)>,
    /// Newest life of the store that any frame named.
    pub life: u32,
    /// Newest offset that came from the relay, not from an own ack.
    pub confirmed: u64,
    /// Everything up to here was never asked for.
    pub floor: u64,
    pub seen: BTreeMap<u64, Seen>,
    /// Not before this world time.
    pub retry_us: u64,
    pub head: u64,
}

/// What became of an own message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Waiting { retry_us: u64 },
    Sent,
    Acked { generation: u32, offset: u64 },
    Refused { code: u32 },
}

/// One own message.
#[derive(Clone, Debug)]
pub struct Mine {
    pub key: PublishKey,
    pub conversation: ConversationId,
    pub kind: u32,
    pub relates_to: Option<u64>,
    pub expires_in: Option<u32>,
    pub body: String,
    pub fate: Fate,
}

/// What an open request was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Publish(usize),
    Subscribe(ConversationId),
    Page(ConversationId),
    Other,
}

/// One device.
#[derive(Clone, Debug)]
pub struct Client {
    pub device: usize,
    pub user: UserId,
    pub user_index: usize,
    pub id: DeviceId,
    pub link: Option<usize>,
    /// Welcome was received.
    pub ready: bool,
    pub requests: BTreeMap<u64, Wanted>,
    pub talks: BTreeMap<ConversationId, Talk>,
    pub user_position: Option<(u32, u64)>,
    /// A conversation it was added to just now.
    pub came_to: Option<ConversationId>,
    pub messages: Vec<Mine>,
    /// Signals sent so far.
    pub signals: u32,
    /// Unix seconds: issued, expires.
    pub token: (u64, u64),
    /// Revoked for good.
    pub dead: bool,
    next_request: u64,
    retry_us: u64,
    heard_us: u64,
    pinged_us: u64,
    /// Own acked offsets beyond the position.
    ahead: BTreeMap<ConversationId, BTreeSet<u64>>,
}

impl Client {
    /// A device that was never connected.
    pub fn new(device: usize, user: usize, salt: u64) -> Self {
        Self {
            device,
            user: crate::id::user(user, salt),
            user_index: user,
            id: crate::id::device(device, salt),
            link: None,
            ready: false,
            requests: BTreeMap::new(),
            talks: BTreeMap::new(),
            user_position: None,
            came_to: None,
            messages: Vec::new(),
            signals: 0,
            token: (0, 0),
            dead: false,
            next_request: 0,
            retry_us: 0,
            heard_us: 0,
            pinged_us: 0,
            ahead: BTreeMap::new(),
        }
    }

    /// The next frame with a request number of its own.
    fn frame(&mut self, wanted: Wanted, body: impl Into<Body>) -> ClientFrame {
        self.next_request += 1;
        self.requests.insert(self.next_request, wanted);
        ClientFrame { request: self.next_request, body: Some(body.into()), ..Default::default() }
    }

    /// A frame that asks for no answer.
    fn silent(body: impl Into<Body>) -> ClientFrame {
        ClientFrame { body: Some(body.into()), ..Default::default() }
    }

    fn talk(&mut self, conversation: ConversationId) -> &mut Talk {
        self.talks.entry(conversation).or_insert(Talk {
            member: false,
            follow: Follow::No,
            position: None,
            life: 0,
            confirmed: 0,
            floor: 0,
            seen: BTreeMap::new(),
            retry_us: 0,
            head: 0,
        })
    }

    /// The connection is over: what was under way is open again.
    fn lose_link(&mut self, retry_us: u64) {
        self.link = None;
        self.ready = false;
        self.retry_us = retry_us;
        self.requests.clear();
        for talk in self.talks.values_mut() {
            talk.follow = Follow::No;
        }
        for mine in &mut self.messages {
            if mine.fate == Fate::Sent {
                mine.fate = Fate::Waiting { retry_us: 0 };
            }
        }
    }

    /// Notes what stands at a stretch of offsets and moves the position on, over own acked ones too.
    fn note(&mut self, conversation: ConversationId, from: u64, to: u64, seen: Seen) {
        let ahead = self.ahead.entry(conversation).or_default().clone();
        let talk = self.talk(conversation);
        for offset in from..=to {
            talk.seen.insert(offset, seen);
        }
        talk.confirmed = talk.confirmed.max(to);
        if let Some((_, position)) = &mut talk.position {
            *position = (*position).max(to);
            while ahead.contains(&(*position + 1)) {
                *position += 1;
            }
        }
    }

    /// Frames of a newer life of the store: own messages that may not have survived are published again by key.
    fn note_generation(&mut self, conversation: ConversationId, generation: u32) {
        let talk = self.talk(conversation);
        if talk.life < generation {
            talk.life = generation;
            let survived = talk.confirmed;
            self.forget_beyond(conversation, generation, survived);
        }
    }

    fn forget_beyond(&mut self, conversation: ConversationId, generation: u32, survived: u64) {
        let fresh: BTreeSet<u64> =
            self.acked_since(conversation, generation).into_iter().map(|(offset, _)| offset).collect();
        let ahead = self.ahead.entry(conversation).or_default();
        let stays = |offset: &u64| *offset <= survived || fresh.contains(offset);
        ahead.retain(stays);
        // In the newer life somebody else's message may stand where an own one was acked.
        self.talk(conversation).seen.retain(|offset, _| stays(offset));
        for mine in self.messages.iter_mut().filter(|m| m.conversation == conversation) {
            if let Fate::Acked { generation: g, offset } = mine.fate
                && g < generation
                && offset > survived
            {
                mine.fate = Fate::Waiting { retry_us: 0 };
            }
        }
    }
}
