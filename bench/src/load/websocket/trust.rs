//! Whom the load generator believes: the plan's authority, asked once. The server proves itself in each handshake at
//! the same cost; checking the same proof again would only make the client, which does more of a handshake's
//! arithmetic, the bottleneck of a storm.

use std::sync::{Arc, OnceLock};

use anyhow::Result;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Checks a certificate and the proof of its key in full until one handshake had both right; from then on this very
/// certificate passes.
#[derive(Debug)]
pub struct Trust {
    full: Arc<WebPkiServerVerifier>,
    proven: OnceLock<CertificateDer<'static>>,
}

impl Trust {
    /// # Errors
    /// There is no authority among `roots`.
    pub fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Arc<Self>> {
        let full = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Arc::new(Self { full, proven: OnceLock::new() }))
    }

    fn is_proven(&self, certificate: &CertificateDer<'_>) -> bool {
        self.proven.get().is_some_and(|proven| proven == certificate)
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_proven(certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        self.full.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.full.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.is_proven(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let valid = self.full.verify_tls13_signature(message, certificate, signature)?;
        // Another certificate may have come first, when the server changed it; then this one is checked each time.
        let _ = self.proven.set(certificate.clone().into_owned());
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.full.supported_verify_schemes()
    }
}
