//! A client made of quinn-proto alone, written from the wire rules and not from the relay's code.

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Endpoint,
    EndpointConfig, Event, ReadError, StreamEvent, StreamId, TransportConfig, WriteError,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

pub fn client_tls(root: rustls_pki_types::CertificateDer<'static>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"relay/1".to_vec()];
    tls.enable_early_data = true;
    Arc::new(tls)
}

/// A length prefix as RFC 9000 section 16 prescribes, then the body.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut out = match body.len() {
        n @ 0..=63 => vec![n as u8],
        n @ 64..=16_383 => (0x4000 | n as u16).to_be_bytes().to_vec(),
        n => (0x8000_0000 | n as u32).to_be_bytes().to_vec(),
    };
    out.extend_from_slice(body);
    out
}

/// The same, as the relay takes it.
pub fn framed(body: &[u8]) -> Bytes {
    frame(body).into()
}

/// Cuts a stream into its frames; the rest must be a part frame.
pub fn frames(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let (length, prefix) = match stream {
            [] => return out,
            [a, ..] if a >> 6 == 0 => (usize::from(*a), 1),
            [a, b, ..] if a >> 6 == 1 => (usize::from(u16::from_be_bytes([a & 0x3f, *b])), 2),
            [a, b, c, d, ..] if a >> 6 == 2 => (u32::from_be_bytes([a & 0x3f, *b, *c, *d]) as usize, 4),
            _ => return out,
        };
        if stream.len() < prefix + length {
            return out;
        }
        out.push(stream[prefix..prefix + length].to_vec());
        stream = &stream[prefix + length..];
    }
}

pub struct Client {
    pub address: SocketAddr,
    pub conn: Connection,
    pub control: Option<StreamId>,
    /// Bytes read per stream.
    pub read: BTreeMap<StreamId, Vec<u8>>,
    /// Streams whose end was read.
    pub ended: BTreeSet<StreamId>,
    pub datagrams: Vec<Vec<u8>>,
    pub connected: bool,
    pub lost: Option<ConnectionError>,
    /// Streams that are not read for now.
    pub held: BTreeSet<StreamId>,
    /// Reads nothing at all for now.
    pub hold_all: bool,
    handle: ConnectionHandle,
    endpoint: Endpoint,
    backlog: Vec<u8>,
    finish: bool,
}

impl Client {
    pub fn connect(
        now: Instant,
        tls: Arc<rustls::ClientConfig>,
        address: SocketAddr,
        server: SocketAddr,
        tune: impl FnOnce(&mut TransportConfig),
    ) -> Client {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, Some([9; 32]));
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut transport = TransportConfig::default();
        tune(&mut transport);
        config.transport_config(Arc::new(transport));
        let (handle, conn) = endpoint.connect(now, config, server, crate::world::NAME).unwrap();
        Client {
            address,
            conn,
            control: None,
            read: BTreeMap::new(),
            ended: BTreeSet::new(),
            datagrams: Vec::new(),
            connected: false,
            lost: None,
            held: BTreeSet::new(),
            hold_all: false,
            handle,
            endpoint,
            backlog: Vec::new(),
            finish: false,
        }
    }

    /// Queues raw bytes for the control stream, opening it first.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if self.control.is_none() {
            self.control = Some(self.conn.streams().open(Dir::Bi).expect("the relay allows one"));
        }
        self.backlog.extend_from_slice(bytes);
        self.flush();
    }

    pub fn send(&mut self, body: &[u8]) {
        self.send_raw(&frame(body));
    }

    pub fn finish(&mut self) {
        self.finish = true;
        self.flush();
    }

    /// Bytes not yet taken by the connection.
    pub fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Frames read from all delivery streams, by stream.
    pub fn deliveries(&self) -> Vec<Vec<Vec<u8>>> {
        self.read.iter().filter(|(id, _)| id.dir() == Dir::Uni).map(|(_, bytes)| frames(bytes)).collect()
    }

    /// Frames read from the control stream.
    pub fn answers(&self) -> Vec<Vec<u8>> {
        self.control.and_then(|id| self.read.get(&id)).map(|bytes| frames(bytes)).unwrap_or_default()
    }

    pub fn next_timeout(&mut self) -> Option<Instant> {
        self.conn.poll_timeout()
    }

    pub fn on_time(&mut self, now: Instant) {
        self.conn.handle_timeout(now);
        self.settle();
    }

    pub fn on_datagram(&mut self, now: Instant, from: SocketAddr, ecn: Option<EcnCodepoint>, bytes: &[u8]) {
        let mut answer = Vec::new();
        let event = self.endpoint.handle(now, from, None, ecn, BytesMut::from(bytes), &mut answer);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.conn.handle_event(event);
        }
        self.settle();
    }

    pub fn poll_transmit(&mut self, now: Instant) -> Option<(u8, Vec<Vec<u8>>)> {
        let mut buf = Vec::new();
        let transmit = self.conn.poll_transmit(now, 10, &mut buf)?;
        let step = transmit.segment_size.unwrap_or(transmit.size);
        let packets = buf[..transmit.size].chunks(step).map(<[u8]>::to_vec).collect();
        Some((transmit.ecn.map_or(0, |ecn| ecn as u8), packets))
    }

    /// Reads everything that is not held.
    pub fn read_all(&mut self) {
        let known: Vec<StreamId> = self.read.keys().copied().chain(self.control).collect();
        for id in known {
            self.read_stream(id);
        }
    }

    fn settle(&mut self) {
        while let Some(event) = self.conn.poll_endpoint_events() {
            if let Some(back) = self.endpoint.handle_event(self.handle, event) {
                self.conn.handle_event(back);
            }
        }
        while let Some(event) = self.conn.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                Event::DatagramReceived => {
                    while let Some(bytes) = self.conn.datagrams().recv() {
                        self.datagrams.push(bytes.to_vec());
                    }
                }
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.conn.streams().accept(dir) {
                        self.read.insert(id, Vec::new());
                        self.read_stream(id);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read_stream(id),
                Event::Stream(StreamEvent::Writable { .. }) => self.flush(),
                _ => {}
            }
        }
    }

    fn read_stream(&mut self, id: StreamId) {
        if self.hold_all || self.held.contains(&id) {
            return;
        }
        let mut stream = self.conn.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        let out = self.read.entry(id).or_default();
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => out.extend_from_slice(&chunk.bytes),
                Ok(None) => {
                    self.ended.insert(id);
                    break;
                }
                Err(ReadError::Blocked | ReadError::Reset(_)) => break,
            }
        }
        let _ = chunks.finalize();
    }

    fn flush(&mut self) {
        let Some(id) = self.control else { return };
        while !self.backlog.is_empty() {
            match self.conn.send_stream(id).write(&self.backlog) {
                Ok(taken) => drop(self.backlog.drain(..taken)),
                Err(WriteError::Blocked) => return,
                Err(_) => self.backlog.clear(),
            }
        }
        if std::mem::take(&mut self.finish) {
            self.conn.send_stream(id).finish().ok();
        }
    }
}
