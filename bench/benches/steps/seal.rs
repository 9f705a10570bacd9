//! Seal: frames into TLS 1.3 records in a send slab, through the session that the public listener uses.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use criterion::{Criterion, Throughput};
use relay_server::transport::tls::{
    ALPN_WEBSOCKET, Certificates, Records, TlsSession, ensure_local_certificate, websocket_config,
};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// One record of a short message, one of a long one, and sixteen short messages in one record.
pub fn seal(criterion: &mut Criterion) {
    let mut session = open();
    let mut group = criterion.benchmark_group("seal");
    for (name, parts, bytes) in [("132_B", 1, 132), ("8_KiB", 1, 8192), ("16_of_132_B", 16, 132)] {
        let frame = vec![7; bytes];
        let mut slab = Vec::with_capacity(64 * 1024);
        group.throughput(Throughput::Bytes((parts * bytes) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                slab.clear();
                let frames = std::iter::repeat_n(black_box(frame.as_slice()), parts);
                session.seal(frames, &mut slab).expect("the session is open");
                slab.len()
            });
        });
    }
    group.finish();
}

/// A session after its handshake with a client that prefers AES-128-GCM, as browsers do.
fn open() -> TlsSession {
    let folder = std::env::temp_dir().join(format!("relay-bench-seal-{}", std::process::id()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let paths = ensure_local_certificate(&folder, &[], now.as_secs() as i64).expect("the folder is writable");
    let config =
        websocket_config(Certificates::load(paths.server).expect("it was just made"), Records::Relay);
    let ca = CertificateDer::from_pem_file(&paths.ca).expect("it was just made");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    let mut server =
        TlsSession::new(config.expect("the certificate is fit")).expect("the configuration is fit");
    let mut client = client(ca);
    while client.is_handshaking() || client.wants_write() {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        client.write_tls(&mut to_server).expect("a Vec takes every byte");
        server.read(&mut to_server, &mut |_| {}, &mut to_client).expect("the handshake succeeds");
        let mut rest = to_client.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("a slice gives every byte");
            client.process_new_packets().expect("the handshake succeeds");
        }
    }
    assert!(server.is_open());
    server
}

fn client(ca: CertificateDer<'static>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(ca).expect("the authority is sound");
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider knows TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_WEBSOCKET.to_vec()];
    let name = "localhost".try_into().expect("a valid name");
    ClientConnection::new(Arc::new(config), name).expect("the configuration is fit")
}
