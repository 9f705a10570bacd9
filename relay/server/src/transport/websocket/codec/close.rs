//! Close codes and the close frame's payload (RFC 6455 section 7.4): which codes a peer may send.

use super::Violation;

/// A close code as it crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the framing rules.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of data this endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Data that is not what its frame says, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A message over the limit.
    pub const TOO_BIG: Self = Self(1009);

    /// Whether the code may appear in a close frame: the registered ones, and 3000–4999.
    pub fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// A peer's close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code, absent when the payload was empty.
    pub code: Option<CloseCode>,
    /// The reason, at most 123 bytes; it is the peer's text and never goes into logs or replies.
    pub reason: Box<str>,
}

impl Close {
    /// Reads the unmasked payload of a close frame.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Violation> {
        let (code, reason) = match payload {
            [] => return Ok(Self { code: None, reason: "".into() }),
            [_] => return Err(Violation::ClosePayload),
            [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
        };
        if !code.is_sendable() {
            return Err(Violation::CloseCodeRefused);
        }
        let reason = core::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
        Ok(Self { code: Some(code), reason: reason.into() })
    }
}
