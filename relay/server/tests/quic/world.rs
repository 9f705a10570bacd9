//! One relay endpoint and its clients on a virtual clock and a virtual network that loses, doubles and
//! delays packets from a seed.

use crate::client::{Client, client_tls, framed};
use quinn_proto::EcnCodepoint;
use relay_server::transport::quic::{
    Issuer, QuicConfig, QuicEndpoint, QuicEvent, QuicHandle, QuicKeys, QuicLimits, Wrote, server_tls,
};
use schema_wire::frame::Lane;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const NAME: &str = "relay.test";
pub const SHARD: u8 = 2;

/// xorshift64*: enough for choosing faults.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What the network does to packets, in percent, and the most it delays one.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub drop: u64,
    pub double: u64,
    pub jitter: Duration,
}

pub struct Tls {
    pub server: Arc<rustls::ServerConfig>,
    pub client: Arc<rustls::ClientConfig>,
}

pub fn tls() -> Tls {
    let key = rcgen::generate_simple_self_signed(vec![NAME.into()]).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let certified =
        rustls::sign::CertifiedKey::from_der(vec![key.cert.der().clone()], private, &provider).unwrap();
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let sessions = rustls::server::ServerSessionMemoryCache::new(64);
    let server = Arc::new(server_tls(resolver, sessions).unwrap());
    Tls { server, client: client_tls(key.cert.der().clone()) }
}

pub fn keys() -> QuicKeys {
    QuicKeys { retry: [1; 32], reset: [2; 32] }
}

pub fn config(tls: &Tls, limits: QuicLimits, generation: u8) -> QuicConfig {
    QuicConfig {
        issuer: Issuer { shard: SHARD, generation, node: 77 },
        shards: 4,
        tls: tls.server.clone(),
        limits,
        keys: keys(),
        dont_fragment: true,
        seed: Some([generation; 32]),
    }
}

struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    ecn: u8,
    bytes: Vec<u8>,
}

pub struct World {
    pub now: Instant,
    pub tls: Tls,
    pub server: QuicEndpoint,
    pub server_address: SocketAddr,
    pub clients: Vec<Client>,
    /// Everything the endpoint reported and nobody has taken.
    pub events: Vec<QuicEvent>,
    pub faults: Faults,
    pub rng: Rng,
    /// Every datagram from clients, as sent.
    pub tape: Vec<(SocketAddr, Vec<u8>)>,
    /// Packets in the longest send of the relay.
    pub most_segments: usize,
    net: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
}

const LATENCY: Duration = Duration::from_millis(10);

impl World {
    pub fn new(limits: QuicLimits) -> World {
        World::seeded(limits, 1)
    }

    pub fn seeded(limits: QuicLimits, seed: u64) -> World {
        let tls = tls();
        let server = QuicEndpoint::new(&config(&tls, limits, 1)).unwrap();
        World {
            now: Instant::now(),
            tls,
            server,
            server_address: "192.0.2.1:8443".parse().unwrap(),
            clients: Vec::new(),
            events: Vec::new(),
            faults: Faults::default(),
            rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            tape: Vec::new(),
            most_segments: 0,
            net: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Adds a client that has begun its handshake.
    pub fn connect(&mut self) -> usize {
        let number = self.clients.len();
        let address = format!("198.51.100.7:{}", 40_000 + number).parse().unwrap();
        let client = Client::connect(self.now, self.tls.client.clone(), address, self.server_address, |_| {});
        self.clients.push(client);
        number
    }

    /// A world with one client whose handshake is complete.
    pub fn opened(limits: QuicLimits) -> (World, QuicHandle) {
        let mut world = World::new(limits);
        world.connect();
        let handle = world.open_next();
        (world, handle)
    }

    /// Runs until a connection opens, and takes that event.
    pub fn open_next(&mut self) -> QuicHandle {
        self.run_until("a connection opens", |world| {
            world.events.iter().any(|event| matches!(event, QuicEvent::Opened { .. }))
        });
        let at = self.events.iter().position(|event| matches!(event, QuicEvent::Opened { .. })).unwrap();
        match self.events.remove(at) {
            QuicEvent::Opened { handle, .. } => handle,
            _ => unreachable!(),
        }
    }

    /// Takes the frames reported so far.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        self.events.retain(|event| match event {
            QuicEvent::Frame { bytes, .. } => {
                frames.push(bytes.to_vec());
                false
            }
            _ => true,
        });
        frames
    }

    pub fn write(&mut self, handle: QuicHandle, body: &[u8], lane: Lane) -> Wrote {
        self.server.write_bytes(handle, &framed(body), lane).unwrap()
    }

    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut World) -> bool) {
        for _ in 0..200_000 {
            if done(self) {
                return;
            }
            assert!(self.step(), "nothing left to do before {what}");
        }
        panic!("never came: {what}");
    }

    /// Runs for a stretch of virtual time.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.send_all();
        while self.next_instant().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
        self.send_all();
    }

    /// Sends everything, goes to the next instant, and does what is due there. False when nothing is.
    pub fn step(&mut self) -> bool {
        self.send_all();
        let Some(at) = self.next_instant() else { return false };
        self.now = self.now.max(at);
        while let Some(entry) = self.net.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let packet = entry.remove();
            self.deliver(packet);
        }
        self.server.handle_timeout(self.now, &mut self.events);
        for client in &mut self.clients {
            client.on_time(self.now);
        }
        self.send_all();
        true
    }

    fn next_instant(&mut self) -> Option<Instant> {
        let net = self.net.keys().next().map(|(at, _)| *at);
        let clients = self.clients.iter_mut().filter_map(Client::next_timeout).min();
        [net, clients, self.server.next_timeout()].into_iter().flatten().min()
    }

    fn deliver(&mut self, packet: Packet) {
        if packet.to == self.server_address {
            let to_ip = Some(packet.to.ip());
            self.server.handle_datagram(
                self.now,
                packet.from,
                to_ip,
                packet.ecn,
                packet.bytes.len(),
                &packet.bytes,
                &mut self.events,
            );
        } else if let Some(client) = self.clients.iter_mut().find(|client| client.address == packet.to) {
            let ecn = EcnCodepoint::from_bits(packet.ecn);
            client.on_datagram(self.now, packet.from, ecn, &packet.bytes);
        }
    }

    fn send_all(&mut self) {
        let mut buf = Vec::new();
        while let Some(transmit) = self.server.poll_transmit(self.now, &mut buf) {
            assert_eq!(buf.len(), transmit.len);
            assert!(transmit.len <= 65_507);
            let step = transmit.segment_size.map_or(transmit.len, usize::from);
            self.most_segments = self.most_segments.max(transmit.len.div_ceil(step));
            for bytes in buf.chunks(step).map(<[u8]>::to_vec).collect::<Vec<_>>() {
                let from = self.server_address;
                self.send(Packet { from, to: transmit.to, ecn: transmit.ecn, bytes });
            }
        }
        for number in 0..self.clients.len() {
            while let Some((ecn, packets)) = self.clients[number].poll_transmit(self.now) {
                let from = self.clients[number].address;
                for bytes in packets {
                    self.tape.push((from, bytes.clone()));
                    self.send(Packet { from, to: self.server_address, ecn, bytes });
                }
            }
        }
    }

    fn send(&mut self, packet: Packet) {
        if self.rng.below(100) < self.faults.drop {
            return;
        }
        let copies = 1 + u64::from(self.rng.below(100) < self.faults.double);
        for _ in 0..copies {
            let jitter = self.rng.below(self.faults.jitter.as_micros() as u64 + 1);
            let at = self.now + LATENCY + Duration::from_micros(jitter);
            self.sent += 1;
            let bytes = packet.bytes.clone();
            self.net.insert((at, self.sent), Packet { bytes, ..packet });
        }
    }
}
