//! A client made of quinn-proto alone; its packets are handed to whoever may change them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, StreamId,
};

/// The name in the relay's certificate.
pub const NAME: &str = "relay.test";

pub struct Client {
    pub address: SocketAddr,
    /// Everything the connection took for the control stream, in order.
    pub said: Vec<u8>,
    pub connected: bool,
    conn: Connection,
    control: Option<StreamId>,
    handle: ConnectionHandle,
    endpoint: Endpoint,
}

impl Client {
    pub fn connect(
        now: Instant,
        tls: Arc<rustls::ClientConfig>,
        address: SocketAddr,
        server: SocketAddr,
    ) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, Some([9; 32]));
        let crypto = QuicClientConfig::try_from(tls).expect("the configuration has TLS 1.3");
        let config = ClientConfig::new(Arc::new(crypto));
        let (handle, conn) = endpoint.connect(now, config, server, NAME).expect("the name is good");
        Self { address, said: Vec::new(), connected: false, conn, control: None, handle, endpoint }
    }

    /// Writes to the control stream, as much as flow control allows.
    pub fn say(&mut self, bytes: &[u8]) {
        if self.control.is_none() {
            self.control = self.conn.streams().open(Dir::Bi);
        }
        let Some(id) = self.control else { return };
        if let Ok(taken) = self.conn.send_stream(id).write(bytes) {
            self.said.extend_from_slice(&bytes[..taken]);
        }
    }

    /// Ends the control stream, in order or not.
    pub fn end(&mut self, reset: bool) {
        let Some(id) = self.control else { return };
        let mut stream = self.conn.send_stream(id);
        let ended = if reset { stream.reset(7_u32.into()).is_ok() } else { stream.finish().is_ok() };
        crate::trace::note("ended", u64::from(ended) << 1 | u64::from(reset));
    }

    pub fn datagram(&mut self, bytes: &[u8]) {
        let sent = self.conn.datagrams().send(bytes.to_vec().into(), true);
        crate::trace::note("datagram", u64::from(sent.is_ok()));
    }

    pub fn close(&mut self, now: Instant) {
        self.conn.close(now, 9_u32.into(), bytes::Bytes::from_static(b"bye"));
    }

    pub fn update_keys(&mut self) {
        if self.connected {
            self.conn.force_key_update();
        }
    }

    /// The next packets, each apart.
    pub fn packets(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.conn.handle_timeout(now);
        let mut packets = Vec::new();
        for _ in 0..32 {
            let mut buf = Vec::new();
            let Some(transmit) = self.conn.poll_transmit(now, 4, &mut buf) else { break };
            let step = transmit.segment_size.unwrap_or(transmit.size).max(1);
            packets.extend(buf[..transmit.size].chunks(step).map(<[u8]>::to_vec));
        }
        self.settle();
        packets
    }

    pub fn take(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let mut answer = Vec::new();
        let event = self.endpoint.handle(now, from, None, None, BytesMut::from(bytes), &mut answer);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.conn.handle_event(event);
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(event) = self.conn.poll_endpoint_events() {
            if let Some(back) = self.endpoint.handle_event(self.handle, event) {
                self.conn.handle_event(back);
            }
        }
        while let Some(event) = self.conn.poll() {
            self.connected |= matches!(event, Event::Connected);
        }
    }
}
