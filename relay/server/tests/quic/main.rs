//! The QUIC endpoint against an independent client, on a virtual clock and on real sockets.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod abuse;
mod client;
mod frames;
mod life;
mod real;
mod resume;
mod shard;
mod world;
