//! What the relay tells the program: the items of [`crate::Events`], converted from the wire and checked.

use std::time::Duration;

use bytes::Bytes;
use schema_wire::{ConversationId, DeviceId, Generation, Offset, Position, PublishKey, UserId, v1};

use crate::error::{ConnectError, Refusal};

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session stands.
    Connected(Linked),
    /// There is no connection; the next attempt comes after `delay`.
    Reconnecting {
        delay: Duration,
        attempt: u32,
        why: Why,
    },
    /// The next message of a conversation: each offset once, in order.
    Delivery(Delivery),
    /// Offsets that hold nothing (any more): in the place of deliveries, or about earlier ones.
    Gone(Gone),
    /// The store went back: what the program has after `head` did not survive. Own messages among it are published
    /// again with their old keys.
    Rewound {
        conversation: ConversationId,
        generation: Generation,
        head: Offset,
    },
    /// A subscription ended without being asked to.
    Unsubscribed {
        conversation: ConversationId,
        refusal: Option<Refusal>,
    },
    /// The next entry of the user's own stream.
    UserEvent(v1::UserEvent),
    /// The user's own stream went back to `head`.
    UserRewound {
        generation: Generation,
        head: Offset,
    },
    /// Somebody shared a read cursor.
    Cursor(v1::CursorEvent),
    Typing(v1::TypingEvent),
    Presence(v1::PresenceEvent),
    /// Somebody sent a signal to a conversation that is followed.
    Signal(v1::SignalEvent),
    /// The relay speaks to the person or the program.
    Notice(v1::notice::Notice),
    /// The last event: the client does not come back on its own. `None`: the program closed it.
    Closed(Option<Why>),
}

/// Why a connection ended or did not come about.
pub type Why = ConnectError;

/// A session that stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Linked {
    pub user: UserId,
    pub device: DeviceId,
    /// True over QUIC, false over WebSocket.
    pub quic: bool,
    /// Not the first session of this client.
    pub resumed: bool,
    /// The store's generation.
    pub generation: Generation,
    /// Newest entry of the user's own stream.
    pub user_head: Offset,
}

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub conversation: ConversationId,
    pub position: Position,
    /// 0 message · 1 delete · 2 ring · 16 and up the program's own.
    pub kind: u32,
    pub sender: UserId,
    pub device: DeviceId,
    /// Unix milliseconds, the store's clock.
    pub at: u64,
    pub relates_to: Option<Offset>,
    /// Unix milliseconds; not to be shown later than this.
    pub expires_at: Option<u64>,
    pub stamp: Option<Bytes>,
    pub body: Bytes,
    pub publish_key: PublishKey,
    /// Published by this client itself.
    pub own: bool,
}

/// Offsets that hold nothing. Both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone {
    pub conversation: ConversationId,
    pub generation: Generation,
    pub from: Offset,
    pub to: Offset,
    pub reason: v1::GoneReason,
}

/// One place of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Delivery(Delivery),
    Gone(Gone),
}

impl Delivery {
    /// Checks and converts; `None` when an id or the offset is not one.
    pub(crate) fn from_wire(d: v1::Delivery) -> Option<Self> {
        Some(Self {
            conversation: ConversationId::from_slice(&d.conversation)?,
            position: Position { generation: Generation(d.generation), offset: offset(d.offset)? },
            kind: d.kind,
            sender: UserId::from_slice(&d.sender)?,
            device: DeviceId::from_slice(&d.device)?,
            at: d.at,
            relates_to: d.relates_to.map(Offset),
            expires_at: d.expires_at,
            stamp: d.stamp,
            body: d.body,
            publish_key: PublishKey::from_slice(&d.publish_key)?,
            own: false,
        })
    }
}

impl Gone {
    /// Checks and converts; `None` when the id or the range is not one.
    pub(crate) fn from_wire(g: &v1::Gone) -> Option<Self> {
        let (from, to) = (offset(g.from)?, offset(g.to)?);
        (from <= to).then_some(())?;
        Some(Self {
            conversation: ConversationId::from_slice(&g.conversation)?,
            generation: Generation(g.generation),
            from,
            to,
            reason: g.reason.as_known().unwrap_or_default(),
        })
    }
}

impl Item {
    pub(crate) fn from_wire(item: v1::HistoryItem) -> Option<Self> {
        match item.item? {
            v1::history_item::Item::Delivery(d) => Delivery::from_wire(d).map(Self::Delivery),
            v1::history_item::Item::Gone(g) => Gone::from_wire(&g).map(Self::Gone),
        }
    }

    /// First offset it covers.
    pub fn from(&self) -> Offset {
        match self {
            Self::Delivery(d) => d.position.offset,
            Self::Gone(g) => g.from,
        }
    }

    /// Last offset it covers.
    pub fn to(&self) -> Offset {
        match self {
            Self::Delivery(d) => d.position.offset,
            Self::Gone(g) => g.to,
        }
    }

    /// The generation it was told in.
    pub fn generation(&self) -> Generation {
        match self {
            Self::Delivery(d) => d.position.generation,
            Self::Gone(g) => g.generation,
        }
    }
}

impl From<Item> for Event {
    fn from(item: Item) -> Self {
        match item {
            Item::Delivery(d) => Self::Delivery(d),
            Item::Gone(g) => Self::Gone(g),
        }
    }
}

fn offset(raw: u64) -> Option<Offset> {
    (1..u64::MAX).contains(&raw).then_some(Offset(raw))
}
