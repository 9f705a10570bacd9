//! How the load generator's QUIC connections are set up: TLS 1.3 with one cipher suite, no resumption.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::plan::{Dialect, Plan};

/// Streams that a server may open; the relay uses 8.
const LANES_MAX: u32 = 16;
const IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// What a reader that will stop takes before its server notices, in bytes per stream.
const STOPPING_WINDOW_BYTES: u32 = 64 * 1024;

/// Configurations of connections that read, and of those that will stop reading.
pub struct Configs {
    pub reading: ClientConfig,
    pub stopping: ClientConfig,
}

/// # Errors
/// The authority's file can't be read.
pub fn configs(plan: &Plan) -> Result<Configs> {
    let crypto = Arc::new(QuicClientConfig::try_from(tls(plan)?)?);
    let config = |stops| {
        let mut config = ClientConfig::new(crypto.clone());
        config.transport_config(Arc::new(transport(stops)));
        config
    };
    Ok(Configs { reading: config(false), stopping: config(true) })
}

fn transport(stops: bool) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(LANES_MAX))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IDLE.try_into().expect("a minute fits")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .datagram_receive_buffer_size(None);
    if stops {
        transport.stream_receive_window(VarInt::from_u32(STOPPING_WINDOW_BYTES));
    }
    transport
}

fn tls(plan: &Plan) -> Result<rustls::ClientConfig> {
    let file = || format!("{}: the authority's certificate", plan.ca.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&plan.ca).with_context(file)? {
        roots.add(certificate.with_context(file)?).with_context(file)?;
    }
    ensure!(!roots.is_empty(), "{} holds no certificate", plan.ca.display());
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.resumption = Resumption::disabled();
    tls.alpn_protocols = vec![match plan.dialect {
        Dialect::Relay => b"relay/1".to_vec(),
        Dialect::Floor => b"floor/1".to_vec(),
    }];
    Ok(tls)
}
