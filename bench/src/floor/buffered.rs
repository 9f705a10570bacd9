//! TLS as most servers do it: rustls' buffered connection keeps its state and seals into buffers of its own.

use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::Result;
use rustls::{ServerConfig, ServerConnection};

use super::carrier::{Carrier, Desk};
use super::link::Link;

pub struct Buffered(Box<ServerConnection>);

impl Carrier for Buffered {
    type Terms = Arc<ServerConfig>;

    fn begin(terms: &Arc<ServerConfig>) -> Result<Self> {
        let mut connection = ServerConnection::new(terms.clone())?;
        connection.set_buffer_limit(None);
        Ok(Self(Box::new(connection)))
    }

    fn receive(&mut self, received: &mut [u8], inbox: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<bool> {
        let mut rest = &*received;
        while !rest.is_empty() {
            self.0.read_tls(&mut rest)?;
            let processed = self.0.process_new_packets();
            while self.0.wants_write() {
                self.0.write_tls(answer)?;
            }
            let state = processed?;
            let clear = state.plaintext_bytes_to_read();
            let start = inbox.len();
            inbox.resize(start + clear, 0);
            self.0.reader().read_exact(&mut inbox[start..])?;
            if state.peer_has_closed() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn send(&mut self, content: &[u8], link: &mut Link, desk: &mut Desk) -> Result<()> {
        self.0.writer().write_all(content)?;
        while self.0.wants_write() {
            self.0.write_tls(&mut link.writer(&mut desk.budget))?;
        }
        Ok(())
    }
}
