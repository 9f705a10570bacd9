//! TLS 1.3 records by hand: rustls shakes hands, then only two keys and two sequence numbers stay (RFC 8446 section 5).
//! Content is sealed from where it lies into one scratch buffer that all connections share.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ServerConfig, ServerConnection};

use super::carrier::{Carrier, Desk};
use super::link::Link;

const ALERT: u8 = 21;
const APPLICATION: u8 = 23;
const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
const CONTENT_BYTES_MAX: usize = 16 * 1024;
/// Header, content type and tag.
const OVERHEAD_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;
/// What protection may add to a client's content, padding included.
const EXPANSION_BYTES_MAX: usize = 256;
/// Records that go out in one send.
const RECORDS_MAX: usize = 16;

pub const SCRATCH_BYTES: usize = RECORDS_MAX * (CONTENT_BYTES_MAX + OVERHEAD_BYTES);

/// One direction.
struct Direction {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

struct Keys {
    opening: Direction,
    sealing: Direction,
}

enum Phase {
    Handshake(Box<ServerConnection>),
    Established(Keys),
    /// A handshake failed.
    Broken,
}

pub struct Sealed {
    phase: Phase,
    /// The beginning of a record.
    partial: Vec<u8>,
}

impl Carrier for Sealed {
    type Terms = Arc<ServerConfig>;

    fn begin(terms: &Arc<ServerConfig>) -> Result<Self> {
        let connection = ServerConnection::new(terms.clone())?;
        Ok(Self { phase: Phase::Handshake(Box::new(connection)), partial: Vec::new() })
    }

    fn receive(
        &mut self,
        mut received: &mut [u8],
        inbox: &mut Vec<u8>,
        answer: &mut Vec<u8>,
    ) -> Result<bool> {
        while !received.is_empty() {
            if self.partial.is_empty()
                && let Some(len) = record_len(received)?.filter(|len| *len <= received.len())
            {
                let (record, rest) = received.split_at_mut(len);
                received = rest;
                if !self.phase.take(record, inbox, answer)? {
                    return Ok(false);
                }
                continue;
            }
            let missing = match record_len(&self.partial)? {
                Some(len) => len - self.partial.len(),
                None => HEADER_BYTES - self.partial.len(),
            };
            let (now, rest) = received.split_at_mut(missing.min(received.len()));
            self.partial.extend_from_slice(now);
            received = rest;
            if record_len(&self.partial)? == Some(self.partial.len()) {
                let goes_on = self.phase.take(&mut self.partial, inbox, answer)?;
                self.partial.clear();
                if !goes_on {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    #[inline]
    fn send(&mut self, content: &[u8], link: &mut Link, desk: &mut Desk) -> Result<()> {
        let Phase::Established(keys) = &mut self.phase else { bail!("nothing is sent before the handshake") };
        for content in content.chunks(RECORDS_MAX * CONTENT_BYTES_MAX) {
            let mut end = 0;
            for content in content.chunks(CONTENT_BYTES_MAX) {
                end += keys.sealing.seal(content, &mut desk.scratch[end..]);
            }
            link.send(&desk.scratch[..end], &mut desk.budget)?;
        }
        Ok(())
    }
}

/// How long the record is that begins `bytes`, once its header is there.
#[inline]
fn record_len(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    ensure!(len <= CONTENT_BYTES_MAX + EXPANSION_BYTES_MAX, "a record of {len} bytes, or no TLS at all");
    Ok(Some(HEADER_BYTES + len))
}

impl Phase {
    /// One whole record. False when it ends the session.
    #[inline]
    fn take(&mut self, record: &mut [u8], inbox: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<bool> {
        match self {
            Self::Handshake(connection) => {
                if shake_hands(connection, record, answer)? {
                    self.establish()?;
                }
                Ok(true)
            }
            Self::Established(keys) => {
                let content = keys.opening.open(record)?;
                inbox.extend_from_slice(content.unwrap_or_default());
                Ok(content.is_some())
            }
            Self::Broken => bail!("the handshake failed"),
        }
    }

    fn establish(&mut self) -> Result<()> {
        let Self::Handshake(connection) = std::mem::replace(self, Self::Broken) else {
            bail!("no handshake is under way");
        };
        let secrets = connection.dangerous_extract_secrets().context("keys after the handshake")?;
        let opening = Direction::new(secrets.rx)?;
        let sealing = Direction::new(secrets.tx)?;
        *self = Self::Established(Keys { opening, sealing });
        Ok(())
    }
}

/// True once both sides are done. rustls gets one record at a time, so it never holds any that comes after the last
/// of the handshake.
fn shake_hands(connection: &mut ServerConnection, mut record: &[u8], answer: &mut Vec<u8>) -> Result<bool> {
    while !record.is_empty() {
        ensure!(connection.read_tls(&mut record)? > 0, "the client ended the session");
    }
    let processed = connection.process_new_packets();
    while connection.wants_write() {
        connection.write_tls(answer)?;
    }
    processed?;
    Ok(!connection.is_handshaking())
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => bail!("keys of a cipher that is not known here"),
        };
        let key =
            UnboundKey::new(algorithm, key.as_ref()).map_err(|_| anyhow!("a key of the wrong length"))?;
        let iv = iv.as_ref().try_into().context("an initialization vector of 12 bytes")?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    /// The initialization vector with the sequence number mixed in; the number is used up.
    #[inline]
    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals one record at the beginning of `out`; its length.
    #[inline]
    fn seal(&mut self, content: &[u8], out: &mut [u8]) -> usize {
        let nonce = self.next_nonce();
        let len = content.len() + OVERHEAD_BYTES;
        let protected_len = u16::try_from(len - HEADER_BYTES).expect("a record's content is at most 16 KiB");
        let [high, low] = protected_len.to_be_bytes();
        let header = [APPLICATION, 3, 3, high, low];
        let (header_out, rest) = out[..len].split_at_mut(HEADER_BYTES);
        header_out.copy_from_slice(&header);
        let (sealed, tail) = rest.split_at_mut(content.len());
        self.key
            .seal_out_of_place_scatter(nonce, Aad::from(header), content, sealed, &[APPLICATION], tail)
            .expect("the parts of the record are as long as they must be");
        len
    }

    /// Opens one whole record; its content, or nothing when it is an alert, which ends the session.
    #[inline]
    fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<Option<&'a [u8]>> {
        let nonce = self.next_nonce();
        let (header, sealed) = record.split_first_chunk_mut::<HEADER_BYTES>().context("a whole record")?;
        let opened = self.key.open_in_place(nonce, Aad::from(*header), sealed);
        let inner = opened.map_err(|_| anyhow!("a record that can't be opened"))?;
        // The content's type follows it, then zeros.
        let kind = inner.iter().rposition(|byte| *byte != 0).context("a record without type")?;
        match inner[kind] {
            APPLICATION => Ok(Some(&inner[..kind])),
            ALERT => Ok(None),
            _ => bail!("new keys are not made here"),
        }
    }
}
