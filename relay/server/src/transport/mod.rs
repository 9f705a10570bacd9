//! Bytes to frames and back, without meaning: what a frame says is decided in `relay-proto`.

pub mod http;
pub mod networks;
pub mod proxy;
pub mod quic;
#[cfg(test)]
pub mod seeded;
pub mod steer;
pub mod tls;
pub mod websocket;
