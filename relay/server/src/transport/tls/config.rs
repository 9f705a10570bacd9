//! Decides what the relay offers in a TLS handshake: versions, resumption and application protocols,
//! the same certificate for WebSocket and QUIC.

use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};

use crate::transport::quic::server_tls;

use super::certificates::Certificates;
use super::sessions::Sessions;

/// ALPN of the WebSocket listener (RFC 9112 over TLS).
pub const ALPN_WEBSOCKET: &[u8] = b"http/1.1";
/// ALPN of the QUIC listener.
pub const ALPN_QUIC: &[u8] = crate::transport::quic::ALPN;

/// Tickets sent after a full handshake; each lets one later connection resume.
const TICKETS: usize = 1;
/// QUIC sessions that can be resumed with 0-RTT; the oldest are forgotten first.
const QUIC_SESSIONS_MAX: usize = 32_768;

/// The one cryptography provider of the process.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}

/// Who protects the records of an established WebSocket session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Records {
    /// The relay: sealed where they lie in the send slab, small state per connection.
    #[default]
    Relay,
    /// rustls: a copy more per record and its whole connection in memory, in exchange for less code of our own.
    Rustls,
}

/// TLS 1.3 and 1.2 for WebSocket. Share one configuration between all shards of a node, so that a ticket from one
/// resumes on another. Tickets are sealed by keys that rotate every six hours and never leave the process.
pub fn websocket_config(
    certificates: Arc<Certificates>,
    records: Records,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![ALPN_WEBSOCKET.to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.enable_secret_extraction = records == Records::Relay;
    config.send_tls13_tickets = TICKETS;
    Ok(Arc::new(config))
}

/// TLS 1.3 for QUIC, with 0-RTT (RFC 9001 section 4.6.1 wants `max_early_data_size` at its maximum). 0-RTT needs
/// sessions kept here rather than in tickets, so that each is used at most once; share one configuration between
/// all shards of a node.
pub fn quic_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = server_tls(certificates, Arc::new(Sessions::new(QUIC_SESSIONS_MAX)))?;
    config.send_tls13_tickets = TICKETS;
    Ok(Arc::new(config))
}
