//! Disconnects: every goodbye, with its code. The same number closes a WebSocket and a QUIC connection.
//! 4000–4499: reconnect and resume. 4500–4999: do not reconnect. `wire.md` prints this table.

macro_rules! disconnects {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $todo:literal;)*) => {
        /// Why a connection was closed by the relay.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        pub enum Disconnect { $($(#[$doc])* $variant = $code,)* }

        impl Disconnect {
            /// Every disconnect, by rising code.
            pub const ALL: &'static [Disconnect] = &[$(Disconnect::$variant,)*];

            /// WebSocket close code and QUIC application error code.
            pub const fn code(self) -> u16 { self as u16 }

            /// The stable upper-case name, also the close reason.
            pub const fn name(self) -> &'static str { match self { $(Disconnect::$variant => $name,)* } }

            /// What the client should do, in a sentence.
            pub const fn advice(self) -> &'static str { match self { $(Disconnect::$variant => $todo,)* } }

            /// Whether a client should come back on its own.
            pub const fn reconnect(self) -> bool { (self as u16) < 4500 }

            /// The disconnect of that code, if it is known.
            pub fn from_code(code: u16) -> Option<Self> { Self::ALL.iter().copied().find(|d| d.code() == code) }
        }
    };
}

disconnects! {
    /// The node drains.
    Draining = 4000, "DRAINING", "Reconnect after the delay of the notice and resume from your positions.";
    /// The outbox overflowed.
    SlowReader = 4001, "SLOW_READER", "Read faster; reconnect and resume from your positions.";
    /// Nothing was heard for too long.
    IdleTimeout = 4002, "IDLE_TIMEOUT", "Send or answer pings; reconnect and resume.";
    /// The handshake or Hello took too long.
    HandshakeTimeout = 4003, "HANDSHAKE_TIMEOUT", "Reconnect and finish the handshake and Hello within the deadline.";
    /// The same device opened a newer session.
    Replaced = 4004, "REPLACED", "Another connection of this device took over; reconnect only if this is the one in use.";
    /// Something broke on this side.
    InternalFault = 4005, "INTERNAL_FAULT", "Reconnect with back-off and resume.";
    /// The access token ran out.
    TokenExpired = 4006, "TOKEN_EXPIRED", "Get a fresh access token, reconnect and resume.";
    /// The relay holds as many connections as it may.
    Overloaded = 4007, "OVERLOADED", "Reconnect with back-off, elsewhere if possible.";

    /// Bytes that are not the protocol.
    ProtocolError = 4500, "PROTOCOL_ERROR", "The client is faulty; check it against wire.md.";
    /// A frame larger than the limit.
    FrameTooLarge = 4501, "FRAME_TOO_LARGE", "Keep frames within Welcome.limits.max_frame.";
    /// No valid token.
    Unauthenticated = 4502, "UNAUTHENTICATED", "Log in again.";
    /// The device was revoked or logged out.
    DeviceRevoked = 4503, "DEVICE_REVOKED", "This device was logged out; log in again.";
    /// The account is suspended.
    Suspended = 4504, "SUSPENDED", "The account is suspended.";
    /// The account is banned.
    Banned = 4505, "BANNED", "The account is banned.";
    /// The account was deleted.
    AccountGone = 4506, "ACCOUNT_GONE", "The account was deleted.";
    /// No version in common.
    VersionUnsupported = 4507, "VERSION_UNSUPPORTED", "Update the client.";
    /// An operator asked for it.
    Kicked = 4508, "KICKED", "An operator closed this session; ask them before reconnecting.";
    /// The client keeps sending what is refused.
    Abusive = 4509, "ABUSIVE", "Too many refused frames; fix the client.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_and_say_whether_to_reconnect() {
        assert!(Disconnect::ALL.windows(2).all(|w| w[0].code() < w[1].code()));
        assert!(Disconnect::SlowReader.reconnect());
        assert!(!Disconnect::Banned.reconnect());
    }
}
