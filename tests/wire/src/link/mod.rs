//! One connection over one carrier: whole frames or raw bytes out, frames and the close code in.

pub mod quic;
pub mod websocket;

use schema_wire::v1::{ClientFrame, ServerFrame};
use schema_wire::{Encoding, codec};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::Server;

/// Frames read ahead; a paused link stops at this.
const READ_AHEAD: usize = 64;

/// How frames travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    Quic,
    WebSocket,
    /// WebSocket with the JSON subprotocol.
    Json,
}

impl Carrier {
    /// The encoding of its frames.
    pub fn encoding(self) -> Encoding {
        if self == Self::Json { Encoding::Json } else { Encoding::Proto }
    }
}

/// What came in.
#[derive(Debug)]
pub enum Incoming {
    Frame(Box<ServerFrame>),
    /// The end, with the code if the other side gave one.
    Closed {
        code: Option<u16>,
        reason: String,
    },
}

/// A connection.
pub struct Link {
    pub carrier: Carrier,
    out: Out,
    incoming: mpsc::Receiver<Incoming>,
    paused: watch::Sender<bool>,
    reader: JoinHandle<()>,
}

/// The sending half.
pub enum Out {
    Quic(quic::Out),
    WebSocket(Box<websocket::Sink>),
}

/// The receiving half's side of the link.
pub struct Inlet {
    pub incoming: mpsc::Sender<Incoming>,
    pub paused: watch::Receiver<bool>,
}

impl Inlet {
    /// Returns once reading is wanted.
    pub async fn wanted(&mut self) {
        // An error says that the link is gone; the next send ends the reader.
        let _ = self.paused.wait_for(|paused| !*paused).await;
    }

    /// Hands over one encoded frame; `false` when nobody listens any more.
    pub async fn frame(&self, bytes: &[u8], encoding: Encoding) -> bool {
        let frame = codec::decode_server(bytes, encoding)
            .unwrap_or_else(|_| panic!("the relay sent {:?}", String::from_utf8_lossy(bytes)));
        self.incoming.send(Incoming::Frame(Box::new(frame))).await.is_ok()
    }
}

impl Link {
    /// Connects.
    pub async fn open(server: &Server, carrier: Carrier) -> Self {
        match carrier {
            Carrier::Quic => quic::open(server).await,
            Carrier::WebSocket => websocket::open(server, carrier, "relay.v1.proto").await,
            Carrier::Json => websocket::open(server, carrier, "relay.v1.json").await,
        }
    }

    /// Whether anybody answers at all: a handshake to its end.
    pub async fn reaches(server: &Server, carrier: Carrier) -> bool {
        match carrier {
            Carrier::Quic => quic::Client::new(server).reaches(server).await,
            Carrier::WebSocket | Carrier::Json => websocket::reaches(server).await,
        }
    }

    pub(crate) fn new(carrier: Carrier, start: impl FnOnce(Inlet) -> (Out, JoinHandle<()>)) -> Self {
        let (sender, incoming) = mpsc::channel(READ_AHEAD);
        let (paused, is_paused) = watch::channel(false);
        let (out, reader) = start(Inlet { incoming: sender, paused: is_paused });
        Self { carrier, out, incoming, paused, reader }
    }

    /// Sends a frame; a connection that is gone shows when reading.
    pub async fn send(&mut self, frame: &ClientFrame) {
        let bytes = codec::encode_client(frame, self.carrier.encoding());
        self.send_frame_bytes(bytes).await;
    }

    /// Sends bytes as one frame, whatever they are.
    pub async fn send_frame_bytes(&mut self, bytes: Vec<u8>) {
        match &mut self.out {
            Out::Quic(out) => out.frame(&bytes).await,
            Out::WebSocket(sink) => websocket::send(sink, bytes, self.carrier).await,
        }
    }

    /// The next thing that comes in.
    pub async fn next(&mut self) -> Incoming {
        let gone = || Incoming::Closed { code: None, reason: "read before".into() };
        self.incoming.recv().await.unwrap_or_else(gone)
    }

    /// Stops reading from the network, or goes on.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// The QUIC half, for what only QUIC has.
    pub fn quic(&mut self) -> &mut quic::Out {
        match &mut self.out {
            Out::Quic(out) => out,
            Out::WebSocket(_) => panic!("not a QUIC link"),
        }
    }

    /// The WebSocket half, for what only WebSocket has.
    pub fn websocket(&mut self) -> &mut websocket::Sink {
        match &mut self.out {
            Out::WebSocket(sink) => sink,
            Out::Quic(_) => panic!("not a WebSocket link"),
        }
    }
}

impl Drop for Link {
    /// Both halves hold the connection; it ends when both are gone.
    fn drop(&mut self) {
        self.reader.abort();
    }
}
