//! Decides how outgoing bytes become records: copied once from their frames into the slab and sealed there.

use aws_lc_rs::aead::Aad;
use rustls::ConnectionTrafficSecrets;

use super::{
    APPLICATION, CONTENT_BYTES_MAX, HEADER_BYTES, LEGACY_VERSION, NONCE_BYTES, RecordKey, TAG_BYTES, Version,
    length, nonce,
};

/// The sending direction.
pub(super) struct Sealer {
    key: RecordKey,
    /// Records that one key may protect, and how many are left.
    records_max: u64,
    pub(super) records_left: u64,
}

/// No further record may be sealed under this key.
#[derive(Debug)]
pub(super) struct KeySpent;

impl Sealer {
    pub(super) fn new(
        version: Version,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
        records_max: u64,
    ) -> Result<Self, rustls::Error> {
        let key = RecordKey::new(version, sequence, secrets)?;
        Ok(Self { key, records_max, records_left: records_max.saturating_sub(sequence) })
    }

    /// How many records one key may protect.
    pub(super) fn records_max(&self) -> u64 {
        self.records_max
    }

    /// Seals application bytes, part after part, into as few records as they need.
    pub(super) fn seal(
        &mut self,
        parts: impl Iterator<Item = impl AsRef<[u8]>>,
        out: &mut Vec<u8>,
    ) -> Result<(), KeySpent> {
        let mut open: Option<usize> = None;
        for part in parts {
            let mut part = part.as_ref();
            while !part.is_empty() {
                let start = *open.get_or_insert_with(|| self.begin(out));
                let content = start + HEADER_BYTES + self.key.explicit_bytes();
                let room = content + CONTENT_BYTES_MAX - out.len();
                let (now, later) = part.split_at(part.len().min(room));
                out.extend_from_slice(now);
                part = later;
                if now.len() == room {
                    self.end(start, APPLICATION, out)?;
                    open = None;
                }
            }
        }
        open.map_or(Ok(()), |start| self.end(start, APPLICATION, out))
    }

    /// Seals one record of any kind.
    pub(super) fn seal_one(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), KeySpent> {
        assert!(content.len() <= CONTENT_BYTES_MAX, "a record holds no more");
        let start = self.begin(out);
        out.extend_from_slice(content);
        self.end(start, kind, out)
    }

    /// Leaves room for what precedes the content.
    fn begin(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.resize(start + HEADER_BYTES + self.key.explicit_bytes(), 0);
        start
    }

    /// Seals what was written since `begin`.
    fn end(&mut self, start: usize, kind: u8, out: &mut Vec<u8>) -> Result<(), KeySpent> {
        self.records_left = self.records_left.checked_sub(1).ok_or(KeySpent)?;
        let bytes = self.key.nonce();
        let content_start = start + HEADER_BYTES + self.key.explicit_bytes();
        let content_len = out.len() - content_start;
        let tag = match self.key.version {
            Version::Tls13 => {
                out.push(kind);
                let header = header(APPLICATION, content_len + 1 + TAG_BYTES);
                out[start..start + HEADER_BYTES].copy_from_slice(&header);
                self.protect(bytes, &header, &mut out[content_start..])
            }
            Version::Tls12 => {
                let associated = self.key.associated_tls12(kind, content_len);
                let header = header(kind, self.key.explicit_bytes() + content_len + TAG_BYTES);
                out[start..start + HEADER_BYTES].copy_from_slice(&header);
                if self.key.explicit_nonce {
                    out[start + HEADER_BYTES..content_start].copy_from_slice(&bytes[4..]);
                }
                self.protect(bytes, &associated, &mut out[content_start..])
            }
        };
        out.extend_from_slice(&tag);
        if self.key.advance() { Ok(()) } else { Err(KeySpent) }
    }

    fn protect(&self, bytes: [u8; NONCE_BYTES], associated: &[u8], content: &mut [u8]) -> [u8; TAG_BYTES] {
        let sealed = self.key.key.seal_in_place_separate_tag(nonce(bytes), Aad::from(associated), content);
        let tag = sealed.expect("sealing fails only for contents far beyond a record's size");
        tag.as_ref().try_into().expect("each of the three ciphers has a 16-byte tag")
    }
}

fn header(kind: u8, len: usize) -> [u8; HEADER_BYTES] {
    let ([major, minor], [high, low]) = (LEGACY_VERSION, length(len));
    [kind, major, minor, high, low]
}
