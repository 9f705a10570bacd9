//! The QUIC endpoint under a script: real clients, packets of theirs changed, repeated and from elsewhere, garbage.
//! Connections stay within their bounds, events come in order, and frames are those a client sent.

mod client;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use relay_server::transport::quic::{
    Issuer, QuicConfig, QuicEndpoint, QuicEvent, QuicHandle, QuicKeys, QuicLimits, Via, server_tls,
};
use schema_wire::frame::{Lane, write_quic_varint};

use crate::random::digest;
use crate::script::Script;
use crate::trace;
use client::{Client, NAME};

pub const WORDS: &[&[u8]] = &[
    b"\x00\x02\x02\x02",
    b"\x02",
    b"\x01\x00\x06\x05hello",
    b"\x01\x00\x03\x40\x01x",
    b"\x01\x00\x02\x00\x00",
    b"\x01\x00\x08\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x01\x00\x02\x43\xe9",
    b"\x03\x00\x00\x10\x01",
    b"\x04\x00\x00",
    b"\x05\x00\x10\xc0\x00\x00\x00\x01\x08",
    b"\x05\x00\x05\x40\x00\x00\x00\x00",
    b"\x06\x40",
    b"\x07\x00\x10\x00",
    b"\x08\x00",
    b"\x09\x00\x05\x04abcd",
    b"\x0a\x00\x00",
    b"\x0b\x00",
    b"\x0c",
    b"\x0d\x00",
    b"\x00\x00\x00\x00",
];

/// Operations of one script; more are not looked at.
const OPERATIONS_MAX: usize = 40;
const CLIENTS_MAX: usize = 4;
const CONNECTIONS_MAX: usize = 6;
const HANDSHAKES_MAX: usize = 4;
const FRAME_BYTES_MAX: usize = 1_000;

struct World {
    now: Instant,
    server: QuicEndpoint,
    clients: Vec<Client>,
    /// Packets of clients as they were sent.
    tape: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<QuicEvent>,
    /// Connections by handle: whether live, and the control frames they brought.
    seen: BTreeMap<u64, (bool, Vec<Bytes>)>,
}

/// Inputs: a byte for the set-up, then operations.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let handshakes_before_retry = usize::from(script.byte()) % (HANDSHAKES_MAX + 1);
    let mut world = World {
        now: site().start,
        server: QuicEndpoint::new(&config(handshakes_before_retry)).expect("the configuration is good"),
        clients: Vec::new(),
        tape: Vec::new(),
        events: Vec::new(),
        seen: BTreeMap::new(),
    };
    for _ in 0..OPERATIONS_MAX {
        if script.is_over() {
            break;
        }
        world.operate(&mut script);
        world.check();
    }
}

impl World {
    fn operate(&mut self, script: &mut Script<'_>) {
        let what = script.byte() % 14;
        trace::note("operation", u64::from(what));
        match what {
            0 => self.connect(),
            1 => {
                let client = script.byte();
                let bytes = script.bytes();
                self.client(client, |client| client.say(bytes));
            }
            2 => (0..3).for_each(|_| self.exchange(&mut |_| {})),
            3 => {
                let (at, mask) = (script.below(1_400), script.byte());
                self.exchange(&mut |packet| {
                    let at = at % packet.len();
                    packet[at] ^= mask;
                });
            }
            4 => {
                let keep = script.below(1_400);
                self.exchange(&mut |packet| packet.truncate(keep.max(1)));
            }
            5 => {
                let from = stranger(script.byte());
                self.deliver(from, script.bytes(), 0);
            }
            6 => self.pass(Duration::from_millis(u64::from(script.byte()) * 100)),
            7 => self.repeat(script),
            8 => {
                let client = script.byte();
                self.client(client, |client| client.end(client.said.len() % 2 == 1));
            }
            9 => {
                let client = script.byte();
                let bytes = script.bytes();
                self.client(client, |client| client.datagram(bytes));
            }
            10 => self.write(script),
            11 => {
                let (client, now) = (script.byte(), self.now);
                self.client(client, |client| client.close(now));
            }
            12 => self.client(script.byte(), Client::update_keys),
            _ => self.close(script),
        }
    }

    fn client(&mut self, choice: u8, act: impl FnOnce(&mut Client)) {
        if let Some(at) = usize::from(choice).checked_rem(self.clients.len()) {
            act(&mut self.clients[at]);
        }
    }

    fn connect(&mut self) {
        if self.clients.len() < CLIENTS_MAX {
            let address = SocketAddr::new([198, 51, 100, 7].into(), 40_000 + self.clients.len() as u16);
            self.clients.push(Client::connect(self.now, site().client.clone(), address, server_address()));
        }
    }

    /// One packet flight each way; the first packet of each client is changed on its way.
    fn exchange(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
        self.now += Duration::from_millis(10);
        for at in 0..self.clients.len() {
            let from = self.clients[at].address;
            for (number, mut packet) in self.clients[at].packets(self.now).into_iter().enumerate() {
                if self.tape.len() < 64 {
                    self.tape.push((from, packet.clone()));
                }
                if number == 0 {
                    change(&mut packet);
                }
                self.deliver(from, &packet, 0);
            }
        }
        self.answer();
    }

    /// Brings the relay's packets to the clients they are for.
    fn answer(&mut self) {
        let mut buf = Vec::new();
        for _ in 0..256 {
            let Some(transmit) = self.server.poll_transmit(self.now, &mut buf) else { return };
            assert_eq!(buf.len(), transmit.len);
            let step = transmit.segment_size.map_or(transmit.len, usize::from);
            trace::note_size("packets", transmit.len.div_ceil(step));
            if let Some(client) = self.clients.iter_mut().find(|client| client.address == transmit.to) {
                buf.chunks(step).for_each(|packet| client.take(self.now, server_address(), packet));
            }
        }
        panic!("the relay has ever more to send at one moment");
    }

    fn deliver(&mut self, from: SocketAddr, bytes: &[u8], segment: usize) {
        self.server.handle_datagram(self.now, from, None, 0, segment, bytes, &mut self.events);
    }

    /// A packet again, perhaps from elsewhere, perhaps as one of several in a receive.
    fn repeat(&mut self, script: &mut Script<'_>) {
        let (which, how, mask) = (usize::from(script.byte()), script.byte(), script.byte());
        let Some(at) = which.checked_rem(self.tape.len()) else { return };
        let (from, mut packet) = self.tape[at].clone();
        let last = packet.len() - 1;
        packet[last] ^= mask;
        let from = if how & 1 == 0 { from } else { stranger(how) };
        self.deliver(from, &packet, usize::from(how & 0xfe));
    }

    fn live(&self, choice: u8) -> Option<QuicHandle> {
        let live: Vec<u64> =
            self.seen.iter().filter(|(_, (live, _))| *live).map(|(handle, _)| *handle).collect();
        let at = usize::from(choice).checked_rem(live.len())?;
        Some(QuicHandle::from_bits(live[at]))
    }

    fn write(&mut self, script: &mut Script<'_>) {
        let (choice, length) = (script.byte(), script.below(5_000));
        let Some(handle) = self.live(choice) else { return };
        let lane = [Lane::Control, Lane::Ephemeral, Lane::Conversation(0), Lane::Conversation(5)];
        let mut frame = Vec::new();
        write_quic_varint(&mut frame, length as u64);
        frame.resize(frame.len() + length, b'd');
        let wrote = self.server.write_bytes(handle, &frame.into(), lane[usize::from(choice >> 6)]);
        trace::note("wrote", digest(format!("{wrote:?}").as_bytes()));
    }

    fn close(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let Some(handle) = self.live(choice) else { return self.server.drain() };
        if choice & 64 == 0 {
            self.server.set_reading(handle, choice & 128 == 0, self.now, &mut self.events);
        } else {
            let queued = choice & 128 == 0;
            let (code, reason) = (4_001_u32, "going away");
            if queued {
                self.server.close_after_flush(self.now, handle, code, reason, &mut self.events);
            } else {
                self.server.close(self.now, handle, code, reason, &mut self.events);
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..500 {
            let Some(due) = self.server.next_timeout().filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.server.handle_timeout(self.now, &mut self.events);
            self.answer();
        }
        assert!(self.server.next_timeout().is_none_or(|due| due > end), "what is due and done is over");
        self.now = end;
    }

    fn check(&mut self) {
        let (connections, handshakes) = (self.server.connections(), self.server.handshakes());
        assert!(
            connections <= CONNECTIONS_MAX && handshakes <= HANDSHAKES_MAX,
            "{connections}, {handshakes}"
        );
        for event in std::mem::take(&mut self.events) {
            self.observe(event);
        }
        let open = self.seen.values().filter(|(live, _)| *live).count();
        assert!(open <= connections, "whatever is open is held");
        for (_, frames) in self.seen.values() {
            let sent = self.clients.iter().any(|client| is_prefix(frames, &client.said));
            assert!(frames.is_empty() || sent, "frames are those that one client sent, in order");
        }
    }

    fn observe(&mut self, event: QuicEvent) {
        match event {
            QuicEvent::Opened { handle, .. } => {
                let before = self.seen.insert(handle.to_bits(), (true, Vec::new()));
                assert!(before.is_none(), "a handle is opened once");
                trace::note("opened", 0);
            }
            QuicEvent::Frame { handle, bytes, via, .. } => {
                trace::note_size("frame", bytes.len());
                let (live, frames) =
                    self.seen.get_mut(&handle.to_bits()).expect("a frame follows the opening");
                assert!(*live, "no frame after the close");
                if via == Via::Control {
                    assert!(!bytes.is_empty() && bytes.len() <= FRAME_BYTES_MAX, "frames keep their bounds");
                    frames.push(bytes);
                }
            }
            QuicEvent::Closed { handle, cause } => {
                trace::note("closed", digest(format!("{cause:?}").as_bytes()));
                let (live, _) = self.seen.get_mut(&handle.to_bits()).expect("a close follows the opening");
                assert!(std::mem::replace(live, false), "a handle is closed once");
            }
            QuicEvent::Confirmed { handle }
            | QuicEvent::Writable { handle }
            | QuicEvent::PeerMoved { handle, .. } => {
                let live = self.seen.get(&handle.to_bits()).is_some_and(|(live, _)| *live);
                assert!(live, "events are about live connections");
            }
        }
    }
}

/// Whether the stream begins with these frames, each behind its length.
fn is_prefix(frames: &[Bytes], mut stream: &[u8]) -> bool {
    frames.iter().all(|frame| {
        let mut wire = Vec::new();
        write_quic_varint(&mut wire, frame.len() as u64);
        wire.extend_from_slice(frame);
        stream.strip_prefix(wire.as_slice()).is_some_and(|rest| {
            stream = rest;
            true
        })
    })
}

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 8_443))
}

fn stranger(choice: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, choice], 1_000 + u16::from(choice)))
}

struct Site {
    start: Instant,
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
}

fn config(handshakes_before_retry: usize) -> QuicConfig {
    let limits = QuicLimits {
        connections_max: CONNECTIONS_MAX,
        handshakes_max: HANDSHAKES_MAX,
        handshakes_before_retry,
        frame_bytes_max: FRAME_BYTES_MAX,
        receive_window_bytes: 8_192,
        send_window_bytes: 16_384,
        answers_max: 8,
        ..QuicLimits::default()
    };
    QuicConfig {
        issuer: Issuer { shard: 2, generation: 1, node: 77 },
        shards: 4,
        tls: site().server.clone(),
        limits,
        keys: QuicKeys { retry: [1; 32], reset: [2; 32] },
        dont_fragment: true,
        seed: Some([1; 32]),
    }
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let key = rcgen::generate_simple_self_signed(vec![NAME.into()]).expect("a certificate can be made");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let private = rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der());
        let private = private.expect("a key just made is good");
        let certified =
            rustls::sign::CertifiedKey::from_der(vec![key.cert.der().clone()], private, &provider);
        let resolver =
            rustls::sign::SingleCertAndKey::from(certified.expect("key and certificate belong together"));
        let sessions = rustls::server::ServerSessionMemoryCache::new(64);
        let server = server_tls(Arc::new(resolver), sessions).expect("the provider has TLS 1.3");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(key.cert.der().clone()).expect("a good certificate");
        let mut client = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"relay/1".to_vec()];
        client.resumption = rustls::client::Resumption::disabled();
        Site { start: Instant::now(), server: Arc::new(server), client: Arc::new(client) }
    })
}
