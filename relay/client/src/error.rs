//! What can go wrong, as the program sees it: refusals, disconnects and faults kept apart.

use std::time::Duration;

use schema_wire::{Disconnect, Refused, v1};

use crate::token::TokenError;

/// An expected no from the relay.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} ({code}): {message}", self.name())]
pub struct Refusal {
    /// The number on the wire; [`Refused`] when this version knows it.
    pub code: u32,
    /// What to do, from the relay.
    pub message: String,
    /// When the same may succeed; `None`: not without a change.
    pub retry_after: Option<Duration>,
    /// Newest offset, for `TOO_FAR_BEHIND`.
    pub head: u64,
}

impl Refusal {
    /// The refusal this is, when this version knows it.
    pub fn refused(&self) -> Option<Refused> {
        Refused::from_code(self.code)
    }

    /// Its stable upper-case name.
    pub fn name(&self) -> &'static str {
        self.refused().map_or("UNKNOWN", Refused::name)
    }

    pub(crate) fn of(refused: Refused) -> Self {
        Self { code: refused.code(), message: refused.advice().to_owned(), retry_after: None, head: 0 }
    }

    pub(crate) fn from_wire(refusal: &v1::Refusal) -> Self {
        let wait = u64::from(refusal.retry_after_ms);
        let retriable = Refused::from_code(refusal.code).map_or(wait > 0, Refused::retriable);
        let retry_after = (retriable || wait > 0).then(|| Duration::from_millis(wait));
        Self { code: refusal.code, message: refusal.message.clone(), retry_after, head: refusal.head }
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The relay said no; nothing of this call happened. A publish that was sent again after a lost connection may
    /// have been stored by its first attempt: when membership ended in between, the repetition is refused all the same.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The client is closed. What became of a publish under way is not known: its key finds out.
    #[error("the client is closed")]
    Closed,
    /// The relay answered what the protocol does not allow.
    #[error("the relay broke the protocol: {0}")]
    Protocol(String),
}

/// Why there is no session.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting that can't work.
    #[error("{0}")]
    Config(String),
    /// No token.
    #[error("no access token: {0}")]
    Token(#[from] TokenError),
    /// Name lookup, TCP, TLS, upgrade or QUIC handshake failed.
    #[error("{0}")]
    Link(String),
    /// The server's certificate was not accepted.
    #[error("certificate not accepted: {0}")]
    Certificate(String),
    /// A deadline passed.
    #[error("no answer within {0:?} ({1})")]
    Timeout(Duration, &'static str),
    /// Hello was refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The relay closed the connection with a code it documents.
    #[error("closed by the relay: {} ({}): {}", .0.name(), .0.code(), .0.advice())]
    Disconnected(Disconnect),
    /// The relay closed the connection with a code this version does not know.
    #[error("closed by the relay with code {0}")]
    Code(u16),
    /// The relay answered what the protocol does not allow.
    #[error("the relay broke the protocol: {0}")]
    Protocol(String),
}

impl ConnectError {
    /// Whether trying again on its own makes sense.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Config(_) => false,
            Self::Token(e) => !e.definite,
            Self::Link(_) | Self::Certificate(_) | Self::Timeout(..) | Self::Protocol(_) => true,
            Self::Refused(refusal) => {
                refusal.retry_after.is_some() || refusal.refused() == Some(Refused::TokenExpired)
            }
            Self::Disconnected(Disconnect::Replaced) => false,
            Self::Disconnected(with) => with.reconnect(),
            Self::Code(code) => !(4500..=4999).contains(code),
        }
    }

    /// Whether the next attempt needs a newer token.
    pub(crate) fn wants_fresh_token(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                matches!(refusal.refused(), Some(Refused::TokenExpired | Refused::TokenInvalid))
            }
            Self::Disconnected(with) => {
                matches!(with, Disconnect::TokenExpired | Disconnect::Unauthenticated)
            }
            _ => false,
        }
    }
}
