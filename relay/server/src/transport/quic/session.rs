//! The TLS side of a connection. The handshake is rustls's; once it is over, only the secrets of later key
//! updates are kept, because most of a connection's life comes after.

use std::any::Any;
use std::sync::Arc;

use quinn_proto::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn_proto::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::quic::{KeyChange, Secrets, ServerConnection, Version};

use super::config::ALPN;

/// TLS alerts (RFC 8446 section 6).
const UNEXPECTED_MESSAGE: u8 = 10;

/// Starts the sessions of one endpoint.
pub(super) struct SessionMaker {
    tls: Arc<rustls::ServerConfig>,
    /// Keys that depend on no session.
    stateless: Arc<QuicServerConfig>,
}

impl SessionMaker {
    /// `stateless` is made from `tls`, and a session of `tls` can be made: both are checked by the caller.
    pub(super) fn new(tls: Arc<rustls::ServerConfig>, stateless: Arc<QuicServerConfig>) -> Self {
        Self { tls, stateless }
    }
}

impl ServerConfig for SessionMaker {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.stateless.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.stateless.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let mut parameters = Vec::new();
        params.write(&mut parameters);
        let handshake = ServerConnection::new(self.tls.clone(), labels_of(version), parameters)
            .expect("the configuration made a session when it was set");
        Box::new(Session {
            version,
            stateless: self.stateless.clone(),
            handshake: Some(Box::new(handshake)),
            is_named: false,
            server_name: None,
            updates: None,
        })
    }
}

/// Drafts before 33 derive their keys by other labels.
fn labels_of(version: u32) -> Version {
    if (0xff00_001d..=0xff00_0020).contains(&version) { Version::V1Draft } else { Version::V1 }
}

/// One connection's session.
struct Session {
    version: u32,
    stateless: Arc<QuicServerConfig>,
    /// None once the handshake is over and everything it had to say was fetched.
    handshake: Option<Box<ServerConnection>>,
    /// The client's hello was read.
    is_named: bool,
    server_name: Option<Box<str>>,
    updates: Option<Secrets>,
}

impl Session {
    fn read(&mut self, handshake: &mut ServerConnection, bytes: &[u8]) -> Result<bool, TransportError> {
        handshake.read_hs(bytes).map_err(|error| {
            let code = handshake.alert().map(|alert| TransportErrorCode::crypto(alert.into()));
            refusal(code.unwrap_or(TransportErrorCode::PROTOCOL_VIOLATION), error.to_string())
        })?;
        let news = !self.is_named && handshake.alpn_protocol().is_some();
        if news {
            self.is_named = true;
            self.server_name = handshake.server_name().map(Into::into);
        }
        Ok(news)
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, _side: Side) -> Keys {
        let keys = self.stateless.initial_keys(self.version, dst_cid);
        keys.unwrap_or_else(|UnsupportedVersion| unreachable!("the session's version had keys when it began"))
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let server_name = self.server_name.as_deref().map(Into::into);
        self.is_named
            .then(|| Box::new(HandshakeData { protocol: Some(ALPN.to_vec()), server_name }) as Box<dyn Any>)
    }

    /// Clients have no certificates.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let keys = self.handshake.as_ref()?.zero_rtt_keys()?;
        Some((Box::new(keys.header), Box::new(keys.packet)))
    }

    /// A question for clients.
    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.is_handshaking())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let Some(mut handshake) = self.handshake.take() else {
            // Nothing that a client may say comes after its Finished (RFC 9001 sections 4.4 and 6).
            let code = TransportErrorCode::crypto(UNEXPECTED_MESSAGE);
            return Err(refusal(code, "a TLS message after the handshake".into()));
        };
        let news = self.read(&mut handshake, bytes);
        self.handshake = Some(handshake);
        news
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let bytes = self.handshake.as_ref().and_then(|handshake| handshake.quic_transport_parameters());
        bytes
            .map(|mut bytes| TransportParameters::read(Side::Server, &mut bytes))
            .transpose()
            .map_err(Into::into)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let handshake = self.handshake.as_mut()?;
        let Some(change) = handshake.write_hs(buf) else {
            if buf.is_empty() && !handshake.is_handshaking() {
                self.handshake = None;
            }
            return None;
        };
        let keys = match change {
            KeyChange::Handshake { keys } => keys,
            KeyChange::OneRtt { keys, next } => {
                self.updates = Some(next);
                keys
            }
        };
        let (local, remote) = (keys.local, keys.remote);
        Some(Keys {
            header: KeyPair { local: Box::new(local.header), remote: Box::new(remote.header) },
            packet: KeyPair { local: Box::new(local.packet), remote: Box::new(remote.packet) },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.updates.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    /// A question for clients.
    fn is_valid_retry(&self, _orig_dst_cid: &ConnectionId, _header: &[u8], _payload: &[u8]) -> bool {
        false
    }

    /// Nothing here is bound to keying material.
    fn export_keying_material(
        &self,
        _output: &mut [u8],
        _label: &[u8],
        _context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

fn refusal(code: TransportErrorCode, reason: String) -> TransportError {
    TransportError { code, frame: None, reason }
}
