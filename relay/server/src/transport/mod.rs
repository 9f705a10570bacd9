//! Bytes to frames and back, without meaning: what a frame says is decided in `relay-proto`.

use schema_wire::{Frame, SessionId};

/// Where sessions' waiting frames come from.
pub trait Outboxes {
    /// The frames of one session, oldest first.
    type Frames<'a>: Iterator<Item = Frame>
    where
        Self: 'a;

    /// What waits for a session, looked up once.
    fn of(&mut self, session: SessionId) -> Self::Frames<'_>;
}

pub mod http;
pub mod networks;
pub mod proxy;
pub mod quic;
#[cfg(test)]
pub mod seeded;
pub mod steer;
pub mod tls;
pub mod websocket;
