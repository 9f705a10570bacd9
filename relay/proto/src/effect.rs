//! Everything a shard can ask for: a closed list. Payload is no effect: `deliver` fills outboxes, the caller drains
//! them with `Shard::poll_transmit`.

use alloc::string::String;
use alloc::vec::Vec;

use schema_wire::peer::PeerFrame;
use schema_wire::publication::Shared;
use schema_wire::record::StoreRequest;
use schema_wire::{Disconnect, Refused, SessionId, ShardId, Step};

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
    /// Bring this to every other node (may be lost, doubled or reordered).
    Forward { publication: Shared },
    /// The session's outbox is no longer empty: drain it with `poll_transmit` when the transport has room.
    Transmit { session: SessionId },
    /// Send what the outbox holds if the peer takes it at once, then close with this code. The session is over:
    /// no further event about it is expected, and ones that still come are ignored.
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
