//! Client scenarios against the real binary, each over QUIC and over WebSocket, and what only one of them has.

mod abuse;
mod canaries;
mod ephemeral;
mod figures;
mod greeting;
mod internal;
mod library;
mod log;
mod membership;
mod openapi;
mod pressure;
mod python;
mod quic;
mod relation;
mod signal;
mod standing;
mod up;
mod user_stream;
mod websocket;
