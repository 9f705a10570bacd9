//! Floors: servers that do the least that can be done for the same deliveries, so that the relay is measured against
//! the machine and not against yesterday. No accounts, no store, no order, no limits.

mod buffered;
mod carrier;
mod certificate;
pub mod commit;
mod connection;
mod epoll;
mod frames;
mod link;
mod quinn;
mod rooms;
mod sealed;
mod serve;
#[cfg(test)]
mod tests;
mod upgrade;

use std::path::PathBuf;

use anyhow::Result;

/// Which floor, and with which certificate.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    pub kind: Kind,
    /// Certificate chain in PEM.
    #[arg(long)]
    pub certificate: PathBuf,
    /// Private key in PEM.
    #[arg(long)]
    pub key: PathBuf,
}

/// The floors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// WebSocket frames over TCP, no TLS.
    Plain,
    /// TLS records sealed by hand, straight from the shared frame.
    Sealed,
    /// TLS records by rustls' buffered interface.
    Rustls,
    /// Stock quinn on tokio.
    Quinn,
}

/// Serves until standard input ends. Prints `listening ADDRESS` first.
pub fn run(arguments: &Arguments) -> Result<()> {
    match arguments.kind {
        Kind::Plain | Kind::Sealed | Kind::Rustls => serve::run(arguments),
        Kind::Quinn => quinn::run(arguments),
    }
}
