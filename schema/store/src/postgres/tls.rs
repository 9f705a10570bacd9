//! TLS to the server: rustls on aws-lc-rs, the system's certificates and those the operator names.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::OpenError;
use super::url::Place;

/// What makes connections to this place private.
pub fn connector(place: &Place) -> Result<MakeRustlsConnect, OpenError> {
    let mut trusted = RootCertStore::empty();
    if place.config.get_ssl_mode() != SslMode::Disable {
        trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &place.roots {
            add(&mut trusted, path)?;
        }
        if trusted.is_empty() {
            return Err(OpenError::NoCertificates);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn add(trusted: &mut RootCertStore, path: &Path) -> Result<(), OpenError> {
    let bad = |why: String| OpenError::Certificates { path: path.to_owned(), why };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))?;
    let (mut added, mut problem) = (0, String::from("no certificate in it"));
    for certificate in certificates {
        match certificate.map_err(|e| e.to_string()).and_then(|c| trusted.add(c).map_err(|e| e.to_string())) {
            Ok(()) => added += 1,
            Err(why) => problem = why,
        }
    }
    if added == 0 { Err(bad(problem)) } else { Ok(()) }
}
