//! The same over QUIC: frames with a length on the control stream, deliveries on the relay's own streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use schema_wire::Encoding;
use schema_wire::codec::{decode_server, encode_client};
use schema_wire::v1::{self, client_frame, server_frame};
use tokio::sync::mpsc;

/// Server streams of one connection.
const LANES: u32 = 16;
/// Frames read and not looked at.
const FRAMES: usize = 64;
/// Bytes read at once.
const READ: usize = 16 * 1024;

/// An open connection.
#[derive(Debug)]
pub struct RawQuic {
    #[expect(dead_code, reason = "dropped, it closes the connection")]
    connection: Connection,
    send: SendStream,
    frames: mpsc::Receiver<Bytes>,
    request: u64,
}

/// One UDP socket for many connections.
pub fn endpoint(tls: &Arc<rustls::ClientConfig>) -> Result<Endpoint> {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(LANES.into());
    transport.keep_alive_interval(Some(Duration::from_secs(10)));
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls.clone())?));
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

impl RawQuic {
    /// Connects and says Hello.
    pub async fn connect(endpoint: &Endpoint, relay: &str, token: &str) -> Result<Self> {
        let address: SocketAddr = relay.parse()?;
        let connection = endpoint.connect(address, &address.ip().to_string())?.await?;
        let (send, control) = connection.open_bi().await?;
        let (heard, frames) = mpsc::channel(FRAMES);
        tokio::spawn(read(connection.clone(), control, heard));
        let mut raw = Self { connection, send, frames, request: 1 };
        raw.write(&super::hello(token)).await?;
        match raw.answer(1).await? {
            server_frame::Body::Welcome(_) => Ok(raw),
            other => bail!("not welcome: {other:?}"),
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn call(&mut self, body: client_frame::Body) -> Result<server_frame::Body> {
        self.request += 1;
        self.write(&super::frame(self.request, body)).await?;
        self.answer(self.request).await
    }

    async fn write(&mut self, frame: &v1::ClientFrame) -> Result<()> {
        let bytes = encode_client(frame, Encoding::Proto);
        let mut framed = BytesMut::new();
        match bytes.len() {
            len @ 0..0x40 => framed.put_u8(len as u8),
            len @ 0x40..0x4000 => framed.put_u16(0x4000 | len as u16),
            len => framed.put_u32(0x8000_0000 | len as u32),
        }
        framed.extend_from_slice(&bytes);
        Ok(self.send.write_all(&framed).await?)
    }

    async fn answer(&mut self, request: u64) -> Result<server_frame::Body> {
        loop {
            let bytes = self.frames.recv().await.context("the connection ended")?;
            let frame = decode_server(&bytes, Encoding::Proto).ok().context("a frame of the relay")?;
            if frame.answers == request {
                return frame.body.context("an answer has a body");
            }
        }
    }

    /// The next frame as it came, of any stream.
    pub async fn bytes(&mut self) -> Result<Bytes> {
        self.frames.recv().await.context("the connection ended")
    }
}

/// Reads the control stream and every lane until the connection ends.
async fn read(connection: Connection, control: RecvStream, heard: mpsc::Sender<Bytes>) {
    tokio::spawn(read_stream(control, heard.clone()));
    while let Ok(lane) = connection.accept_uni().await {
        tokio::spawn(read_stream(lane, heard.clone()));
    }
}

async fn read_stream(mut stream: RecvStream, heard: mpsc::Sender<Bytes>) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(chunk)) = stream.read_chunk(READ, true).await {
        buffer.extend_from_slice(&chunk.bytes);
        while let Some(frame) = take(&mut buffer) {
            if heard.send(frame).await.is_err() {
                return;
            }
        }
    }
}

/// The first whole frame (RFC 9000 §16 gives the form of its length).
fn take(bytes: &mut BytesMut) -> Option<Bytes> {
    let prefix = 1usize << (*bytes.first()? >> 6);
    if bytes.len() < prefix {
        return None;
    }
    let low =
        bytes[1..prefix].iter().fold(u64::from(bytes[0] & 0x3f), |len, byte| len << 8 | u64::from(*byte));
    let len = low as usize;
    if bytes.len() < prefix + len {
        return None;
    }
    bytes.advance(prefix);
    Some(bytes.split_to(len).freeze())
}
