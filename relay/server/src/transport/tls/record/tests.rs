//! Records crafted with the session's own keys: what rustls' client would never send.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::unbuffered::{ConnectionState, EncodeError};
use rustls::{AlertDescription, ClientConfig, Error, RootCertStore, SupportedCipherSuite};

use super::super::certificates::{Certificates, read_chain};
use super::super::config::{Records, provider, websocket_config};
use super::super::local_ca::ensure_local_certificate;
use super::super::tests::TempFolder;
use super::open::{Opened, Opener};
use super::seal::Sealer;
use super::*;

const SUITES: [SupportedCipherSuite; 6] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// A session after its handshake, and a client that can send anything.
struct Ends {
    server: Established,
    sealer: Sealer,
    opener: Opener,
    version: Version,
}

fn client_config(folder: &TempFolder, suite: SupportedCipherSuite) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read_chain(&folder.path.join("local-ca.pem")).unwrap());
    let mut provider = provider().as_ref().clone();
    provider.cipher_suites = vec![suite];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    config
}

/// Moves one side forward; true once it can carry application bytes.
macro_rules! step {
    ($connection:expr, $incoming:expr, $outgoing:expr) => {
        loop {
            let status = $connection.process_tls_records(&mut $incoming);
            let discard = status.discard;
            let done = match status.state.unwrap() {
                ConnectionState::EncodeTlsData(mut data) => {
                    let Err(EncodeError::InsufficientSize(need)) = data.encode(&mut []) else {
                        unreachable!()
                    };
                    let start = $outgoing.len();
                    $outgoing.resize(start + need.required_size, 0);
                    data.encode(&mut $outgoing[start..]).unwrap();
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::WriteTraffic(_) => Some(true),
                _ => Some(false),
            };
            $incoming.drain(..discard);
            if let Some(done) = done {
                break done;
            }
        }
    };
}

fn ends(suite: SupportedCipherSuite) -> Ends {
    let folder = TempFolder::new();
    let now_s = time::OffsetDateTime::now_utc().unix_timestamp();
    let paths = ensure_local_certificate(&folder.path, &[], now_s).unwrap();
    let config = websocket_config(Certificates::load(paths.server).unwrap(), Records::Relay).unwrap();
    let client_config = Arc::new(client_config(&folder, suite));
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::client::UnbufferedClientConnection::new(client_config, name).unwrap();
    let mut server = rustls::server::UnbufferedServerConnection::new(config).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        let client_open = step!(client, to_client, to_server);
        let server_open = step!(server, to_server, to_client);
        if client_open && server_open && to_client.is_empty() {
            break;
        }
    }
    let (secrets, keys) = client.dangerous_into_kernel_connection().unwrap();
    let version = Version::of(keys.protocol_version()).unwrap();
    Ends {
        server: Established::take_over(server).unwrap(),
        sealer: Sealer::new(version, secrets.tx.0, &secrets.tx.1, u64::MAX).unwrap(),
        opener: Opener::new(version, secrets.rx.0, &secrets.rx.1).unwrap(),
        version,
    }
}

impl Ends {
    fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        self.sealer.seal_one(kind, content, &mut record).unwrap();
        record
    }

    fn give(&mut self, mut records: Vec<u8>) -> Result<Vec<u8>, Breach> {
        let mut plain = Vec::new();
        let mut outgoing = Vec::new();
        let len = records.len();
        let read = self.server.read(&mut records, &mut |bytes| plain.extend_from_slice(bytes), &mut outgoing);
        read.map(|(taken, _)| {
            assert_eq!(taken, len);
            plain
        })
    }

    /// What the client is told when the session ends for this.
    fn refuse(&mut self, records: Vec<u8>) -> AlertDescription {
        let breach = self.give(records).unwrap_err();
        let mut told = Vec::new();
        self.server.alert(&breach, &mut told);
        match self.opener.open(&mut told).unwrap() {
            Opened::Alert([_, description]) => AlertDescription::from(*description),
            other => panic!("not an alert: {other:?}"),
        }
    }
}

#[test]
fn every_suite_carries_bytes_both_ways() {
    for suite in SUITES {
        let mut ends = ends(suite);
        for len in [1, 2, 16_383, 16_384] {
            let record = ends.record(APPLICATION, &vec![5; len]);
            assert!(ends.give(record).unwrap() == vec![5; len]);
            let mut sealed = Vec::new();
            ends.server.seal([&vec![6; len][..]].into_iter(), &mut sealed).unwrap();
            assert_eq!(ends.opener.record_len(&sealed).unwrap(), Some(sealed.len()));
            assert!(ends.opener.open(&mut sealed).unwrap() == Opened::Application(&vec![6; len]));
        }
    }
}

#[test]
fn a_changed_repeated_or_skipped_record_is_refused() {
    for suite in SUITES {
        let mut first = ends(suite);
        let record = first.record(APPLICATION, b"once");
        for place in HEADER_BYTES..record.len() {
            let mut broken = record.clone();
            broken[place] ^= 0x20;
            let breach = first.server.opener.open(&mut broken).unwrap_err();
            assert!(matches!(breach.error, Error::DecryptError), "byte {place} of {suite:?}");
        }
        assert_eq!(first.give(record.clone()).unwrap(), b"once");
        assert_eq!(first.refuse(record), AlertDescription::BadRecordMac);
        let mut second = ends(suite);
        second.record(APPLICATION, b"lost");
        let later = second.record(APPLICATION, b"later");
        assert_eq!(second.refuse(later), AlertDescription::BadRecordMac);
    }
}

#[test]
fn nothing_but_what_a_session_sends_is_taken() {
    for suite in SUITES {
        assert_eq!(answer_to(suite, 20, &[1]), AlertDescription::UnexpectedMessage);
        assert_eq!(answer_to(suite, 99, &[1]), AlertDescription::UnexpectedMessage);
        assert_eq!(answer_to(suite, ALERT, &[2]), AlertDescription::DecodeError);
        let renegotiation = answer_to(suite, HANDSHAKE, &[1, 0, 0, 0]);
        let mut ends = ends(suite);
        let plain = vec![ALERT, 3, 3, 0, 2, 1, 0];
        match ends.version {
            Version::Tls13 => {
                assert_eq!(renegotiation, AlertDescription::UnexpectedMessage);
                assert_eq!(ends.refuse(plain), AlertDescription::UnexpectedMessage);
                let fragment = answer_to(suite, HANDSHAKE, &[24, 0, 0]);
                assert_eq!(fragment, AlertDescription::UnexpectedMessage);
                assert_eq!(
                    answer_to(suite, HANDSHAKE, &[24, 0, 0, 1, 2]),
                    AlertDescription::IllegalParameter
                );
            }
            Version::Tls12 => {
                assert_eq!(renegotiation, AlertDescription::NoRenegotiation);
                assert_eq!(ends.refuse(plain), AlertDescription::BadRecordMac);
            }
        }
    }
}

fn answer_to(suite: SupportedCipherSuite, kind: u8, content: &[u8]) -> AlertDescription {
    let mut ends = ends(suite);
    let record = ends.record(kind, content);
    ends.refuse(record)
}

#[test]
fn a_record_longer_than_allowed_is_refused_by_its_header() {
    for suite in SUITES {
        let mut ends = ends(suite);
        let refused = ends.refuse(vec![APPLICATION, 3, 3, 0xff, 0xff]);
        assert_eq!(refused, AlertDescription::RecordOverflow);
    }
}

#[test]
fn padding_is_taken_off_and_nothing_else_is_no_record() {
    let mut ends = ends(SUITES[0]);
    // The type byte and zeros as content, followed by the type 0 that the sealer appends: padding of TLS 1.3.
    let padded = ends.record(0, &[b'h', b'i', APPLICATION, 0, 0, 0]);
    assert_eq!(ends.give(padded).unwrap(), b"hi");
    let empty = ends.record(0, &[0, 0, 0]);
    assert_eq!(ends.refuse(empty), AlertDescription::UnexpectedMessage);
}

#[test]
fn empty_records_and_key_updates_do_not_go_on_for_ever() {
    for suite in SUITES {
        let mut ends = ends(suite);
        for _ in 0..32 {
            let record = ends.record(APPLICATION, b"");
            ends.give(record).unwrap();
        }
        let some = ends.record(APPLICATION, b"x");
        ends.give(some).unwrap();
        let flood: Vec<u8> = (0..33).flat_map(|_| ends.record(APPLICATION, b"")).collect();
        assert_eq!(ends.refuse(flood), AlertDescription::UnexpectedMessage);
    }
}

#[test]
fn an_alert_of_the_peer_ends_the_session_and_is_named() {
    for suite in SUITES {
        let mut ends = ends(suite);
        let alert = ends.record(ALERT, &[2, AlertDescription::InternalError.into()]);
        let breach = ends.give(alert).unwrap_err();
        assert_eq!(breach.error, Error::AlertReceived(AlertDescription::InternalError));
    }
}

#[test]
fn a_spent_key_is_exchanged_or_ends_the_session() {
    for suite in SUITES {
        let mut ends = ends(suite);
        ends.server.sealer.records_left = 2;
        let mut sealed = Vec::new();
        match ends.version {
            Version::Tls13 => {
                ends.server.seal([&b"x"[..]].into_iter(), &mut sealed).unwrap();
                let update_len = ends.opener.record_len(&sealed).unwrap().unwrap();
                let (update, after) = sealed.split_at_mut(update_len);
                assert_eq!(ends.opener.open(update).unwrap(), Opened::Handshake(&[24, 0, 0, 1, 0]));
                assert!(ends.opener.open(after).is_err(), "the next record is under the next key");
            }
            Version::Tls12 => {
                for _ in 0..2 {
                    ends.server.seal([&b"x"[..]].into_iter(), &mut sealed).unwrap();
                }
                assert!(ends.server.seal([&b"x"[..]].into_iter(), &mut sealed).is_err());
            }
        }
    }
}
