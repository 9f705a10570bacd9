//! The floor for QUIC: what a team writes with stock quinn on tokio, one thread, tuned as its documentation advises.
//! A channel of shared frames per connection; everything that waits in it goes to the stream in one write.

use std::collections::HashMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, Incoming, SendStream, TokioRuntime, TransportConfig, VarInt,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::{mpsc, oneshot};

use crate::floor::Arguments;
use crate::framing::{self, FrameReader};
use crate::udp;

const ALPN: &[u8] = b"floor/1";
const IDLE: Duration = Duration::from_secs(60);
/// Frames that may wait for one connection: a window of 4,096 and as much again. Beyond, it reads too slowly.
const WAITING_MAX: usize = 8_192;
/// Application error code of a connection that reads too slowly.
const SLOW_READER: u32 = 1;
/// Application error code of a connection that breaks the protocol.
const NO_PROTOCOL: u32 = 2;

/// First byte of a client's message, and the whole answer to a join.
const JOIN: u8 = 1;
const PUBLISH: u8 = 2;

/// Who joined which room.
type Rooms = Arc<Mutex<HashMap<u32, Vec<Member>>>>;

struct Member {
    frames: mpsc::Sender<Bytes>,
    connection: Connection,
}

/// Serves until standard input ends. Prints `listening ADDRESS` first.
pub fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> Result<()> {
    let endpoint = listen(arguments)?;
    println!("listening {}", endpoint.local_addr()?);
    let end = end_of_input();
    tokio::pin!(end);
    let rooms = Rooms::default();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => drop(tokio::spawn(attend(incoming, rooms.clone()))),
                None => return Ok(()),
            },
            _ = &mut end => return Ok(()),
        }
    }
}

/// Ends with standard input, which a thread of its own reads: tokio's would wait for it at the end.
fn end_of_input() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        // Nobody listens any more when the floor is ending anyway.
        let _ = ended.send(());
    });
    end
}

fn listen(arguments: &Arguments) -> Result<Endpoint> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IDLE.try_into().expect("a minute fits")));
    let tls = QuicServerConfig::try_from(tls(arguments)?)?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
    server.transport_config(Arc::new(transport));
    let socket = udp::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))?)
}

fn tls(arguments: &Arguments) -> Result<rustls::ServerConfig> {
    let file = |path: &std::path::Path| path.display().to_string();
    let chain: Vec<_> = CertificateDer::pem_file_iter(&arguments.certificate)
        .and_then(Iterator::collect)
        .with_context(|| file(&arguments.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&arguments.key).with_context(|| file(&arguments.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    Ok(tls)
}

/// One connection from its first packet to its last.
async fn attend(incoming: Incoming, rooms: Rooms) {
    let Ok(connection) = incoming.await else { return };
    let mut client =
        Client { connection: connection.clone(), rooms: rooms.clone(), joined: Vec::new(), frames: None };
    if client.listen().await.is_err() {
        connection.close(VarInt::from_u32(NO_PROTOCOL), b"not the floor's protocol");
    }
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    for room in client.joined {
        if let Some(members) = rooms.get_mut(&room) {
            members.retain(|member| member.connection.stable_id() != connection.stable_id());
        }
    }
}

/// What one connection has done so far.
struct Client {
    connection: Connection,
    rooms: Rooms,
    joined: Vec<u32>,
    frames: Option<mpsc::Sender<Bytes>>,
}

impl Client {
    /// Reads messages until the connection ends.
    async fn listen(&mut self) -> Result<()> {
        let Ok((mut answers, mut messages)) = self.connection.accept_bi().await else { return Ok(()) };
        let mut reader = FrameReader::default();
        while let Ok(Some(chunk)) = messages.read_chunk(usize::MAX, true).await {
            let mut joins = Vec::new();
            reader.push(&chunk.bytes, |message| {
                match *message {
                    [JOIN, a, b, c, d] => joins.push(u32::from_be_bytes([a, b, c, d])),
                    [PUBLISH, a, b, c, d, ref body @ ..] => {
                        self.publish(u32::from_be_bytes([a, b, c, d]), body);
                    }
                    _ => bail!("no such message"),
                }
                Ok(())
            })?;
            for room in joins {
                self.join(room).await?;
                answers.write_all(&[1, JOIN]).await?;
            }
        }
        Ok(())
    }

    /// Deliveries of all its rooms share one stream, opened with the first.
    async fn join(&mut self, room: u32) -> Result<()> {
        let frames = match &self.frames {
            Some(frames) => frames.clone(),
            None => {
                let stream = self.connection.open_uni().await?;
                let (frames, waiting) = mpsc::channel(WAITING_MAX);
                tokio::spawn(write(stream, waiting));
                self.frames.insert(frames).clone()
            }
        };
        let member = Member { frames, connection: self.connection.clone() };
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).entry(room).or_default().push(member);
        self.joined.push(room);
        Ok(())
    }

    /// One frame, shared by every member; those whose channel is full are closed.
    fn publish(&self, room: u32, body: &[u8]) {
        let mut frame = Vec::with_capacity(body.len() + 8);
        framing::write(&mut frame, body);
        let frame = Bytes::from(frame);
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(members) = rooms.get_mut(&room) else { return };
        members.retain(|member| match member.frames.try_send(frame.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                member.connection.close(VarInt::from_u32(SLOW_READER), b"slow reader");
                false
            }
        });
    }
}

/// Everything that waits goes out in one write.
async fn write(mut stream: SendStream, mut waiting: mpsc::Receiver<Bytes>) {
    let mut frames = Vec::new();
    while waiting.recv_many(&mut frames, WAITING_MAX).await > 0 {
        if stream.write_all_chunks(&mut frames).await.is_err() {
            return;
        }
        frames.clear();
    }
}
