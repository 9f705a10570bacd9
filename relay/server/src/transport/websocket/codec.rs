//! The server side of RFC 6455 framing: decides which bytes are a message, which are a violation, and
//! with which close code a violation ends. Runs on the session's shard; owns no socket and no clock.

mod close;
mod decoder;
mod encode;
mod header;
mod mask;
#[cfg(test)]
mod tests;

pub use close::{Close, CloseCode};
pub use decoder::{Decoder, Event};
pub use encode::{ControlFrame, close, close_reply, header, ping, pong};
pub use header::Opcode;
pub use mask::unmask;

/// Largest payload of a control frame in bytes (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// Largest encoding of a server frame header in bytes: two, and a 64-bit length. Servers do not mask.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

/// What data frames a connection carries, settled by its subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// `relay.v1.proto`: binary messages only.
    Binary,
    /// `relay.v1.json`: text messages only.
    Text,
}

/// A peer broke RFC 6455 or a limit; the connection ends with [`Violation::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Section 5.2: no extension was negotiated, so RSV1–3 must be zero.
    #[error("reserved bit set")]
    ReservedBit,
    /// Section 5.2: opcodes 3–7 and 11–15 are reserved.
    #[error("reserved opcode")]
    ReservedOpcode,
    /// Section 5.1: every frame of a client is masked.
    #[error("frame is not masked")]
    Unmasked,
    /// Section 5.2: the shortest length encoding is mandatory.
    #[error("length is not minimally encoded")]
    LengthNotMinimal,
    /// Section 5.2: the highest bit of a 64-bit length is zero.
    #[error("length out of range")]
    LengthOutOfRange,
    /// Section 5.5: control frames are not fragmented.
    #[error("fragmented control frame")]
    ControlFragmented,
    /// Section 5.5: control frames carry 125 bytes at most.
    #[error("control frame too long")]
    ControlTooLong,
    /// Section 5.4: a continuation continues something.
    #[error("continuation without a message")]
    UnexpectedContinuation,
    /// Section 5.4: a message ends before the next begins.
    #[error("new message inside a fragmented one")]
    ExpectedContinuation,
    /// Section 5.5.1: a close payload is empty, or a code and a reason.
    #[error("close payload of one byte")]
    ClosePayload,
    /// Section 7.4: the close code may not appear in a frame.
    #[error("close code not allowed")]
    CloseCodeRefused,
    /// Section 8.1: text and close reasons are UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The message is larger than this connection's limit.
    #[error("message too big")]
    TooBig,
    /// A text message on a binary subprotocol, or the reverse.
    #[error("kind of message does not fit the subprotocol")]
    WrongKind,
}

impl Violation {
    /// The code of the close frame that answers this violation (RFC 6455 section 7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::TooBig => CloseCode::TOO_BIG,
            Self::WrongKind => CloseCode::UNSUPPORTED,
            _ => CloseCode::PROTOCOL,
        }
    }
}
