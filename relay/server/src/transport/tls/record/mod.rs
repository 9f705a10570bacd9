//! Decides how an established session's records are protected: frames are sealed where they lie in the send slab,
//! arriving records opened in place. Handshakes, tickets and new keys stay with rustls.

mod established;
mod open;
mod seal;

#[cfg(test)]
mod tests;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{AlertDescription, ConnectionTrafficSecrets, InvalidMessage, ProtocolVersion};

pub(super) use self::established::Established;

/// Content types (RFC 8446 section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;

/// Type, version and length before each record.
const HEADER_BYTES: usize = 5;
/// The part of the nonce that TLS 1.2 sends along with AES-GCM (RFC 5288 section 3).
const EXPLICIT_NONCE_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Content per record (RFC 8446 section 5.1).
const CONTENT_BYTES_MAX: usize = 16 * 1024;
/// What the protection may add to it: 256 bytes in TLS 1.3, 2048 in TLS 1.2 (RFC 5246 section 6.2.3).
const EXPANSION_MAX_TLS13: usize = 256;
const EXPANSION_MAX_TLS12: usize = 2048;
/// The version in the header of every protected record; TLS 1.3 keeps that of 1.2.
const LEGACY_VERSION: [u8; 2] = [3, 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

impl Version {
    fn of(version: ProtocolVersion) -> Result<Self, rustls::Error> {
        match version {
            ProtocolVersion::TLSv1_3 => Ok(Self::Tls13),
            ProtocolVersion::TLSv1_2 => Ok(Self::Tls12),
            _ => Err(InvalidMessage::UnknownProtocolVersion.into()),
        }
    }
}

/// The peer broke the rules of the record protocol: what we say of it, and what the peer is told.
#[derive(Debug)]
pub(super) struct Breach {
    pub(super) error: rustls::Error,
    alert: AlertDescription,
}

impl Breach {
    fn new(error: impl Into<rustls::Error>, alert: AlertDescription) -> Self {
        Self { error: error.into(), alert }
    }

    fn unexpected(what: &'static str) -> Self {
        Self::new(InvalidMessage::UnexpectedMessage(what), AlertDescription::UnexpectedMessage)
    }
}

/// One direction's key. A sequence number is used once: it grows with every record, and a new key starts over.
struct RecordKey {
    key: LessSafeKey,
    iv: [u8; NONCE_BYTES],
    sequence: u64,
    version: Version,
    explicit_nonce: bool,
}

impl RecordKey {
    fn new(
        version: Version,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Result<Self, rustls::Error> {
        let (algorithm, key, iv, is_gcm) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return Err(rustls::Error::General("unknown kind of traffic secrets".to_owned())),
        };
        let unusable = |_| rustls::Error::General("traffic secrets of the wrong length".to_owned());
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(unusable)?;
        let iv = iv.as_ref().try_into().expect("rustls' initialization vectors have 12 bytes");
        let explicit_nonce = is_gcm && version == Version::Tls12;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence, version, explicit_nonce })
    }

    /// The initialization vector with the sequence number mixed in (RFC 8446 section 5.3, RFC 7905 section 2).
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        nonce
    }

    fn explicit_bytes(&self) -> usize {
        if self.explicit_nonce { EXPLICIT_NONCE_BYTES } else { 0 }
    }

    /// What TLS 1.2 authenticates beside the content (RFC 5246 section 6.2.3.3).
    fn associated_tls12(&self, kind: u8, content_len: usize) -> [u8; 13] {
        let mut associated = [0; 13];
        associated[..8].copy_from_slice(&self.sequence.to_be_bytes());
        associated[8] = kind;
        associated[9..11].copy_from_slice(&LEGACY_VERSION);
        associated[11..].copy_from_slice(&length(content_len));
        associated
    }

    /// False when the numbers are used up; no connection lives that long.
    fn advance(&mut self) -> bool {
        let next = self.sequence.checked_add(1);
        self.sequence = next.unwrap_or(self.sequence);
        next.is_some()
    }
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("a record's length is bounded below 2^16").to_be_bytes()
}

fn nonce(bytes: [u8; NONCE_BYTES]) -> Nonce {
    Nonce::assume_unique_for_key(bytes)
}
