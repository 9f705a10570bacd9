//! A relay that does what a test says: takes connections over TLS WebSocket and QUIC on one loopback port and lets
//! the test read and write frames. Runs inside the test process.
#![allow(dead_code, clippy::unwrap_used, clippy::result_large_err)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use quinn::crypto::rustls::QuicServerConfig;
use relay_client::v1::{self, client_frame, server_frame::Body};
use relay_client::{Builder, Client, Disconnect, Encoding, Event, Events, Transport};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use schema_wire::codec::{decode_client, decode_server};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const USER: [u8; 16] = [0xaa; 16];
pub const DEVICE: [u8; 16] = [0xdd; 16];

/// The listeners.
pub struct Peer {
    pub address: SocketAddr,
    pub ca: PathBuf,
    connections: mpsc::Receiver<Connection>,
    folder: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Which listeners a peer opens.
#[derive(Clone, Copy, PartialEq)]
pub enum Listen {
    Both,
    OnlyWebSocket,
}

impl Peer {
    pub async fn start() -> Self {
        Self::listen(Listen::Both).await
    }

    pub async fn listen(listen: Listen) -> Self {
        let key =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let folder = std::env::temp_dir().join(format!("relay-client-{:016x}", getrandom::u64().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, key.cert.pem()).unwrap();
        let tls = |alpn: &[u8]| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let key_der = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![key.cert.der().clone()], key_der.into())
                .unwrap();
            config.alpn_protocols = vec![alpn.to_vec()];
            Arc::new(config)
        };
        let (told, connections) = mpsc::channel(16);
        let (tcp, udp) = same_port(tls(b"relay/1")).await;
        let address = tcp.local_addr().unwrap();
        tokio::spawn(accept_websockets(tcp, TlsAcceptor::from(tls(b"http/1.1")), told.clone()));
        if listen == Listen::Both {
            tokio::spawn(accept_quic(udp, told));
        }
        Self { address, ca, connections, folder }
    }

    /// The next connection, whichever transport it uses.
    pub async fn accept(&mut self) -> Connection {
        within(self.connections.recv()).await.expect("a listener is open")
    }

    /// The next connection, its Hello answered with a Welcome.
    pub async fn welcome(&mut self) -> (Connection, v1::Hello) {
        let mut connection = self.accept().await;
        let hello = connection.hello().await;
        (connection, hello)
    }

    pub fn client(&self, transport: Transport) -> Builder {
        Client::builder().relay(self.address.to_string()).ca(&self.ca).transport(transport).token("a token")
    }

    /// A connected client and its connection.
    pub async fn connected(&mut self, transport: Transport) -> (Client, Events, Connection) {
        let (client, mut events) = self.client(transport).start().unwrap();
        let (connection, _) = self.welcome().await;
        assert!(matches!(next(&mut events).await, Event::Connected(_)));
        (client, events, connection)
    }
}

async fn same_port(tls: Arc<ServerConfig>) -> (TcpListener, quinn::Endpoint) {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let config =
            quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls.clone()).unwrap()));
        if let Ok(udp) = quinn::Endpoint::server(config, tcp.local_addr().unwrap()) {
            return (tcp, udp);
        }
    }
}

/// One client's connection.
pub enum Connection {
    WebSocket(Box<WebSocketStream<TlsStream<TcpStream>>>, Encoding),
    Quic(Box<Quic>),
}

pub struct Quic {
    connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    buffer: BytesMut,
    lanes: Vec<quinn::SendStream>,
}

impl Connection {
    pub fn is_quic(&self) -> bool {
        matches!(self, Self::Quic(_))
    }

    /// The next frame; `None` when the client closed the connection.
    pub async fn try_recv(&mut self) -> Option<v1::ClientFrame> {
        let (bytes, encoding) = within(async {
            match self {
                Self::WebSocket(socket, encoding) => loop {
                    match socket.next().await?.ok()? {
                        Message::Binary(bytes) => return Some((bytes, *encoding)),
                        Message::Text(text) => return Some((text.into(), *encoding)),
                        Message::Close(_) => return None,
                        _ => {}
                    }
                },
                Self::Quic(quic) => quic.recv().await.map(|bytes| (bytes, Encoding::Proto)),
            }
        })
        .await?;
        Some(decode_client(&bytes, encoding).expect("the client sends valid frames"))
    }

    /// The next request and its body.
    pub async fn recv(&mut self) -> (u64, client_frame::Body) {
        let frame = self.try_recv().await.expect("the client is still there");
        (frame.request, frame.body.expect("checked by the codec"))
    }

    pub async fn publish(&mut self) -> (u64, v1::Publish) {
        match self.recv().await {
            (request, client_frame::Body::Publish(publish)) => (request, publish),
            other => panic!("not a Publish: {other:?}"),
        }
    }

    pub async fn subscribe(&mut self) -> (u64, v1::Subscribe) {
        match self.recv().await {
            (request, client_frame::Body::Subscribe(subscribe)) => (request, subscribe),
            other => panic!("not a Subscribe: {other:?}"),
        }
    }

    pub async fn hello(&mut self) -> v1::Hello {
        let (request, body) = self.recv().await;
        let client_frame::Body::Hello(hello) = body else { panic!("not a Hello: {body:?}") };
        self.answer(request, welcome(3_600)).await;
        hello
    }

    pub async fn send(&mut self, body: impl Into<Body>) {
        self.answer(0, body).await;
    }

    pub async fn answer(&mut self, answers: u64, body: impl Into<Body>) {
        let frame = v1::ServerFrame { answers, body: Some(body.into()), ..Default::default() };
        match self {
            Self::WebSocket(socket, Encoding::Proto) => {
                socket.send(Message::Binary(encode(&frame).into())).await.unwrap();
            }
            Self::WebSocket(socket, Encoding::Json) => {
                socket.send(Message::text(serde_json::to_string(&frame).unwrap())).await.unwrap();
            }
            Self::Quic(quic) => quic.send.write_all(&framed(&frame)).await.unwrap(),
        }
    }

    /// Over QUIC on a stream of its own, else like `send`.
    pub async fn deliver(&mut self, lane: usize, body: impl Into<Body>) {
        let Self::Quic(quic) = self else { return self.send(body).await };
        while quic.lanes.len() <= lane {
            quic.lanes.push(quic.connection.open_uni().await.unwrap());
        }
        let frame = v1::ServerFrame { body: Some(body.into()), ..Default::default() };
        quic.lanes[lane].write_all(&framed(&frame)).await.unwrap();
    }

    /// Over QUIC in a datagram, else like `send`.
    pub async fn whisper(&mut self, body: impl Into<Body>) {
        let Self::Quic(quic) = self else { return self.send(body).await };
        let frame = v1::ServerFrame { body: Some(body.into()), ..Default::default() };
        quic.connection.send_datagram(encode(&frame).into()).unwrap();
    }

    pub async fn close(self, with: Disconnect) {
        match self {
            Self::WebSocket(mut socket, _) => {
                let frame = CloseFrame { code: with.code().into(), reason: with.name().into() };
                (*socket).close(Some(frame)).await.unwrap();
                while let Ok(Some(Ok(_))) = tokio::time::timeout(PATIENCE, socket.next()).await {}
            }
            Self::Quic(quic) => quic.connection.close(u32::from(with.code()).into(), with.name().as_bytes()),
        }
    }
}

impl Quic {
    async fn recv(&mut self) -> Option<bytes::Bytes> {
        loop {
            if let Some(frame) = split(&mut self.buffer) {
                return Some(frame);
            }
            let chunk = self.recv.read_chunk(65_536, true).await.ok()??;
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}

/// The length form of 2 bytes is enough for a test.
fn framed(frame: &v1::ServerFrame) -> BytesMut {
    let bytes = encode(frame);
    let mut out = BytesMut::new();
    out.put_u16(0x4000 | u16::try_from(bytes.len()).unwrap());
    out.put_slice(&bytes);
    out
}

fn split(buffer: &mut BytesMut) -> Option<bytes::Bytes> {
    let prefix = 1usize << (buffer.first()? >> 6);
    let mut len = usize::from(buffer[0] & 0x3f);
    for byte in buffer.get(1..prefix)? {
        len = len << 8 | usize::from(*byte);
    }
    (buffer.len() >= prefix + len).then(|| {
        buffer.advance(prefix);
        buffer.split_to(len).freeze()
    })
}

fn encode(frame: &v1::ServerFrame) -> Vec<u8> {
    let shared = schema_wire::Frame::new(frame, schema_wire::frame::Lane::Control);
    assert!(decode_server(&shared.body(), Encoding::Proto).is_ok());
    shared.body().to_vec()
}

async fn accept_websockets(tcp: TcpListener, tls: TlsAcceptor, told: mpsc::Sender<Connection>) {
    while let Ok((stream, _)) = tcp.accept().await {
        let Ok(stream) = tls.accept(stream).await else { continue };
        let mut encoding = Encoding::Proto;
        let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            let offered = request.headers().get("Sec-WebSocket-Protocol").cloned().expect("a subprotocol");
            if offered == "relay.v1.json" {
                encoding = Encoding::Json;
            }
            assert_eq!(request.uri().path(), "/ws");
            response.headers_mut().insert("Sec-WebSocket-Protocol", offered);
            Ok(response)
        };
        let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, choose).await else { continue };
        if told.send(Connection::WebSocket(Box::new(socket), encoding)).await.is_err() {
            return;
        }
    }
}

async fn accept_quic(endpoint: quinn::Endpoint, told: mpsc::Sender<Connection>) {
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        let Ok((send, recv)) = connection.accept_bi().await else { continue };
        let quic = Quic { connection, send, recv, buffer: BytesMut::new(), lanes: Vec::new() };
        if told.send(Connection::Quic(Box::new(quic))).await.is_err() {
            return;
        }
    }
}

pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("something the test waits for does not happen")
}

pub async fn next(events: &mut Events) -> Event {
    within(events.next()).await.expect("the client is not closed")
}

pub fn welcome(token_s: u64) -> v1::Welcome {
    let limits = v1::Limits { max_body: 65_536, max_frame: 81_920, max_page: 200, ..Default::default() };
    v1::Welcome {
        version: 1,
        user: USER.to_vec().into(),
        device: DEVICE.to_vec().into(),
        generation: 1,
        user_head: 7,
        now: 1_000_000_000,
        token_expires_at: 1_000_000 + token_s,
        limits: limits.into(),
        ..Default::default()
    }
}

pub fn ack(publish: &v1::Publish, offset: u64) -> v1::PublishAck {
    v1::PublishAck {
        conversation: publish.conversation.clone(),
        publish_key: publish.publish_key.clone(),
        generation: 1,
        offset,
        at: 1_000 + offset,
        ..Default::default()
    }
}

pub fn delivery(conversation: [u8; 16], offset: u64) -> v1::Delivery {
    v1::Delivery {
        conversation: conversation.to_vec().into(),
        generation: 1,
        offset,
        sender: vec![0xbb; 16].into(),
        device: vec![0xbd; 16].into(),
        at: 1_000 + offset,
        body: format!("message {offset}").into_bytes().into(),
        publish_key: vec![offset as u8; 16].into(),
        ..Default::default()
    }
}

pub fn subscribed(conversation: [u8; 16], head: u64) -> v1::Subscribed {
    v1::Subscribed {
        conversation: conversation.to_vec().into(),
        generation: 1,
        head,
        first: 1,
        ..Default::default()
    }
}
