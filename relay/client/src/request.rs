//! What a program asks for and what it gets back, in typed form.

use std::time::Duration;

use bytes::Bytes;
use schema_wire::{
    ConversationId, DeviceId, Generation, Offset, Position, PublishKey, publication::kind, v1,
};

use crate::event::Item;

/// One message to publish.
#[derive(Clone, Debug, Default)]
pub struct PublishRequest {
    pub(crate) kind: u32,
    pub(crate) body: Bytes,
    pub(crate) relates_to: Option<Offset>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) expected_epoch: Option<u64>,
    pub(crate) notify: v1::Notify,
    pub(crate) targets: Vec<DeviceId>,
    pub(crate) commitment: Option<[u8; 32]>,
    pub(crate) publish_key: Option<PublishKey>,
}

impl PublishRequest {
    /// An ordinary message. The relay does not look into `body`.
    pub fn message(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Deletes the message at `offset` for everyone.
    pub fn delete(offset: Offset) -> Self {
        Self { kind: kind::DELETE, relates_to: Some(offset), ..Self::default() }
    }

    /// A kind of the program's own (16 and up): edit, reaction, reply …
    pub fn kind(mut self, kind: u32) -> Self {
        self.kind = kind;
        self
    }

    /// The message this one is about.
    pub fn relates_to(mut self, offset: Offset) -> Self {
        self.relates_to = Some(offset);
        self
    }

    /// Nobody may read it any more after this; whole seconds, at least one.
    pub fn expires_in(mut self, after: Duration) -> Self {
        self.expires_in = Some(after);
        self
    }

    /// Refuse with `EPOCH_CONFLICT` unless the conversation's epoch is this.
    pub fn expected_epoch(mut self, epoch: u64) -> Self {
        self.expected_epoch = Some(epoch);
        self
    }

    /// Whether sleeping devices are woken.
    pub fn notify(mut self, notify: v1::Notify) -> Self {
        self.notify = notify;
        self
    }

    /// Only these devices are meant; needs the capability `targets`.
    pub fn targets(mut self, devices: Vec<DeviceId>) -> Self {
        self.targets = devices;
        self
    }

    /// Binds the sender to the plaintext; needs the capability `franking`.
    pub fn commitment(mut self, commitment: [u8; 32]) -> Self {
        self.commitment = Some(commitment);
        self
    }

    /// A key kept from an earlier attempt (of an earlier process, say); without it a random one is chosen.
    pub fn publish_key(mut self, key: PublishKey) -> Self {
        self.publish_key = Some(key);
        self
    }

    pub(crate) fn into_wire(self, conversation: ConversationId, key: PublishKey) -> v1::Publish {
        v1::Publish {
            conversation: conversation.to_bytes(),
            publish_key: key.to_bytes(),
            kind: self.kind,
            relates_to: self.relates_to.map(|o| o.0),
            expires_in: self.expires_in.map(|d| u32::try_from(d.as_secs().max(1)).unwrap_or(u32::MAX)),
            expected_epoch: self.expected_epoch,
            notify: self.notify.into(),
            targets: self.targets.into_iter().map(DeviceId::to_bytes).collect(),
            body: self.body,
            commitment: self.commitment.map(|c| Bytes::copy_from_slice(&c)),
            ..Default::default()
        }
    }
}

/// The message is durable at this place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    pub conversation: ConversationId,
    pub position: Position,
    pub publish_key: PublishKey,
    /// Unix milliseconds, the store's clock.
    pub at: u64,
    /// The key had been appended before.
    pub duplicate: bool,
}

/// Where a subscription begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// With the first message the user may read.
    Start,
    /// With the next message.
    Now,
    /// After a position the program has.
    Position(Position),
}

/// A subscription that began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Subscription {
    pub generation: Generation,
    /// Newest offset when it began.
    pub head: Offset,
    /// First offset the user may read.
    pub first: Offset,
    pub epoch: u64,
    /// Own read cursor.
    pub cursor: Offset,
}

/// A page of history to fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// First offset wanted, or the last one when `backwards`.
    pub from: Offset,
    /// At most 200; 0 means 50.
    pub limit: u32,
    /// Count down instead of up.
    pub backwards: bool,
}

/// A page of history.
#[derive(Clone, Debug)]
pub struct Page {
    pub generation: Generation,
    /// In the direction asked for.
    pub items: Vec<Item>,
    /// Newest offset.
    pub head: Offset,
    /// Where the next page begins; `None`: nothing further.
    pub next: Option<Offset>,
}
