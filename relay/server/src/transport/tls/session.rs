//! Decides one connection's TLS without a socket: ciphertext in, plaintext and answers out, frames sealed
//! in the connection's send slab. rustls makes the handshake, `record` carries the session. Holds no buffer while idle.

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData};
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConfig};

use super::fault::TlsFault;
use super::kept::Kept;
use super::record::Established;

/// Ciphertext that may wait for the rest of its record or handshake message: the largest handshake message that
/// rustls accepts (64 KiB), in records that each carry some overhead.
const PARTIAL_BYTES_MAX: usize = 96 * 1024;

/// Where a session stands after [`TlsSession::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsProgress {
    /// Application bytes can be sealed.
    pub open: bool,
    /// The peer has sent `close_notify`: nothing follows.
    pub peer_closed: bool,
}

/// What the handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsNegotiated {
    pub version: ProtocolVersion,
    pub suite: CipherSuite,
    /// Whether a ticket of an earlier session saved the full handshake.
    pub resumed: bool,
}

enum Stage {
    Handshake(Box<UnbufferedServerConnection>),
    /// The relay protects the records.
    Established(Box<Established>),
    /// rustls goes on protecting them.
    Kept(Kept),
    /// After a fault nothing is read or sealed any more.
    Failed,
}

/// The server's end of one TLS connection.
pub struct TlsSession {
    stage: Stage,
    negotiated: Option<TlsNegotiated>,
    /// The beginning of a record whose rest has not arrived; empty without allocation otherwise.
    partial: Vec<u8>,
    /// Who protects the records: rustls lets go of the secrets only when its configuration says so.
    extract: bool,
    peer_closed: bool,
    closed: bool,
}

impl TlsSession {
    /// `config` comes from [`super::websocket_config`], which says who protects the records.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsFault> {
        let extract = config.enable_secret_extraction;
        let connection = Box::new(UnbufferedServerConnection::new(config)?);
        let stage = Stage::Handshake(connection);
        Ok(Self { stage, negotiated: None, partial: Vec::new(), extract, peer_closed: false, closed: false })
    }

    /// Takes what arrived. Decrypted bytes go to `plaintext`, handshake answers and alerts are appended to
    /// `outgoing`, which must be sent also when this fails: it then holds the alert that tells the peer why.
    pub fn read(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut impl FnMut(&[u8]),
        outgoing: &mut Vec<u8>,
    ) -> Result<TlsProgress, TlsFault> {
        let read = self.read_joined(incoming, plaintext, outgoing);
        if read.is_err() {
            self.stage = Stage::Failed;
            self.partial = Vec::new();
        }
        read.map(|()| TlsProgress { open: self.is_open(), peer_closed: self.peer_closed })
    }

    /// Puts what is left of earlier bytes before these.
    fn read_joined(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut impl FnMut(&[u8]),
        outgoing: &mut Vec<u8>,
    ) -> Result<(), TlsFault> {
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
            return Err(TlsFault::Oversized(PARTIAL_BYTES_MAX));
        }
        Ok(())
    }

    /// Works through all complete records and returns how many bytes they were.
    fn process(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut impl FnMut(&[u8]),
        outgoing: &mut Vec<u8>,
    ) -> Result<usize, TlsFault> {
        if self.peer_closed {
            // Whatever follows a close_notify is not part of the session (RFC 8446 section 6.1).
            return Ok(incoming.len());
        }
        let mut taken = 0;
        if let Stage::Handshake(connection) = &mut self.stage {
            let shaken = shake(connection, incoming, plaintext, outgoing)?;
            taken = shaken.taken;
            self.peer_closed = shaken.peer_closed;
            if shaken.done {
                self.establish()?;
            }
        }
        match &mut self.stage {
            Stage::Handshake(_) => {}
            Stage::Failed => return Err(TlsFault::NotOpen),
            Stage::Established(established) if !self.peer_closed => {
                let rest = &mut incoming[taken..];
                let (more, peer_closed) = match established.read(rest, plaintext, outgoing) {
                    Ok(progress) => progress,
                    Err(breach) => {
                        established.alert(&breach, outgoing);
                        return Err(breach.error.into());
                    }
                };
                taken += more;
                self.peer_closed = peer_closed;
            }
            Stage::Kept(kept) if !self.peer_closed => {
                let (more, peer_closed) = kept.read(&mut incoming[taken..], plaintext, outgoing)?;
                taken += more;
                self.peer_closed = peer_closed;
            }
            Stage::Established(_) | Stage::Kept(_) => {}
        }
        Ok(if self.peer_closed { incoming.len() } else { taken })
    }

    fn establish(&mut self) -> Result<(), TlsFault> {
        let Stage::Handshake(connection) = std::mem::replace(&mut self.stage, Stage::Failed) else {
            return Err(TlsFault::NotOpen);
        };
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let (version, suite) = (connection.protocol_version(), connection.negotiated_cipher_suite());
        if let (Some(version), Some(suite)) = (version, suite) {
            self.negotiated = Some(TlsNegotiated { version, suite: suite.suite(), resumed });
        }
        self.stage = if self.extract {
            Stage::Established(Box::new(Established::take_over(*connection)?))
        } else {
            Stage::Kept(Kept::new(connection))
        };
        Ok(())
    }

    /// Seals the parts, one after the other, into as few records as they need and appends these to `out`.
    pub fn seal(
        &mut self,
        parts: impl Iterator<Item = impl AsRef<[u8]>>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFault> {
        match &mut self.stage {
            Stage::Established(established) if !self.closed => established.seal(parts, out),
            Stage::Kept(kept) if !self.closed => kept.seal(parts, out),
            _ => Err(TlsFault::NotOpen),
        }
    }

    /// Says that nothing follows. Sealing is refused from here on; reading goes on.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFault> {
        match &mut self.stage {
            Stage::Established(established) if !self.closed => {
                self.closed = true;
                established.close_notify(out)
            }
            Stage::Kept(kept) if !self.closed => {
                self.closed = true;
                kept.close_notify(out)
            }
            _ => Ok(()),
        }
    }

    /// Whether application bytes can be sealed.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Established(_) | Stage::Kept(_)) && !self.closed
    }

    /// What the handshake agreed on, once it is done.
    pub fn negotiated(&self) -> Option<TlsNegotiated> {
        self.negotiated
    }

    /// Bytes held for a record that is not complete.
    pub fn partial_bytes(&self) -> usize {
        self.partial.capacity()
    }
}

struct Shaken {
    taken: usize,
    done: bool,
    peer_closed: bool,
}

/// Lets rustls work through the handshake, and through application bytes that follow it in the same flight.
fn shake(
    connection: &mut UnbufferedServerConnection,
    incoming: &mut [u8],
    plaintext: &mut impl FnMut(&[u8]),
    outgoing: &mut Vec<u8>,
) -> Result<Shaken, TlsFault> {
    let mut shaken = Shaken { taken: 0, done: false, peer_closed: false };
    // The records behind the handshake are left to whoever takes over: rustls would change its key at a key update
    // among them, and keep the announcement to itself.
    while connection.is_handshaking() || connection.wants_write() {
        let status = connection.process_tls_records(&mut incoming[shaken.taken..]);
        shaken.taken += status.discard;
        match status.state {
            Ok(ConnectionState::ReadTraffic(mut records)) => {
                while let Some(record) = records.next_record() {
                    plaintext(record?.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => shaken.peer_closed = true,
            Ok(ConnectionState::WriteTraffic(_)) => break,
            // Blocked or closed; early data is not offered, and a state that rustls adds later can't be answered here.
            Ok(_) => break,
            Err(error) => {
                hand_out_alert(connection, &mut incoming[shaken.taken..], outgoing);
                return Err(error.into());
            }
        }
    }
    shaken.done = !connection.is_handshaking();
    Ok(shaken)
}

/// After an error rustls still has its alert to hand out, and nothing else may be asked of it: it would go on reading
/// at a place that is no longer there.
pub(super) fn hand_out_alert(
    connection: &mut UnbufferedServerConnection,
    rest: &mut [u8],
    outgoing: &mut Vec<u8>,
) {
    while connection.wants_write() {
        match connection.process_tls_records(rest).state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
            _ => return,
        }
    }
}

/// Appends a handshake message or alert that rustls has ready.
pub(super) fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let start = out.len();
    let Err(EncodeError::InsufficientSize(need)) = data.encode(&mut []) else { return };
    out.resize(start + need.required_size, 0);
    let written = data.encode(&mut out[start..]);
    out.truncate(start + written.expect("the buffer has the size that was asked for"));
}
