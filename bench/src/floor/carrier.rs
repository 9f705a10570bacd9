//! What lies between the socket and the WebSocket: nothing, records sealed by hand, or rustls. The event loop is
//! compiled once for each.

use anyhow::Result;

use super::link::{Budget, Link, WAITING_BYTES_MAX};
use super::sealed::SCRATCH_BYTES;

/// What all connections of a server share when they send.
pub struct Desk {
    /// Where records are sealed.
    pub scratch: Box<[u8]>,
    pub budget: Budget,
}

impl Desk {
    pub fn new() -> Self {
        Self { scratch: vec![0; SCRATCH_BYTES].into(), budget: Budget::new(WAITING_BYTES_MAX) }
    }
}

pub trait Carrier: Sized {
    /// What every connection is begun with.
    type Terms;

    fn begin(terms: &Self::Terms) -> Result<Self>;

    /// Takes what the socket gave, may overwrite it, and appends what it says to `inbox` and what has to go back at
    /// once, errors included, to `answer`. False when the client has ended the session, which is no error.
    fn receive(&mut self, received: &mut [u8], inbox: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<bool>;

    /// Sends application bytes.
    fn send(&mut self, content: &[u8], link: &mut Link, desk: &mut Desk) -> Result<()>;
}

/// No TLS.
pub struct Plain;

impl Carrier for Plain {
    type Terms = ();

    fn begin((): &()) -> Result<Self> {
        Ok(Self)
    }

    fn receive(&mut self, received: &mut [u8], inbox: &mut Vec<u8>, _: &mut Vec<u8>) -> Result<bool> {
        inbox.extend_from_slice(received);
        Ok(true)
    }

    #[inline]
    fn send(&mut self, content: &[u8], link: &mut Link, desk: &mut Desk) -> Result<()> {
        link.send(content, &mut desk.budget)
    }
}
