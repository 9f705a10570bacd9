//! WebSocket as bytes: TLS, the HTTP upgrade and the RFC 6455 codec. Nothing here knows what a message means,
//! and only `server` touches the ring.

pub mod codec;
pub mod connection;
mod farewells;
pub mod flood;
pub mod server;
pub mod upgrade;
