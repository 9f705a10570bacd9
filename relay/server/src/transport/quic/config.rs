//! Every limit and key of the QUIC transport, checked once at start.

use super::error::QuicConfigError;
use super::identity::{Identity, Issuer};
use super::session::SessionMaker;
use aws_lc_rs::{hkdf, hmac};
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig,
    VarInt,
};
use std::sync::Arc;
use std::time::Duration;

/// The application protocol, negotiated in TLS (RFC 7301).
pub const ALPN: &[u8] = b"relay/1";

/// Longest UDP payload accepted, in bytes: an Ethernet frame's.
const UDP_PAYLOAD_BYTES_MAX: u16 = 1_472;

/// Delivery streams cost the client memory; more than this buys no further independence.
pub(super) const DELIVERY_LANES_MAX: usize = 16;

/// Packets after which a client acknowledges at the latest, if it knows the extension (draft-ietf-quic-ack-frequency):
/// below the initial congestion window of ten packets, which could otherwise wait for the delay below to pass.
const ACK_EVERY_PACKETS: u32 = 8;

/// What one shard's endpoint is made from.
pub struct QuicConfig {
    /// The node, the process and the shard, as connection ids name them.
    pub issuer: Issuer,
    /// Shards of this node; `issuer.shard` is below it.
    pub shards: u8,
    /// The certificate and the session cache, shared by all shards. See [`server_tls`].
    pub tls: Arc<rustls::ServerConfig>,
    /// Every bound.
    pub limits: QuicLimits,
    /// Secrets.
    pub keys: QuicKeys,
    /// True when the socket never fragments (IP_MTU_DISCOVER = IP_PMTUDISC_PROBE), so that packets
    /// may grow to what the path carries.
    pub dont_fragment: bool,
    /// Makes every random choice repeatable. None outside tests.
    pub seed: Option<[u8; 32]>,
}

/// Secrets of the QUIC transport. No `Debug`, on purpose.
#[derive(Clone)]
pub struct QuicKeys {
    /// Seals Retry tokens; shared by all nodes, so that any may honour another's.
    pub retry: [u8; 32],
    /// Makes stateless reset tokens and the tag of connection ids; kept across restarts of the node.
    pub reset: [u8; 32],
}

/// Bounds of one shard's endpoint and of each of its connections.
#[derive(Clone, Debug)]
pub struct QuicLimits {
    /// Connections, handshakes and closing ones included.
    pub connections_max: usize,
    /// Handshakes in progress; more are refused.
    pub handshakes_max: usize,
    /// Handshakes in progress from which on an unproven address is answered with Retry.
    pub handshakes_before_retry: usize,
    /// From the first packet to the completed handshake.
    pub handshake_deadline: Duration,
    /// Silence after which a connection is lost.
    pub idle_timeout: Duration,
    /// Silence after which the relay asks for a sign of life.
    pub keep_alive: Duration,
    /// Longest frame from a client, in bytes, prefix excluded.
    pub frame_bytes_max: usize,
    /// Unread bytes the client may have outstanding on the control stream.
    pub receive_window_bytes: u32,
    /// Bytes queued or unacknowledged to one client, all streams together; then writes wait.
    pub send_window_bytes: u64,
    /// Bytes of queued datagrams per direction of one connection; older ones are dropped.
    pub datagram_window_bytes: usize,
    /// Delivery streams per connection.
    pub delivery_lanes: usize,
    /// How long a close waits for queued frames to arrive.
    pub flush_deadline: Duration,
    /// Answers outside a connection (Retry, refusal, reset) waiting to be sent.
    pub answers_max: usize,
    /// Packets in one send; 1 where the kernel has no UDP segmentation offload.
    pub segments_max: usize,
}

impl Default for QuicLimits {
    fn default() -> Self {
        QuicLimits {
            connections_max: 65_536,
            handshakes_max: 4_096,
            handshakes_before_retry: 256,
            handshake_deadline: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(20),
            frame_bytes_max: schema_wire::codec::FRAME_BYTES_MAX,
            receive_window_bytes: 256 * 1024,
            send_window_bytes: 256 * 1024,
            datagram_window_bytes: 64 * 1024,
            delivery_lanes: 8,
            flush_deadline: Duration::from_secs(2),
            answers_max: 256,
            segments_max: 64,
        }
    }
}

impl QuicLimits {
    fn check(&self) -> Result<(), QuicConfigError> {
        let bad = |name, why| Err(QuicConfigError::Limit { name, why });
        if self.delivery_lanes == 0 || self.delivery_lanes > DELIVERY_LANES_MAX {
            return bad("delivery_lanes", "must be 1 to 16");
        }
        if self.segments_max == 0 || self.segments_max > 64 {
            return bad("segments_max", "must be 1 to 64, the kernel's bound");
        }
        if self.keep_alive >= self.idle_timeout {
            return bad("keep_alive", "must be shorter than the idle timeout");
        }
        if self.handshakes_before_retry > self.handshakes_max {
            return bad("handshakes_before_retry", "must not exceed handshakes_max");
        }
        if self.handshakes_max > self.connections_max || self.connections_max > u32::MAX as usize {
            return bad("connections_max", "must be at least handshakes_max and fit 32 bits");
        }
        if self.frame_bytes_max == 0 || self.receive_window_bytes == 0 || self.send_window_bytes == 0 {
            return bad("frame_bytes_max", "and the windows must not be 0");
        }
        Ok(())
    }
}

/// A TLS 1.3 configuration fit for [`QuicConfig::tls`]: ALPN `relay/1`, early data on, and sessions
/// kept by the server, each usable once (a stateless ticket could be replayed, RFC 8446 section 8).
pub fn server_tls(
    certificates: Arc<dyn rustls::server::ResolvesServerCert>,
    sessions: Arc<dyn rustls::server::StoresServerSessions>,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.max_early_data_size = u32::MAX;
    tls.session_storage = sessions;
    tls.send_tls13_tickets = 1;
    Ok(tls)
}

/// The two configurations quinn-proto takes.
pub(super) struct Built {
    pub(super) endpoint: EndpointConfig,
    pub(super) server: ServerConfig,
}

impl QuicConfig {
    pub(super) fn build(&self) -> Result<Built, QuicConfigError> {
        self.limits.check()?;
        if self.issuer.shard >= self.shards {
            return Err(QuicConfigError::Limit { name: "shards", why: "must exceed the shard's number" });
        }
        let retry_key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"relay retry token").extract(&self.keys.retry);
        let mut server = ServerConfig::new(quic_crypto(&self.tls)?, Arc::new(retry_key));
        server.transport_config(Arc::new(self.transport()?));
        Ok(Built { endpoint: self.endpoint()?, server })
    }

    fn endpoint(&self) -> Result<EndpointConfig, QuicConfigError> {
        let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &self.keys.reset);
        let tag_key = hmac::sign(&reset_key, b"relay connection id tag");
        let nonce_seed = match self.seed {
            Some(seed) => seed,
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).expect("Linux has getrandom(2)");
                seed
            }
        };
        let (issuer, shards) = (self.issuer, self.shards);
        let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
        endpoint
            .cid_generator(move || Box::new(Identity::new(issuer, shards, tag_key.as_ref(), &nonce_seed)));
        endpoint.rng_seed(self.seed);
        endpoint
            .max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX)
            .map_err(|_| QuicConfigError::Limit { name: "UDP_PAYLOAD_BYTES_MAX", why: "out of bounds" })?;
        Ok(endpoint)
    }

    fn transport(&self) -> Result<TransportConfig, QuicConfigError> {
        let limits = &self.limits;
        let idle = IdleTimeout::try_from(limits.idle_timeout)
            .map_err(|_| QuicConfigError::Limit { name: "idle_timeout", why: "too long" })?;
        let mut acks = AckFrequencyConfig::default();
        // Delay (25 ms) and the answer to reordering stay as without the extension, so losses are noticed as early.
        acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY_PACKETS - 1));
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(1))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(limits.keep_alive))
            .stream_receive_window(limits.receive_window_bytes.into())
            .receive_window(limits.receive_window_bytes.into())
            .send_window(limits.send_window_bytes)
            .datagram_receive_buffer_size(Some(limits.datagram_window_bytes))
            .datagram_send_buffer_size(limits.datagram_window_bytes)
            .ack_frequency_config(Some(acks))
            .mtu_discovery_config(self.dont_fragment.then(MtuDiscoveryConfig::default))
            .enable_segmentation_offload(limits.segments_max > 1);
        Ok(transport)
    }
}

/// Wraps a TLS configuration for QUIC, refusing one that would fail at the first handshake.
pub(super) fn quic_crypto(tls: &Arc<rustls::ServerConfig>) -> Result<Arc<SessionMaker>, QuicConfigError> {
    if !tls.alpn_protocols.iter().any(|name| name == ALPN) {
        return Err(QuicConfigError::Tls("ALPN relay/1 is missing".into()));
    }
    rustls::quic::ServerConnection::new(tls.clone(), rustls::quic::Version::V1, Vec::new())
        .map_err(|error| QuicConfigError::Tls(error.to_string()))?;
    let crypto =
        QuicServerConfig::try_from(tls.clone()).map_err(|error| QuicConfigError::Tls(error.to_string()))?;
    Ok(Arc::new(SessionMaker::new(tls.clone(), Arc::new(crypto))))
}
