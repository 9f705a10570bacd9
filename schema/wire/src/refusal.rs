//! Refusals: every expected "no", with its code, whether to retry, and what to do. `wire.md` prints this table.

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, retry $retry:literal, $todo:literal;)*) => {
        /// Why a request was refused. The code is the number on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u32)]
        pub enum Refused { $($(#[$doc])* $variant = $code,)* }

        impl Refused {
            /// Every refusal, by rising code.
            pub const ALL: &'static [Refused] = &[$(Refused::$variant,)*];

            /// The number on the wire.
            pub const fn code(self) -> u32 { self as u32 }

            /// The stable upper-case name.
            pub const fn name(self) -> &'static str { match self { $(Refused::$variant => $name,)* } }

            /// Whether the same request may succeed later without a change.
            pub const fn retriable(self) -> bool { match self { $(Refused::$variant => $retry,)* } }

            /// What the client should do, in a sentence.
            pub const fn advice(self) -> &'static str { match self { $(Refused::$variant => $todo,)* } }

            /// The refusal of that code, if it is known.
            pub fn from_code(code: u32) -> Option<Self> { Self::ALL.iter().copied().find(|r| r.code() == code) }
        }
    };
}

refusals! {
    /// A frame could not be understood.
    Malformed = 100, "MALFORMED", retry false, "The frame is not valid; check the field it names against wire.md.";
    /// The first frame must be Hello, and only the first.
    NotGreeted = 101, "NOT_GREETED", retry false, "Send Hello once, first, and wait for Welcome before anything else.";
    /// No protocol version in common.
    VersionUnsupported = 102, "VERSION_UNSUPPORTED", retry false, "Offer version 1 in Hello, or update the client.";
    /// The frame or feature needs a capability that was not negotiated.
    Unsupported = 103, "UNSUPPORTED", retry false, "Negotiate the capability in Hello, or do without the field.";
    /// Early data may not change anything.
    NotInEarlyData = 104, "NOT_IN_EARLY_DATA", retry true, "Send it again once the handshake has finished.";
    /// The body is larger than allowed.
    TooLarge = 105, "TOO_LARGE", retry false, "Keep the body within Welcome.limits.max_body; put media elsewhere and send a reference.";

    /// The token is missing, forged, or for somebody else.
    TokenInvalid = 200, "TOKEN_INVALID", retry false, "Log in again and use the new access token.";
    /// The token has run out.
    TokenExpired = 201, "TOKEN_EXPIRED", retry false, "Get a fresh access token with the refresh token.";
    /// The device was revoked or logged out.
    DeviceRevoked = 202, "DEVICE_REVOKED", retry false, "This device was logged out; log in again.";
    /// The account is suspended.
    Suspended = 203, "SUSPENDED", retry false, "The account is suspended; the notice says until when.";
    /// The account is banned.
    Banned = 204, "BANNED", retry false, "The account is banned; the notice says how to appeal.";
    /// The account does not exist any more.
    AccountGone = 205, "ACCOUNT_GONE", retry false, "The account was deleted.";

    /// Not a member, or no such conversation: the two look alike on purpose.
    NotMember = 300, "NOT_MEMBER", retry false, "Ask a member to add you; nothing tells whether the conversation exists.";
    /// The member may not write at the moment.
    Muted = 301, "MUTED", retry true, "You are muted in this conversation; try again after the time given.";
    /// Deleting needs to be the author, or an admin of the conversation.
    NotAllowed = 302, "NOT_ALLOWED", retry false, "Your role does not allow this.";
    /// `relates_to` names nothing that can be deleted.
    NoSuchMessage = 303, "NO_SUCH_MESSAGE", retry false, "The offset named in relates_to does not exist or is already gone.";
    /// The conversation moved on to another epoch.
    EpochConflict = 304, "EPOCH_CONFLICT", retry false, "Fetch the conversation, adopt its epoch, and publish again with a new key.";
    /// The same publish key was used with another conversation.
    PublishKeyReused = 305, "PUBLISH_KEY_REUSED", retry false, "Choose a new random publish key for each message.";
    /// One of the two blocked the other.
    Blocked = 306, "BLOCKED", retry false, "This person does not take messages from you.";
    /// The other side has not accepted the conversation, and a first contact has no more messages.
    RequestWaiting = 307, "REQUEST_WAITING", retry false, "Wait until this person accepts the conversation; a first contact has no more messages than that.";

    /// Over the message limit of the user.
    RateLimited = 400, "RATE_LIMITED", retry true, "Slow down; try again after the time given.";
    /// Too many subscriptions, watches or requests under way.
    TooMany = 401, "TOO_MANY", retry false, "Unsubscribe from something, or wait for answers, first.";
    /// So far behind that catching up live would not end.
    TooFarBehind = 402, "TOO_FAR_BEHIND", retry false, "Fetch pages with Recover up to `head`, then subscribe after the last one.";

    /// The store does not answer or is too busy.
    StoreUnavailable = 500, "STORE_UNAVAILABLE", retry true, "Nothing was stored; publish again with the same key after the time given.";
    /// The disk is full.
    StoreFull = 501, "STORE_FULL", retry true, "Nothing was stored; the operator has to free space; publish again with the same key later.";
    /// This node is going away.
    Draining = 502, "DRAINING", retry true, "Reconnect, resume and publish again with the same key.";
    /// A queue inside the relay is full.
    Busy = 503, "BUSY", retry true, "Nothing was stored; publish again with the same key after the time given.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_and_are_unique() {
        assert!(Refused::ALL.windows(2).all(|w| w[0].code() < w[1].code()));
        assert!(Refused::ALL.iter().all(|r| Refused::from_code(r.code()) == Some(*r)));
    }
}
