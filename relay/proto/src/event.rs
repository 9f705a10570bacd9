//! Everything that can happen to a shard: a closed list. One event is handled whole before the next.

use alloc::string::String;
use core::net::IpAddr;

use schema_wire::bus::{Hint, Life, Subject};
use schema_wire::peer::PeerFrame;
use schema_wire::record::{Change, StoreReply};
use schema_wire::v1::ClientFrame;
use schema_wire::{ConversationId, DeviceId, Disconnect, Encoding, Refused, SessionId, ShardId, UserId};

/// The time as the caller sees it, once per event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Now {
    /// Monotonic microseconds since an arbitrary start; never goes back.
    pub mono_us: u64,
    /// Unix milliseconds; may jump.
    pub unix_ms: u64,
}

/// How a client is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    WebSocket,
    Quic,
}

/// What a verified access token says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claims {
    pub user: UserId,
    pub device: DeviceId,
    /// Unix seconds.
    pub issued_at: u64,
    /// Unix seconds.
    pub expires_at: u64,
}

/// What is left of a user's message limit on all nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// So many are this node's now. At most what was asked for, at least one.
    Granted(u32),
    /// None; one may be after so many microseconds.
    Dry(u64),
}

/// The number by which an effect's answer finds its way back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A transport finished its handshake; Hello is due. The caller chooses the session id and never reuses it.
    Connected {
        session: SessionId,
        transport: Transport,
        encoding: Encoding,
        address: Option<IpAddr>,
        /// `Authorization: Bearer` of the upgrade.
        bearer: Option<String>,
    },
    /// One decoded frame. `early`: it came in 0-RTT data, which an attacker may replay.
    Received { session: SessionId, frame: ClientFrame, early: bool },
    /// A sign of life that is no frame: a WebSocket pong, an acknowledged QUIC keep-alive.
    Heard { session: SessionId },
    /// A frame that could not be decoded (the transport itself is intact).
    Undecodable { session: SessionId },
    /// The transport is gone.
    Disconnected { session: SessionId },
    /// Answer to `Effect::Verify`.
    Verified { session: SessionId, verdict: Result<Claims, Refused> },
    /// Answer to `Effect::Store`.
    Stored { ticket: Ticket, reply: StoreReply },
    /// From another shard of this node.
    Peer { from: ShardId, frame: PeerFrame },
    /// From the bus: what a node, which may be this one, told the others. Only brought to the home of what it concerns.
    Forwarded { from: Life, hint: Hint },
    /// Answer to `Effect::Listen`, again after the bus was away: from now on what concerns this is heard. Only brought to
    /// its home.
    Listening { subject: Subject },
    /// Answer to `Effect::Take`: how many the user may publish here before others count again, or after how many
    /// microseconds one more may be. `None`: nobody can say.
    Taken { user: UserId, taken: Option<Taken> },
    /// Whether the bus is thought to bring what other nodes say. Every shard gets it, first that it does not.
    Bus { sound: bool },
    /// From the change log or an operator. Every shard gets every one.
    Changed { change: Change },
    /// Operator control. Every shard gets every one.
    Control { control: Control },
    /// The moment `Shard::next_timeout` named has come (or earlier: that does no harm).
    Timeout,
}

/// What an operator can ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// Close all sessions of a user.
    DisconnectUser { user: UserId, with: Disconnect },
    /// Close all sessions of one device.
    DisconnectDevice { user: UserId, device: DeviceId, with: Disconnect },
    /// Close one session, if it is this user's: numbers begin anew when a node does.
    DisconnectSession { session: SessionId, user: UserId, with: Disconnect },
    /// Stop taking sessions and publishes, tell everybody, finish, close. Milliseconds.
    Drain { reconnect_after_ms: u32, alternate: String, deadline_ms: u32 },
    /// Forget what is cached of a conversation.
    Forget { conversation: ConversationId },
    /// Another message limit: durable publishes of one user within so many seconds.
    MessageLimit { max: u32, window_s: u32 },
}
