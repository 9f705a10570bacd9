//! A rustls client in memory against the server's session: both versions, any cut of the bytes, any broken byte.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};
use rustls::{SupportedProtocolVersion, version};

use super::certificates::read_chain;
use super::config::provider;
use super::*;

/// A folder of one test, gone with it.
pub(super) struct TempFolder {
    pub(super) path: PathBuf,
}

impl TempFolder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("relay-tls-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self { path }
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).unwrap();
    }
}

fn now_s() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// A relay's TLS set-up with a client that trusts it.
struct Site {
    folder: TempFolder,
    certificates: Arc<Certificates>,
    server: Arc<ServerConfig>,
}

impl Site {
    fn new() -> Self {
        Self::with(Records::Relay)
    }

    /// Whoever protects the records, a client can't tell.
    fn on_both(check: impl Fn(&Self)) {
        for records in [Records::Relay, Records::Rustls] {
            check(&Self::with(records));
        }
    }

    fn with(records: Records) -> Self {
        let folder = TempFolder::new();
        let paths = ensure_local_certificate(&folder.path, &[], now_s()).unwrap();
        let certificates = Certificates::load(paths.server).unwrap();
        let server = websocket_config(certificates.clone(), records).unwrap();
        Self { folder, certificates, server }
    }

    fn client_config(&self, version: &'static SupportedProtocolVersion, alpn: &[u8]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(read_chain(&self.folder.path.join("local-ca.pem")).unwrap());
        let mut config = ClientConfig::builder_with_provider(provider().clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        Arc::new(config)
    }

    fn pair(&self, client: Arc<ClientConfig>) -> Pair {
        Pair {
            client: ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap(),
            server: TlsSession::new(self.server.clone()).unwrap(),
            received: Vec::new(),
            cut: usize::MAX,
        }
    }

    fn open_pair(&self, version: &'static SupportedProtocolVersion) -> Pair {
        let mut pair = self.pair(self.client_config(version, ALPN_WEBSOCKET));
        pair.shake();
        pair
    }
}

struct Pair {
    client: ClientConnection,
    server: TlsSession,
    received: Vec<u8>,
    /// The server gets its bytes in pieces of this size.
    cut: usize,
}

impl Pair {
    fn client_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn give_client(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets().unwrap();
        }
    }

    fn give_server(&mut self, mut bytes: Vec<u8>) -> Result<(TlsProgress, Vec<u8>), (TlsFault, Vec<u8>)> {
        let (mut outgoing, mut progress) = (Vec::new(), None);
        let received = &mut self.received;
        let mut sink = |plain: &[u8]| received.extend_from_slice(plain);
        for piece in bytes.chunks_mut(self.cut) {
            match self.server.read(piece, &mut sink, &mut outgoing) {
                Ok(now) => progress = Some(now),
                Err(fault) => return Err((fault, outgoing)),
            }
        }
        Ok((progress.expect("some bytes were given"), outgoing))
    }

    fn shake(&mut self) {
        while self.client.is_handshaking() || self.client.wants_write() {
            let bytes = self.client_bytes();
            let (_, answer) = self.give_server(bytes).unwrap();
            self.give_client(&answer);
        }
        assert!(self.server.is_open());
    }

    /// What the client writes reaches the server.
    fn say(&mut self, bytes: &[u8]) {
        self.client.set_buffer_limit(None);
        self.client.writer().write_all(bytes).unwrap();
        let records = self.client_bytes();
        let (_, answer) = self.give_server(records).unwrap();
        self.give_client(&answer);
        assert!(std::mem::take(&mut self.received) == bytes);
        assert_eq!(self.server.partial_bytes(), 0, "an idle session holds no buffer");
    }

    /// What the server seals reaches the client; returns the number of records.
    fn answer(&mut self, parts: &[&[u8]]) -> usize {
        let mut slab = b"already there".to_vec();
        self.server.seal(parts.iter().copied(), &mut slab).unwrap();
        let sealed = slab.strip_prefix(b"already there").unwrap().to_vec();
        let mut back = Vec::new();
        let mut rest = &sealed[..];
        let mut records = 0;
        while let [_, _, _, high, low, ..] = rest {
            let record = 5 + usize::from(u16::from_be_bytes([*high, *low]));
            self.give_client(&rest[..record]);
            let mut plain = vec![0; 1 << 15];
            // A record without application bytes is a key update.
            if let Ok(len) = self.client.reader().read(&mut plain) {
                back.extend_from_slice(&plain[..len]);
                records += 1;
            }
            rest = &rest[record..];
        }
        assert!(rest.is_empty() && back == parts.concat());
        records
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

#[test]
fn both_versions_carry_bytes_both_ways() {
    Site::on_both(|site| {
        for (version, name) in VERSIONS.into_iter().zip([ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2])
        {
            let mut pair = site.open_pair(version);
            assert_eq!(pair.server.negotiated().unwrap().version, name);
            assert_eq!(pair.client.alpn_protocol(), Some(ALPN_WEBSOCKET));
            pair.say(b"hello");
            pair.say(&vec![7; 100_000]);
            assert_eq!(pair.answer(&[b"one part"]), 1);
            assert_eq!(pair.answer(&[]), 0);
        }
    });
}

#[test]
fn any_cut_of_the_bytes_reads_the_same() {
    Site::on_both(|site| {
        for version in VERSIONS {
            for cut in [1, 2, 5, 17, 1000] {
                let mut pair = site.pair(site.client_config(version, ALPN_WEBSOCKET));
                pair.cut = cut;
                pair.shake();
                pair.say(b"a");
                pair.say(&vec![9; 20_000]);
            }
        }
    });
}

#[test]
fn a_handshake_in_tiny_records_is_put_together() {
    Site::on_both(|site| {
        for version in VERSIONS {
            for cut in [1, 7, 40, 1000] {
                let config = site.client_config(version, ALPN_WEBSOCKET);
                let mut config = Arc::try_unwrap(config).unwrap();
                config.max_fragment_size = Some(32);
                let mut pair = site.pair(Arc::new(config));
                pair.cut = cut;
                pair.shake();
                pair.say(b"and so are bytes that follow, which take more than one record of this size");
            }
        }
    });
}

#[test]
fn bytes_in_the_flight_that_ends_the_handshake_arrive() {
    Site::on_both(|site| {
        for version in VERSIONS {
            for (cut, len) in [(usize::MAX, 5), (usize::MAX, 40_000), (1, 5), (100, 40_000)] {
                let mut pair = site.pair(site.client_config(version, ALPN_WEBSOCKET));
                pair.cut = cut;
                let early = vec![3; len];
                pair.client.set_buffer_limit(None);
                pair.client.writer().write_all(&early).unwrap();
                pair.shake();
                assert!(std::mem::take(&mut pair.received) == early);
                pair.say(b"on");
                assert_eq!(pair.answer(&[b"and on"]), 1);
            }
        }
    });
}

#[test]
fn sealing_does_not_disturb_a_record_that_is_half_there() {
    Site::on_both(|site| {
        for version in VERSIONS {
            let mut pair = site.open_pair(version);
            pair.client.writer().write_all(b"whole").unwrap();
            let mut record = pair.client_bytes();
            let rest = record.split_off(9);
            pair.give_server(record).unwrap();
            assert_eq!(pair.answer(&[b"meanwhile"]), 1);
            pair.give_server(rest).unwrap();
            assert_eq!(pair.received, b"whole");
        }
    });
}

#[test]
fn frames_share_records_and_large_ones_are_split() {
    let site = Site::new();
    for version in VERSIONS {
        let mut pair = site.open_pair(version);
        let frame = [1; 128];
        assert_eq!(pair.answer(&[&frame[..]; 8]), 1);
        assert_eq!(pair.answer(&[&frame[..]; 129]), 2);
        let large = vec![2; 100_000];
        assert_eq!(pair.answer(&[&large[..]]), 7);
        assert_eq!(pair.answer(&[&frame[..], &large[..]]), 7);
        assert_eq!(pair.answer(&[&large[..16_384]]), 1);
    }
}

#[test]
fn a_key_update_of_the_client_is_answered() {
    Site::on_both(|site| {
        let mut pair = site.open_pair(&version::TLS13);
        for _ in 0..3 {
            pair.client.refresh_traffic_keys().unwrap();
            pair.say(b"under new keys");
            assert_eq!(pair.answer(&[b"likewise"]), 1);
        }
    });
}

#[test]
fn a_second_connection_resumes() {
    let site = Site::new();
    for version in VERSIONS {
        let config = site.client_config(version, ALPN_WEBSOCKET);
        let kinds: Vec<_> = (0..2)
            .map(|_| {
                let mut pair = site.pair(config.clone());
                pair.shake();
                pair.say(b"x");
                pair.answer(&[b"y"]);
                assert_eq!(
                    pair.client.handshake_kind() == Some(HandshakeKind::Resumed),
                    pair.server.negotiated().unwrap().resumed
                );
                pair.client.handshake_kind()
            })
            .collect();
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    }
}

#[test]
fn closing_is_said_both_ways() {
    Site::on_both(|site| {
        for version in VERSIONS {
            let mut pair = site.open_pair(version);
            let mut slab = Vec::new();
            pair.server.close_notify(&mut slab).unwrap();
            let once = slab.len();
            pair.server.close_notify(&mut slab).unwrap();
            assert_eq!(slab.len(), once, "said once");
            assert!(matches!(
                pair.server.seal([&b"late"[..]].into_iter(), &mut slab),
                Err(TlsFault::NotOpen)
            ));
            pair.give_client(&slab);
            assert_eq!(pair.client.reader().read(&mut [0; 8]).unwrap(), 0, "a clean end, not a cut");
            pair.client.send_close_notify();
            let mut bytes = pair.client_bytes();
            bytes.extend_from_slice(b"noise after the end is ignored");
            assert!(pair.give_server(bytes).unwrap().0.peer_closed);
            assert!(pair.give_server(b"and later".to_vec()).unwrap().0.peer_closed);
            assert_eq!(pair.server.partial_bytes(), 0);
        }
    });
}

#[test]
fn foreign_bytes_end_in_a_fault_with_an_alert() {
    const ALERT: u8 = 21;
    let site = Site::new();
    let config = site.client_config(&version::TLS13, ALPN_WEBSOCKET);
    let (fault, alert) = site.pair(config).give_server(b"GET / HTTP/1.1\r\n\r\n".to_vec()).unwrap_err();
    assert!(matches!(fault, TlsFault::Protocol(_)));
    assert_eq!(alert.first(), Some(&ALERT));
    let mut stranger = site.pair(site.client_config(&version::TLS13, b"h2"));
    let hello = stranger.client_bytes();
    let (fault, alert) = stranger.give_server(hello).unwrap_err();
    assert!(matches!(fault, TlsFault::Protocol(rustls::Error::NoApplicationProtocol)));
    stranger.client.read_tls(&mut &alert[..]).unwrap();
    let told = stranger.client.process_new_packets().unwrap_err();
    assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol));
}

#[test]
fn a_changed_byte_anywhere_never_passes_and_never_panics() {
    Site::on_both(|site| {
        for version in VERSIONS {
            let config = site.client_config(version, ALPN_WEBSOCKET);
            let hello = site.pair(config.clone()).client_bytes();
            for place in 0..hello.len() {
                let mut broken = hello.clone();
                broken[place] ^= 0x41;
                let mut pair = site.pair(config.clone());
                if let Err((fault, _)) = pair.give_server(broken) {
                    assert!(matches!(fault, TlsFault::Protocol(_)));
                }
                assert!(!pair.server.is_open() && pair.received.is_empty());
            }
            let mut pair = site.open_pair(version);
            pair.client.writer().write_all(b"payload").unwrap();
            let mut record = pair.client_bytes();
            *record.last_mut().unwrap() ^= 1;
            assert!(matches!(pair.give_server(record).unwrap_err().0, TlsFault::Protocol(_)));
            assert!(pair.received.is_empty());
            let sealed = pair.server.seal([&b"x"[..]].into_iter(), &mut Vec::new());
            assert!(sealed.is_err(), "a broken session seals nothing");
            assert!(pair.give_server(b"more".to_vec()).is_err(), "and reads nothing");
        }
    });
}

#[test]
fn an_endless_message_is_cut_off() {
    const HANDSHAKE: u8 = 22;
    let site = Site::new();
    let mut pair = site.pair(site.client_config(&version::TLS13, ALPN_WEBSOCKET));
    // A ClientHello that announces nearly 16 MiB, in records of 16 KiB.
    let mut record = vec![HANDSHAKE, 3, 3, 0x40, 0];
    record.extend_from_slice(&[1, 0xff, 0xff, 0xff]);
    record.resize(5 + 0x4000, 0);
    let faults = (0..20).find_map(|_| pair.give_server(record.clone()).err());
    assert!(faults.is_some(), "320 KiB without a complete message are too much");
    assert!(pair.server.partial_bytes() <= 128 * 1024);
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_done() {
    Site::on_both(|site| {
        let mut session = TlsSession::new(site.server.clone()).unwrap();
        let mut slab = Vec::new();
        assert!(matches!(session.seal([&b"early"[..]].into_iter(), &mut slab), Err(TlsFault::NotOpen)));
        session.close_notify(&mut slab).unwrap();
        assert!(slab.is_empty());
    });
}

fn presented(pair: &Pair) -> Vec<u8> {
    pair.client.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn certificates_change_under_running_sessions() {
    let site = Site::new();
    let mut old = site.open_pair(&version::TLS13);
    assert!(!site.certificates.poll_changed().unwrap());
    ensure_local_certificate(&site.folder.path, &["more.example".to_owned()], now_s()).unwrap();
    assert!(site.certificates.poll_changed().unwrap());
    assert!(!site.certificates.poll_changed().unwrap());
    let mut new = site.open_pair(&version::TLS13);
    assert_ne!(presented(&old), presented(&new));
    old.say(b"the old session goes on");
    new.say(b"so does the new one");
}

#[test]
fn a_broken_or_foreign_pair_keeps_the_old_certificate() {
    let site = Site::new();
    let before = presented(&site.open_pair(&version::TLS13));
    let paths = site.certificates.paths().clone();
    let good_chain = std::fs::read(&paths.chain).unwrap();
    std::fs::write(&paths.chain, "no certificate at all").unwrap();
    let error = site.certificates.poll_changed().unwrap_err();
    assert!(error.to_string().contains("holds no PEM certificate"), "{error}");
    assert!(!site.certificates.poll_changed().unwrap(), "reported once per change");
    let foreign = Site::new();
    std::fs::copy(&foreign.certificates.paths().chain, &paths.chain).unwrap();
    let error = site.certificates.poll_changed().unwrap_err();
    assert!(error.to_string().contains("does not belong"), "{error}");
    std::fs::remove_file(&paths.chain).unwrap();
    assert!(site.certificates.poll_changed().unwrap_err().to_string().contains("cannot read"));
    assert_eq!(presented(&site.open_pair(&version::TLS13)), before);
    std::fs::write(&paths.chain, good_chain).unwrap();
    assert!(!site.certificates.poll_changed().unwrap(), "the same certificate is no change");
}

#[test]
fn the_expiry_is_told() {
    let site = Site::new();
    let days = (site.certificates.not_after_s() - now_s()) / 86_400;
    assert!((395..=397).contains(&days), "{days}");
}

#[test]
fn quic_offers_early_data_to_its_own_protocol_only() {
    let site = Site::new();
    let config = quic_config(site.certificates.clone()).unwrap();
    assert_eq!(config.max_early_data_size, u32::MAX);
    assert_eq!(config.alpn_protocols, [ALPN_QUIC]);
    assert!(!config.ticketer.enabled(), "0-RTT needs sessions that are used once");
    assert_eq!(site.server.max_early_data_size, 0);
}

#[test]
fn a_key_update_in_the_flight_of_the_handshake_is_followed() {
    let site = Site::new();
    let mut pair = site.pair(site.client_config(&version::TLS13, ALPN_WEBSOCKET));
    let hello = pair.client_bytes();
    let (_, flight) = pair.give_server(hello).unwrap();
    pair.give_client(&flight);
    pair.client.refresh_traffic_keys().unwrap();
    pair.client.writer().write_all(b"early").unwrap();
    let finished = pair.client_bytes();
    let (progress, answer) = pair.give_server(finished).unwrap();
    assert!(progress.open && pair.received == b"early");
    pair.received.clear();
    pair.give_client(&answer);
    pair.answer(&[b"under the right key"]);
    pair.say(b"back");
}
