//! Everything a shard can ask for: a closed list. Payload is no effect: `deliver` fills outboxes, the caller drains
//! them with `Shard::poll_transmit`.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use schema_wire::bus::{Hint, Subject};
use schema_wire::peer::PeerFrame;
use schema_wire::record::StoreRequest;
use schema_wire::{Disconnect, Refused, SessionId, ShardId, Step, UserId};

use crate::event::Ticket;

/// Something to do. The caller performs all effects of an event, in order, before it brings the next event.
#[derive(Debug)]
pub enum Effect {
    /// Verify an access token; answer with `Event::Verified`.
    Verify { session: SessionId, token: String },
    /// Ask the store; answer with `Event::Stored` and the same ticket.
    Store { ticket: Ticket, request: StoreRequest },
    /// Bring this to another shard of this node (never to the shard itself).
    Peer { to: ShardId, frame: PeerFrame },
    /// Bring this to every node that listens to what it concerns (may be lost, doubled or reordered).
    Forward { hint: Hint },
    /// Listen on the bus to what concerns this, or no longer. Answered with `Event::Listening`.
    Listen { subject: Subject, on: bool },
    /// Count so many durable publishes of the user against the message limit of all nodes, as one step that nothing comes
    /// between, or fewer if that is all that is left; they count for `Limits::shared_window_us`. Answer with `Event::Taken`,
    /// in any case.
    Take { user: UserId, count: u32 },
    /// The session's outbox is no longer empty: drain it with `poll_transmit` when the transport has room.
    Transmit { session: SessionId },
    /// Send what the outbox holds if the peer takes it at once, then close with this code. The session is over:
    /// events that still come about it are ignored. `Disconnected` afterwards frees what its outbox still holds.
    Close { session: SessionId, with: Disconnect },
    /// A step finished; `since_us` is `Now::mono_us` when its event began.
    Measured { step: Step, since_us: u64 },
    /// Count a refusal.
    Refused { refused: Refused },
    /// Draining is over: no session is left on this shard.
    Drained,
}

/// The effects of one event, in order.
pub type Effects = Vec<Effect>;

/// Where a step puts what it asks for. Frames to the own shard stay inside.
pub(crate) struct Out<'a> {
    pub(crate) effects: &'a mut Effects,
    pub(crate) own: ShardId,
    /// Frames the shard said to itself; the front door handles them before the event ends.
    pub(crate) inbox: &'a mut VecDeque<PeerFrame>,
}

impl Out<'_> {
    /// Asks for one thing.
    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Says something to a shard of this node, which may be the own one.
    pub(crate) fn peer(&mut self, to: ShardId, frame: PeerFrame) {
        if to == self.own {
            self.inbox.push_back(frame);
        } else {
            self.effects.push(Effect::Peer { to, frame });
        }
    }

    /// A step of a message's life is over.
    pub(crate) fn measured(&mut self, step: Step, since_us: u64) {
        self.effects.push(Effect::Measured { step, since_us });
    }
}
