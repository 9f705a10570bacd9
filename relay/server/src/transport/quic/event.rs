//! What the shard's loop hears from the QUIC endpoint and says to it.

use super::error::CloseCause;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Names a connection of one endpoint. Never reused: the handle of a lost connection stays dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuicHandle {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

impl QuicHandle {
    /// The handle as one number, for use as a key.
    pub fn to_bits(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.slot)
    }

    /// The inverse of [`QuicHandle::to_bits`].
    pub fn from_bits(bits: u64) -> QuicHandle {
        QuicHandle { slot: bits as u32, serial: (bits >> 32) as u32 }
    }
}

/// What happened. For one handle: `Opened` first, `Closed` last and once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuicEvent {
    /// A connection carries frames from now on.
    Opened {
        /// Its handle.
        handle: QuicHandle,
        /// The client's address; not yet proven to be its own while `early`.
        peer: SocketAddr,
        /// True when early data came before the handshake completed: `Confirmed` follows if it does.
        early: bool,
    },
    /// The handshake of a connection that was opened early is complete: the client is live, nothing
    /// that follows can be a replay.
    Confirmed {
        /// The connection.
        handle: QuicHandle,
    },
    /// One whole frame, its length prefix removed.
    Frame {
        /// The connection.
        handle: QuicHandle,
        /// The protobuf message.
        bytes: Bytes,
        /// Read before the handshake completed: an attacker may have replayed it.
        early: bool,
        /// How it came.
        via: Via,
    },
    /// A lane that refused a frame has room again: offer every frame still waiting.
    Writable {
        /// The connection.
        handle: QuicHandle,
    },
    /// The client's address changed (RFC 9000 section 9). Path validation is under way; if it fails
    /// a second event names the old address again.
    PeerMoved {
        /// The connection.
        handle: QuicHandle,
        /// The new address.
        peer: SocketAddr,
    },
    /// The connection is over; its handle is dead.
    Closed {
        /// The connection.
        handle: QuicHandle,
        /// Why.
        cause: CloseCause,
    },
}

/// How a client frame came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// On the control stream, in order.
    Control,
    /// In a DATAGRAM frame (RFC 9221), in any order, perhaps never.
    Datagram,
}

/// What became of a frame that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// Queued on a stream; it arrives if the connection lives.
    Stream,
    /// Queued as a datagram; it may be lost.
    Datagram,
    /// There was no room for an ephemeral frame.
    Dropped,
}

/// Packets to send to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The local address to send from, when the client's packets came to a known one.
    pub src_ip: Option<IpAddr>,
    /// The two ECN bits of the IP header.
    pub ecn: u8,
    /// Length of each packet but the last, in bytes; None when there is one packet.
    pub segment_size: Option<u16>,
    /// Total length, in bytes.
    pub len: usize,
}

/// What is known about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The client's address now.
    pub peer: SocketAddr,
    /// The local address its packets come to.
    pub local_ip: Option<IpAddr>,
    /// Estimated round-trip time.
    pub rtt: Duration,
    /// The name the client asked for (SNI).
    pub server_name: Option<String>,
    /// True once the handshake is complete.
    pub confirmed: bool,
    /// True when frames came as early data (0-RTT).
    pub early: bool,
    /// Longest frame a datagram can carry now, in bytes; None when the client takes no datagrams.
    pub datagram_bytes_max: Option<usize>,
    /// Packets lost on the current path.
    pub packets_lost: u64,
}

/// Totals since the start of the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuicCounters {
    /// UDP datagrams received, each segment of a coalesced receive counted.
    pub datagrams_received: u64,
    /// Handshakes begun.
    pub accepted: u64,
    /// Handshakes completed.
    pub confirmed: u64,
    /// Attempts answered with Retry.
    pub retried: u64,
    /// Attempts refused: too many connections or handshakes, or draining.
    pub refused: u64,
    /// Handshakes cut at their deadline.
    pub handshake_timeouts: u64,
    /// Answers outside a connection (Retry, refusal, reset) that found their queue full.
    pub answers_dropped: u64,
    /// Ephemeral frames for which there was no room.
    pub ephemeral_dropped: u64,
}
