//! Decides the life of a session whose records rustls protects: the other path, chosen by configuration. Simpler and
//! slower than `record`; the same wire tests run on both.

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncryptError, WriteTraffic};

use super::fault::TlsFault;
use super::session::{encode, hand_out_alert};

/// What a record may add to its content, and a content's length, to guess a buffer's size (RFC 8446 section 5.2).
const RECORD_BYTES_MORE: usize = 256;
const CONTENT_BYTES_MAX: usize = 16 * 1024;

pub(super) struct Kept(Box<UnbufferedServerConnection>);

impl Kept {
    pub(super) fn new(connection: Box<UnbufferedServerConnection>) -> Self {
        Self(connection)
    }

    /// Works through all complete records. Returns how many bytes they were and whether the peer has closed.
    pub(super) fn read(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut impl FnMut(&[u8]),
        outgoing: &mut Vec<u8>,
    ) -> Result<(usize, bool), TlsFault> {
        let (mut taken, mut closed) = (0, false);
        loop {
            let status = self.0.process_tls_records(&mut incoming[taken..]);
            taken += status.discard;
            let mut more = 0;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        let record = record?;
                        more += record.discard;
                        plaintext(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => closed = true,
                Ok(_) => return Ok((taken, closed)),
                Err(error) => {
                    hand_out_alert(&mut self.0, &mut incoming[taken..], outgoing);
                    return Err(error.into());
                }
            }
            taken += more;
        }
    }

    /// Seals the parts, one after the other; rustls wants them in one piece.
    pub(super) fn seal(
        &mut self,
        parts: impl Iterator<Item = impl AsRef<[u8]>>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFault> {
        let mut plain = Vec::new();
        parts.for_each(|part| plain.extend_from_slice(part.as_ref()));
        if plain.is_empty() {
            return Ok(());
        }
        let records = plain.len().div_ceil(CONTENT_BYTES_MAX) + 1;
        let guess = plain.len() + records * RECORD_BYTES_MORE;
        self.write(out, guess, |traffic, space| traffic.encrypt(&plain, space))
    }

    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFault> {
        self.write(out, RECORD_BYTES_MORE, |traffic, space| traffic.queue_close_notify(space))
    }

    /// Lets `write` append to `out` once rustls has handed out what it had to say itself.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        guess: usize,
        mut write: impl FnMut(
            &mut WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsFault> {
        loop {
            match self.0.process_tls_records(&mut []).state? {
                ConnectionState::EncodeTlsData(data) => encode(data, out),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                ConnectionState::WriteTraffic(mut traffic) => {
                    let (start, mut size) = (out.len(), guess);
                    loop {
                        out.resize(start + size, 0);
                        match write(&mut traffic, &mut out[start..]) {
                            Ok(written) => {
                                out.truncate(start + written);
                                return Ok(());
                            }
                            Err(EncryptError::InsufficientSize(need)) => size = need.required_size,
                            Err(EncryptError::EncryptExhausted) => {
                                out.truncate(start);
                                return Err(TlsFault::KeysExhausted);
                            }
                        }
                    }
                }
                _ => return Err(TlsFault::NotOpen),
            }
        }
    }
}
