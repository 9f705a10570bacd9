//! A link over QUIC: the control stream, the relay's streams, datagrams.

use std::net::Ipv4Addr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig};
use schema_wire::Encoding;
use tokio::task::JoinSet;

use super::{Carrier, Incoming, Inlet, Link, Out as LinkOut};
use crate::{Server, tls};

/// Small, so that a paused link soon holds the relay's sends back.
const STREAM_WINDOW: u32 = 128 * 1024;
/// Streams of the relay, as wire.md says.
const LANES: u32 = 8;

/// The sending half.
pub struct Out {
    pub connection: Connection,
    pub control: SendStream,
    _endpoint: Endpoint,
}

impl Out {
    /// One frame behind its length.
    pub async fn frame(&mut self, bytes: &[u8]) {
        let mut out = length(bytes.len());
        out.extend_from_slice(bytes);
        self.bytes(&out).await;
    }

    /// Bytes as they are.
    pub async fn bytes(&mut self, bytes: &[u8]) {
        // A closed connection shows when reading.
        let _ = self.control.write_all(bytes).await;
    }
}

/// A client's endpoint and settings; reusing both resumes the TLS session.
pub struct Client {
    pub endpoint: Endpoint,
    pub config: ClientConfig,
}

impl Client {
    /// A fresh one.
    pub fn new(server: &Server) -> Self {
        let mut tls = tls::config(&server.ca(), "relay/1");
        tls.enable_early_data = true;
        let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3 is among the versions");
        let mut transport = TransportConfig::default();
        transport.max_concurrent_uni_streams(LANES.into());
        transport.max_concurrent_bidi_streams(0u8.into());
        transport.stream_receive_window(STREAM_WINDOW.into());
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
        Self { endpoint, config }
    }

    /// A handshake to its end.
    pub async fn connect(&self, server: &Server) -> Link {
        let name = server.relay().ip().to_string();
        let connecting = self.endpoint.connect_with(self.config.clone(), server.relay(), &name);
        let connection = connecting.expect("an address").await.expect("a handshake");
        self.link(connection).await
    }

    /// Whether a handshake comes to its end.
    pub async fn reaches(&self, server: &Server) -> bool {
        let name = server.relay().ip().to_string();
        let connecting = self.endpoint.connect_with(self.config.clone(), server.relay(), &name);
        connecting.expect("an address").await.is_ok()
    }

    /// The link over a connection: opens the control stream.
    pub async fn link(&self, connection: Connection) -> Link {
        let (control, recv) = connection.open_bi().await.expect("the control stream is granted");
        Link::new(Carrier::Quic, |inlet| {
            let reader = tokio::spawn(read(connection.clone(), recv, inlet));
            (LinkOut::Quic(Out { connection, control, _endpoint: self.endpoint.clone() }), reader)
        })
    }
}

/// Connects.
pub async fn open(server: &Server) -> Link {
    Client::new(server).connect(server).await
}

/// A QUIC variable-length integer (RFC 9000 §16) in its shortest form.
pub fn length(len: usize) -> Vec<u8> {
    match len {
        0..0x40 => vec![len as u8],
        0x40..0x4000 => (0x4000 | len as u16).to_be_bytes().into(),
        _ => (0x8000_0000 | len as u32).to_be_bytes().into(),
    }
}

async fn read(connection: Connection, control: RecvStream, inlet: Inlet) {
    let inlet = || Inlet { incoming: inlet.incoming.clone(), paused: inlet.paused.clone() };
    let mut streams = JoinSet::new();
    streams.spawn(read_stream(control, inlet()));
    streams.spawn(read_datagrams(connection.clone(), inlet()));
    while let Ok(lane) = connection.accept_uni().await {
        streams.spawn(read_stream(lane, inlet()));
    }
    while streams.join_next().await.is_some() {}
    let closed = match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => Incoming::Closed {
            code: u16::try_from(close.error_code.into_inner()).ok(),
            reason: String::from_utf8_lossy(&close.reason).into_owned(),
        },
        other => Incoming::Closed { code: None, reason: other.to_string() },
    };
    let _ = inlet().incoming.send(closed).await;
}

async fn read_stream(mut stream: RecvStream, mut inlet: Inlet) {
    loop {
        inlet.wanted().await;
        let mut first = [0u8; 1];
        if stream.read_exact(&mut first).await.is_err() {
            return;
        }
        let mut rest = vec![0u8; (1usize << (first[0] >> 6)) - 1];
        if stream.read_exact(&mut rest).await.is_err() {
            return;
        }
        let start = usize::from(first[0] & 0x3f);
        let len = rest.iter().fold(start, |len, byte| len << 8 | usize::from(*byte));
        let mut body = vec![0u8; len];
        inlet.wanted().await;
        if stream.read_exact(&mut body).await.is_err() || !inlet.frame(&body, Encoding::Proto).await {
            return;
        }
    }
}

async fn read_datagrams(connection: Connection, inlet: Inlet) {
    while let Ok(datagram) = connection.read_datagram().await {
        if !inlet.frame(&datagram, Encoding::Proto).await {
            return;
        }
    }
}
