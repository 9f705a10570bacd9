//! Decides one connection's TLS without a socket: ciphertext in, plaintext and answers out, frames sealed straight
//! into the connection's send slab. Holds no buffer while idle.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, WriteTraffic};

use super::fault::TlsFault;

/// Ciphertext that may wait for the rest of its record or handshake message: the largest handshake message that
/// rustls accepts (64 KiB), in records that each carry some overhead.
const PARTIAL_BYTES_MAX: usize = 96 * 1024;

/// Application bytes per record (RFC 8446 section 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// At least what a record adds: header, explicit nonce (TLS 1.2), content type (TLS 1.3) and tag.
const RECORD_OVERHEAD_MAX: usize = 40;

type Traffic<'a> = WriteTraffic<'a, ServerConnectionData>;

/// Where a session stands after [`TlsSession::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsProgress {
    /// Application bytes can be sealed.
    pub open: bool,
    /// The peer has sent `close_notify`: nothing follows.
    pub peer_closed: bool,
}

/// The server's end of one TLS connection.
pub struct TlsSession {
    connection: Box<UnbufferedServerConnection>,
    /// The beginning of a record whose rest has not arrived; empty without allocation otherwise.
    partial: Vec<u8>,
    open: bool,
    peer_closed: bool,
    closed: bool,
    failed: bool,
}

impl TlsSession {
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsFault> {
        let connection = Box::new(UnbufferedServerConnection::new(config)?);
        Ok(Self {
            connection,
            partial: Vec::new(),
            open: false,
            peer_closed: false,
            closed: false,
            failed: false,
        })
    }

    /// Takes what arrived. Decrypted bytes go to `plaintext`, handshake answers and alerts are appended to
    /// `outgoing`, which must be sent also when this fails: it then holds the alert that tells the peer why.
    pub fn read(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut impl FnMut(&[u8]),
        outgoing: &mut Vec<u8>,
    ) -> Result<TlsProgress, TlsFault> {
        if self.failed {
            return Err(TlsFault::NotOpen);
        }
        if self.partial.is_empty() {
            let taken = self.process(incoming, plaintext, outgoing)?;
            self.partial.extend_from_slice(&incoming[taken..]);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(incoming);
            let taken = self.process(&mut joined, plaintext, outgoing)?;
            if taken < joined.len() {
                joined.drain(..taken);
                self.partial = joined;
            }
        }
        if self.partial.len() > PARTIAL_BYTES_MAX {
            self.open = false;
            self.failed = true;
            self.partial = Vec::new();
            return Err(TlsFault::Oversized(PARTIAL_BYTES_MAX));
        }
        Ok(TlsProgress { open: self.open, peer_closed: self.peer_closed })
    }

    /// Works through all complete records and returns how many bytes they were.
    fn process(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut impl FnMut(&[u8]),
        outgoing: &mut Vec<u8>,
    ) -> Result<usize, TlsFault> {
        let mut taken = 0;
        loop {
            let status = self.connection.process_tls_records(&mut incoming[taken..]);
            taken += status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        plaintext(record?.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.open = true;
                    break;
                }
                Ok(ConnectionState::Closed) => {
                    // Whatever follows a close_notify is not part of the session.
                    taken = incoming.len();
                    break;
                }
                // Early data is not offered, and a state that rustls adds later can't be answered here.
                Ok(_) => break,
                Err(error) => {
                    self.fail(&mut incoming[taken..], outgoing);
                    return Err(error.into());
                }
            }
        }
        if self.peer_closed {
            taken = incoming.len();
        }
        Ok(taken)
    }

    /// After an error rustls still has its alert to hand out, and nothing else may be asked of it: it would go on
    /// reading at a place that is no longer there.
    fn fail(&mut self, rest: &mut [u8], outgoing: &mut Vec<u8>) {
        self.open = false;
        self.failed = true;
        while self.connection.wants_write() {
            match self.connection.process_tls_records(rest).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
                _ => return,
            }
        }
    }

    /// Seals the parts, one after the other, into as few records as they need and appends these to `out`.
    /// One part goes straight from its frame into `out`; several are joined at the end of `out` first, since a
    /// record costs more than a copy.
    pub fn seal<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFault> {
        if !self.open || self.closed {
            return Err(TlsFault::NotOpen);
        }
        let len: usize = parts.clone().map(<[u8]>::len).sum();
        let room = len + len.div_ceil(RECORD_BYTES_MAX) * RECORD_OVERHEAD_MAX;
        self.with_traffic(out, |traffic, out| {
            let mut first_two = parts.clone();
            match (first_two.next(), first_two.next()) {
                (None, _) => Ok(()),
                (Some(part), None) => encrypt(out, room, |target| traffic.encrypt(part, target)),
                _ => seal_joined(traffic, parts, room, out),
            }
        })
    }

    /// Says that nothing follows. Sealing is refused from here on; reading goes on.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFault> {
        if !self.open || self.closed {
            return Ok(());
        }
        self.with_traffic(out, |traffic, out| {
            encrypt(out, RECORD_OVERHEAD_MAX, |target| traffic.queue_close_notify(target))
        })?;
        self.closed = true;
        Ok(())
    }

    /// Whether the handshake is done.
    pub fn is_open(&self) -> bool {
        self.open && !self.closed
    }

    /// The negotiated connection: version, cipher suite, ALPN, whether it was resumed.
    pub fn negotiated(&self) -> &rustls::CommonState {
        &self.connection
    }

    /// Bytes held for a record that is not complete.
    pub fn partial_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Reaches the state in which application bytes can be written; key updates that are due go first. rustls is shown
    /// what waits of an incomplete message, since it remembers how far it has read into it.
    fn with_traffic(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Traffic<'_>, &mut Vec<u8>) -> Result<(), TlsFault>,
    ) -> Result<(), TlsFault> {
        loop {
            let status = self.connection.process_tls_records(&mut self.partial);
            if status.discard != 0 {
                // Complete records are taken when they arrive; anything else would leave rustls and us apart.
                return Err(TlsFault::NotOpen);
            }
            match status.state? {
                ConnectionState::WriteTraffic(mut traffic) => return write(&mut traffic, out),
                ConnectionState::EncodeTlsData(data) => encode(data, out),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                _ => return Err(TlsFault::NotOpen),
            }
        }
    }
}

/// Appends a handshake message or alert that rustls has ready.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let start = out.len();
    let Err(EncodeError::InsufficientSize(need)) = data.encode(&mut []) else { return };
    out.resize(start + need.required_size, 0);
    let written = data.encode(&mut out[start..]);
    out.truncate(start + written.expect("the buffer has the size that was asked for"));
}

/// Lets rustls append to `out`. If `room` does not suffice, because older messages wait, it says how much does.
fn encrypt(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsFault> {
    let start = out.len();
    out.resize(start + room, 0);
    let mut written = write(&mut out[start..]);
    if let Err(EncryptError::InsufficientSize(need)) = written {
        out.resize(start + need.required_size, 0);
        written = write(&mut out[start..]);
    }
    out.truncate(start + written.as_ref().map_or(0, |written| *written));
    written.map(drop).map_err(|_| TlsFault::KeysExhausted)
}

/// Joins the parts behind the room for their records, where the final length cuts them off again.
fn seal_joined<'a>(
    traffic: &mut Traffic<'_>,
    parts: impl Iterator<Item = &'a [u8]>,
    room: usize,
    out: &mut Vec<u8>,
) -> Result<(), TlsFault> {
    let start = out.len();
    out.resize(start + room, 0);
    parts.for_each(|part| out.extend_from_slice(part));
    let (target, joined) = out[start..].split_at_mut(room);
    match traffic.encrypt(joined, target) {
        Ok(written) => {
            out.truncate(start + written);
            Ok(())
        }
        Err(EncryptError::InsufficientSize(need)) => {
            let joined = out.split_off(start + room);
            out.truncate(start);
            encrypt(out, need.required_size, |target| traffic.encrypt(&joined, target))
        }
        Err(EncryptError::EncryptExhausted) => {
            out.truncate(start);
            Err(TlsFault::KeysExhausted)
        }
    }
}
