//! How a QUIC connection goes wrong: what the client broke, why a connection ended, why a write waits.

use schema_wire::Disconnect;
use thiserror::Error;

/// What a client did that this protocol forbids; the connection is closed with [`Violation::disconnect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A length prefix names more bytes than a frame may have.
    #[error("frame longer than the limit")]
    FrameTooLarge,
    /// A length prefix uses more bytes than it needs.
    #[error("length prefix not in its shortest form")]
    LengthNotMinimal,
    /// A length prefix of zero.
    #[error("empty frame")]
    EmptyFrame,
    /// The control stream ended inside a frame.
    #[error("control stream ended inside a frame")]
    FrameCutShort,
    /// The client reset the control stream.
    #[error("control stream reset")]
    ControlReset,
    /// The client opened a stream after it had finished the control stream.
    #[error("second stream opened by the client")]
    SecondStream,
    /// The client refused to read the control stream or a delivery stream.
    #[error("server stream stopped by the client")]
    StreamStopped,
}

impl Violation {
    /// What the client is told: its code is the application error code of CONNECTION_CLOSE
    /// (RFC 9000 section 19.19), its name the reason.
    pub fn disconnect(self) -> Disconnect {
        match self {
            Violation::FrameTooLarge => Disconnect::FrameTooLarge,
            Violation::LengthNotMinimal
            | Violation::EmptyFrame
            | Violation::FrameCutShort
            | Violation::ControlReset
            | Violation::SecondStream
            | Violation::StreamStopped => Disconnect::ProtocolError,
        }
    }
}

/// The application error code of a close without complaint, as WebSocket's 1000 is.
pub const CODE_NORMAL: u32 = 0;

/// Why a connection ended. Every opened connection ends with exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CloseCause {
    /// The relay closed it with this application code.
    #[error("closed here with code {0}")]
    Local(u32),
    /// The client closed it with this application code; 0 when it is done.
    #[error("closed by the client with code {0}")]
    Client(u64),
    /// The client finished its side of the control stream between two frames.
    #[error("client finished")]
    ClientFinished,
    /// The client broke a rule of this protocol.
    #[error("{0}")]
    Violation(#[from] Violation),
    /// The client's QUIC stack gave up, with this transport code.
    #[error("aborted by the client's transport, code {0:#x}")]
    ClientTransport(u64),
    /// The client broke QUIC or TLS itself, with this transport code.
    #[error("transport error, code {0:#x}")]
    Transport(u64),
    /// Nothing was heard for the idle timeout.
    #[error("idle timeout")]
    IdleTimeout,
    /// The handshake did not complete before its deadline, though early data had come.
    #[error("handshake timeout")]
    HandshakeTimeout,
    /// The client no longer knows the connection.
    #[error("stateless reset by the client")]
    Reset,
}

impl From<quinn_proto::ConnectionError> for CloseCause {
    fn from(error: quinn_proto::ConnectionError) -> Self {
        use quinn_proto::ConnectionError as E;
        match error {
            E::ApplicationClosed(close) => CloseCause::Client(close.error_code.into_inner()),
            E::ConnectionClosed(close) => CloseCause::ClientTransport(close.error_code.into()),
            E::TransportError(error) => CloseCause::Transport(error.code.into()),
            E::TimedOut => CloseCause::IdleTimeout,
            E::Reset => CloseCause::Reset,
            E::LocallyClosed => CloseCause::Local(CODE_NORMAL),
            // Neither reaches an accepted connection; 0x1 is INTERNAL_ERROR (RFC 9000 section 20.1).
            E::VersionMismatch | E::CidsExhausted => CloseCause::Transport(1),
        }
    }
}

/// Why a frame was not taken. Nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The lane is full; `Writable` says when to go on. Other lanes may have room.
    #[error("lane full")]
    Blocked,
    /// The connection is closed or closing.
    #[error("connection closed")]
    Closed,
}

/// Why an endpoint could not be made.
#[derive(Debug, Error)]
pub enum QuicConfigError {
    /// The TLS configuration can't serve QUIC.
    #[error("TLS configuration unfit for QUIC: {0}")]
    Tls(String),
    /// A limit has a value that can't work.
    #[error("limit {name}: {why}")]
    Limit {
        /// The field of `QuicLimits`.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}
