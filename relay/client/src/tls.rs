//! Which certificates are trusted: the PEM file given, or the operating system's roots.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::error::ConnectError;

/// Whom to trust.
#[derive(Clone, Debug, Default)]
pub(crate) enum Roots {
    #[default]
    System,
    Pem(PathBuf),
}

impl Roots {
    /// The trusted certificates.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
        let Self::Pem(path) = self else {
            return Ok(rustls_native_certs::load_native_certs().certs);
        };
        let config = |e| ConnectError::Config(format!("{}: {e}", path.display()));
        let certificates = CertificateDer::pem_file_iter(path).map_err(config)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(config)?;
        if certificates.is_empty() {
            return Err(ConnectError::Config(format!("{}: no certificate in this file", path.display())));
        }
        Ok(certificates)
    }

    fn store(&self) -> Result<RootCertStore, ConnectError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.certificates()?);
        if store.is_empty() {
            return Err(ConnectError::Config("no trusted certificate; name a CA file".to_owned()));
        }
        Ok(store)
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// TLS 1.3 or 1.2 under a WebSocket.
pub(crate) fn for_websocket(roots: &Roots) -> Result<Arc<ClientConfig>, ConnectError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(roots.store()?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS 1.3 inside QUIC.
pub(crate) fn for_quic(roots: &Roots) -> Result<Arc<ClientConfig>, ConnectError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider knows TLS 1.3")
        .with_root_certificates(roots.store()?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"relay/1".to_vec()];
    Ok(Arc::new(config))
}
