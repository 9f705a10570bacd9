//! Decides how a TLS session can go wrong. None of these is the relay's own fault; each ends the connection.

/// Why a session can't go on.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The peer's bytes are not TLS, or not in order. An alert for it waits in the outgoing slab.
    #[error("TLS with the peer failed: {0}")]
    Protocol(#[from] rustls::Error),
    /// A record or handshake message is larger than TLS allows.
    #[error("a TLS message of the peer exceeds {0} bytes")]
    Oversized(usize),
    /// Application bytes before the handshake is done, or after `close_notify`.
    #[error("the TLS session can't carry application bytes now")]
    NotOpen,
    /// So many records were sealed under one key that another would be unsafe (TLS 1.2 only; 1.3 changes keys).
    #[error("the TLS session's keys are used up")]
    KeysExhausted,
}
