//! Client scenarios against the real binary, each over QUIC and over WebSocket, and what only one of them has.

mod greeting;
mod log;
