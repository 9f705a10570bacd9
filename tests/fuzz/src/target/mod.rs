//! The targets: each a function of arbitrary bytes, the words its inputs are made of, and their largest size.

mod internal;
mod jwt;
mod proxy;
mod quic;
mod sealed;
mod shard;
mod tls;
mod upgrade;
mod websocket;
mod wire;

/// One thing that reads a stranger's bytes.
#[derive(Debug)]
pub struct Target {
    /// Its file here and its folder of the corpus.
    pub name: &'static str,
    /// Panics when a promise is broken, never for bad input.
    pub run: fn(&[u8]),
    /// Byte runs that mutation inserts.
    pub words: &'static [&'static [u8]],
    /// Largest input that mutation makes, in bytes.
    pub bytes_max: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "wire", run: wire::run, words: wire::WORDS, bytes_max: 2_000 },
    Target { name: "upgrade", run: upgrade::run, words: upgrade::WORDS, bytes_max: 1_500 },
    Target { name: "websocket", run: websocket::run, words: websocket::WORDS, bytes_max: 1_500 },
    Target { name: "proxy", run: proxy::run, words: proxy::WORDS, bytes_max: 1_000 },
    Target { name: "internal", run: internal::run, words: internal::WORDS, bytes_max: 1_000 },
    Target { name: "jwt", run: jwt::run, words: jwt::WORDS, bytes_max: 1_500 },
    Target { name: "tls", run: tls::run, words: tls::WORDS, bytes_max: 1_000 },
    Target { name: "quic", run: quic::run, words: quic::WORDS, bytes_max: 600 },
    Target { name: "sealed", run: sealed::run, words: sealed::WORDS, bytes_max: 1_500 },
    Target { name: "shard", run: shard::run, words: shard::WORDS, bytes_max: 1_000 },
];
