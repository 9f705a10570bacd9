//! Decides how arriving records are taken apart: bounded before they are buffered, opened in place, and refused
//! for anything that an established session does not send.

use aws_lc_rs::aead::Aad;
use rustls::{AlertDescription, ConnectionTrafficSecrets, Error, InvalidMessage};

use super::{
    ALERT, APPLICATION, Breach, CONTENT_BYTES_MAX, EXPANSION_MAX_TLS12, EXPANSION_MAX_TLS13, HANDSHAKE,
    HEADER_BYTES, NONCE_BYTES, RecordKey, TAG_BYTES, Version, nonce,
};

/// The receiving direction.
pub(super) struct Opener {
    key: RecordKey,
}

/// A record's content and what it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened<'a> {
    Application(&'a [u8]),
    Alert(&'a [u8]),
    Handshake(&'a [u8]),
}

impl Opener {
    pub(super) fn new(
        version: Version,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Result<Self, Error> {
        Ok(Self { key: RecordKey::new(version, sequence, secrets)? })
    }

    /// How long the first record of `incoming` is, once its header is there.
    pub(super) fn record_len(&self, incoming: &[u8]) -> Result<Option<usize>, Breach> {
        let Some((header, _)) = incoming.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [kind, _, _, high, low] = *header;
        let known = match self.key.version {
            Version::Tls13 => kind == APPLICATION,
            Version::Tls12 => matches!(kind, ALERT | HANDSHAKE | APPLICATION),
        };
        if !known {
            return Err(Breach::unexpected("record of a kind that does not follow a handshake"));
        }
        let expansion_max = match self.key.version {
            Version::Tls13 => EXPANSION_MAX_TLS13,
            Version::Tls12 => EXPANSION_MAX_TLS12,
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > CONTENT_BYTES_MAX + expansion_max {
            return Err(Breach::new(Error::PeerSentOversizedRecord, AlertDescription::RecordOverflow));
        }
        Ok(Some(HEADER_BYTES + len))
    }

    /// Opens one whole record.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<Opened<'a>, Breach> {
        let (kind, content) = match self.key.version {
            Version::Tls13 => self.open_tls13(record)?,
            Version::Tls12 => self.open_tls12(record)?,
        };
        if content.len() > CONTENT_BYTES_MAX {
            return Err(Breach::new(Error::PeerSentOversizedRecord, AlertDescription::RecordOverflow));
        }
        match kind {
            APPLICATION => Ok(Opened::Application(content)),
            ALERT => Ok(Opened::Alert(content)),
            HANDSHAKE => Ok(Opened::Handshake(content)),
            _ => Err(Breach::unexpected("content of an unknown type")),
        }
    }

    /// The content's type follows it, then zeros (RFC 8446 section 5.2).
    fn open_tls13<'a>(&mut self, record: &'a mut [u8]) -> Result<(u8, &'a [u8]), Breach> {
        let (header, payload) = record.split_at_mut(HEADER_BYTES);
        let nonce = self.key.nonce();
        let inner = self.unprotect(nonce, header, payload)?;
        let Some(last) = inner.iter().rposition(|byte| *byte != 0) else {
            return Err(Breach::unexpected("record without content type"));
        };
        Ok((inner[last], &inner[..last]))
    }

    fn open_tls12<'a>(&mut self, record: &'a mut [u8]) -> Result<(u8, &'a [u8]), Breach> {
        let (header, payload) = record.split_at_mut(HEADER_BYTES);
        let kind = header[0];
        let explicit_bytes = self.key.explicit_bytes();
        let Some(content_len) = payload.len().checked_sub(explicit_bytes + TAG_BYTES) else {
            return Err(undecryptable());
        };
        let (explicit, sealed) = payload.split_at_mut(explicit_bytes);
        let mut nonce = self.key.nonce();
        if self.key.explicit_nonce {
            nonce = self.key.iv;
            nonce[4..].copy_from_slice(explicit);
        }
        let associated = self.key.associated_tls12(kind, content_len);
        Ok((kind, self.unprotect(nonce, &associated, sealed)?))
    }

    fn unprotect<'a>(
        &mut self,
        bytes: [u8; NONCE_BYTES],
        associated: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], Breach> {
        let opened = self.key.key.open_in_place(nonce(bytes), Aad::from(associated), sealed);
        let content = opened.map_err(|_| undecryptable())?;
        if self.key.advance() { Ok(content) } else { Err(undecryptable()) }
    }
}

/// An alert says what it is in two bytes; neither says more about a record than that it is not the peer's.
fn undecryptable() -> Breach {
    Breach::new(Error::DecryptError, AlertDescription::BadRecordMac)
}

/// Level and description of an alert.
pub(super) fn read_alert(content: &[u8]) -> Result<AlertDescription, Breach> {
    match content {
        [_level, description] => Ok(AlertDescription::from(*description)),
        _ => Err(Breach::new(InvalidMessage::MessageTooShort, AlertDescription::DecodeError)),
    }
}
