//! WebSocket as bytes: the HTTP upgrade and the RFC 6455 codec. Nothing here knows what a message means,
//! and nothing here touches a socket.

pub mod codec;
pub mod flood;
pub mod upgrade;
