//! One connection, whatever carries it: frames out, frames in, and why it ended. No meaning in here.

pub(crate) mod framing;
pub(crate) mod quic;
pub(crate) mod websocket;

use bytes::Bytes;
use schema_wire::{Disconnect, Encoding, v1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::ConnectError;
use crate::limits;

/// To the peer.
#[derive(Debug)]
pub(crate) enum Outward {
    /// One encoded frame.
    Frame(Bytes),
    /// Flush, say goodbye, end.
    Close,
}

/// From the peer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are frames, and they are moved once")]
pub(crate) enum Inward {
    Frame(v1::ServerFrame),
    /// Nothing follows.
    Ended(ConnectError),
}

/// A connection. Dropping it ends its tasks.
#[derive(Debug)]
pub(crate) struct Link {
    pub out: mpsc::Sender<Outward>,
    pub incoming: mpsc::Receiver<Inward>,
    pub encoding: Encoding,
    pub quic: bool,
    _tasks: JoinSet<()>,
}

/// The transport's side of a link.
pub(crate) struct Ends {
    pub out: mpsc::Receiver<Outward>,
    pub incoming: mpsc::Sender<Inward>,
}

impl Link {
    fn new(encoding: Encoding, quic: bool, start: impl FnOnce(Ends, &mut JoinSet<()>)) -> Self {
        let (out, out_end) = mpsc::channel(limits::OUTGOING);
        let (incoming_end, incoming) = mpsc::channel(limits::INCOMING);
        let mut tasks = JoinSet::new();
        start(Ends { out: out_end, incoming: incoming_end }, &mut tasks);
        Self { out, incoming, encoding, quic, _tasks: tasks }
    }
}

/// What a close code means to this client.
fn closed_with(code: u16) -> ConnectError {
    match (Disconnect::from_code(code), code) {
        (Some(with), _) => ConnectError::Disconnected(with),
        (None, 4000..=4999) => ConnectError::Code(code),
        (None, _) => ConnectError::Link(format!("the connection was closed (code {code})")),
    }
}

/// A frame that can't be decoded ends the link: what follows it can't be trusted.
fn decode(bytes: &[u8], encoding: Encoding) -> Inward {
    match schema_wire::codec::decode_server(bytes, encoding) {
        Ok(frame) => Inward::Frame(frame),
        Err(_) => Inward::Ended(ConnectError::Protocol("a frame that can't be decoded".to_owned())),
    }
}
