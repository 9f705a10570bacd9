//! What a load generator is told and what it answers: one JSON document each way, so that it runs as a process of
//! its own, pinned to its own core.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// WebSocket without TLS; floors only.
    Plain,
    /// TLS 1.3 WebSocket.
    Websocket,
    Quic,
}

/// Which protocol the frames speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// The product's wire protocol, version 1.
    Relay,
    /// The floors' own: join a room, publish to a room (see `floor`).
    Floor,
}

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Never stored, never acked.
    Ephemeral,
    /// Stored, then acked and delivered.
    Durable,
}

/// How publications follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// At fixed times, whatever the server does: `per_second` publications over all rooms, evenly spread, each
    /// room in turn. Latency counts from the intended time.
    Open { per_second: f64 },
    /// `window` publications of each room under way: the next goes out when the oldest reached every subscriber
    /// (ephemeral), or when its ack came (durable).
    Closed { window: u32 },
    /// Nothing is published: connections stay open and idle.
    Idle,
    /// Connections are opened, `at_once` handshakes under way, and closed again: what counts is how many.
    Storm { at_once: u32 },
}

/// One conversation and who takes part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Room {
    /// 32 hexadecimal digits; floors know rooms by their place in the plan.
    pub conversation: String,
    /// Access tokens of those who subscribe; empty strings for floors.
    pub subscribers: Vec<String>,
    /// Access tokens of those who publish, in turn; they do not subscribe.
    pub publishers: Vec<String>,
}

/// Everything a load generator needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub carrier: Carrier,
    pub dialect: Dialect,
    pub kind: Kind,
    pub pace: Pace,
    pub address: SocketAddr,
    /// PEM file with the authority of the server's certificate, which names 127.0.0.1 and localhost.
    pub ca: PathBuf,
    /// Processes whose CPU time and memory are read.
    pub server_pid: u32,
    pub rooms: Vec<Room>,
    /// Bytes of each body, at least [`BODY_BYTES_MIN`].
    pub payload: usize,
    /// Seconds before measuring begins, with the same load.
    pub warm_up_s: f64,
    /// Seconds that are measured.
    pub measure_s: f64,
    /// Part of the subscribers that stop reading when measuring begins (0 to 1).
    pub stopped: f64,
    /// Which of several load generators on one server this is: each comes from loopback addresses of its own.
    #[serde(default)]
    pub process: u8,
    /// Several load generators publish at once: each says `ready` on standard output when its connections stand, and
    /// publishes when it is given a line.
    #[serde(default)]
    pub together: bool,
    /// Addresses beyond loopback are meant; the command line has to say so too.
    pub allow_remote: bool,
}

/// A body begins with its intended time, its number and its room.
pub const BODY_BYTES_MIN: usize = 24;

/// What was seen. Everything is about the measured part only, except `lost` and `doubled`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub connections: u64,
    pub published: u64,
    pub delivered: u64,
    /// Deliveries that never came; a run with any is no result.
    pub lost: u64,
    /// Deliveries that came twice or out of order; a run with any is no result.
    pub doubled: u64,
    pub acked: u64,
    /// Seconds from the first to the last instant of measuring.
    pub seconds: f64,
    /// CPU seconds (user and system) of the server within these.
    pub server_cpu_s: f64,
    /// CPU seconds of the load generator within these: near `seconds`, it was the bottleneck.
    pub client_cpu_s: f64,
    /// Delivery latency in nanoseconds from the intended time: HDR histogram, V2, base64.
    pub delivery_ns: String,
    /// Ack latency in nanoseconds from the intended time: HDR histogram, V2, base64.
    pub ack_ns: String,
    /// Resident KiB of the server before the first connection and at the end of measuring.
    pub rss_before_kib: u64,
    pub rss_after_kib: u64,
    /// The most resident KiB of the server that were seen while measuring.
    pub rss_peak_kib: u64,
    /// Readers that stopped reading.
    pub stopped: u64,
    /// Stopped readers that found the close with the resume code when they read again.
    pub cut: u64,
    /// Stopped readers whose connection had ended without any code.
    pub severed: u64,
    /// Stopped readers that have everything in order in the end.
    pub recovered: u64,
}
