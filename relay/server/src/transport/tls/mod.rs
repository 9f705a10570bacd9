//! TLS of the public listeners: sessions without a socket, certificates that change without a restart,
//! and a local CA for a relay that runs alone.

mod certificates;
mod config;
mod fault;
mod kept;
mod local_ca;
mod record;
mod session;
mod sessions;

#[cfg(test)]
mod tests;

pub use self::certificates::{CertificateError, CertificatePaths, Certificates};
pub use self::config::{ALPN_QUIC, ALPN_WEBSOCKET, Records, quic_config, websocket_config};
pub use self::fault::TlsFault;
pub use self::local_ca::{LocalCaError, LocalCertificate, ensure_local_certificate, sync_name};
pub use self::session::{TlsNegotiated, TlsProgress, TlsSession};
