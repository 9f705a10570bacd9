//! Sealing: plain bytes in, sealed bytes out, a few hundred KiB of memory whatever the size.

use std::io::Write;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use zeroize::Zeroizing;
use zstd::stream::write::Encoder;

use super::{CHUNK_BYTES, Envelope, MAGIC, associated, cipher, nonce};
use crate::key::MasterKey;

/// Fast: messages are ciphertext already, which no level compresses; what does compress are tables around them, and
/// below zero less time is spent on finding that out.
const ZSTD_LEVEL: i32 = -3;

/// Why nothing more can be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the object is longer than 2^32 chunks; split it")]
    TooLong,
    #[error("compression failed: {0}")]
    Compression(std::io::Error),
}

/// What was sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    pub envelope: Envelope,
    pub plain_bytes: u64,
    /// Of the object.
    pub bytes: u64,
}

/// Seals one object.
pub struct Sealer {
    encoder: Encoder<'static, Chunks>,
    envelope: Envelope,
    plain_bytes: u64,
}

impl Sealer {
    /// Begins the object of that name, which must be the one it is opened under.
    pub fn begin(master: &MasterKey, name: &str) -> Result<Self, SealError> {
        let mut data_key = Zeroizing::new([0; 32]);
        getrandom::fill(data_key.as_mut_slice()).expect("the operating system has randomness");
        let envelope = Envelope::wrap(master, name, &data_key);
        let encoder =
            Encoder::new(Chunks::new(&data_key, name), ZSTD_LEVEL).map_err(SealError::Compression)?;
        Ok(Self { encoder, envelope, plain_bytes: 0 })
    }

    /// Takes plain bytes; gives back the sealed bytes that are ready.
    pub fn push(&mut self, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.plain_bytes += plain.len() as u64;
        self.encoder.write_all(plain).map_err(explain)?;
        Ok(self.encoder.get_mut().take())
    }

    /// Seals what is left.
    pub fn finish(self) -> Result<(Vec<u8>, Sealed), SealError> {
        let mut chunks = self.encoder.finish().map_err(explain)?;
        chunks.seal(true).map_err(explain)?;
        let sealed = Sealed { envelope: self.envelope, plain_bytes: self.plain_bytes, bytes: chunks.bytes };
        Ok((chunks.ready, sealed))
    }
}

/// The writer below the compressor reports the one error it has through `io::Error`.
fn explain(error: std::io::Error) -> SealError {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        SealError::TooLong
    } else {
        SealError::Compression(error)
    }
}

/// Collects compressed bytes into chunks and seals each where it lies once a byte follows it.
struct Chunks {
    cipher: LessSafeKey,
    name: String,
    next: u32,
    /// What is sealed, and then the chunk that is open.
    ready: Vec<u8>,
    /// Where the open one begins.
    open: usize,
    bytes: u64,
}

impl Chunks {
    fn new(data_key: &[u8; 32], name: &str) -> Self {
        let mut chunks = Self {
            cipher: cipher(data_key),
            name: name.to_owned(),
            next: 0,
            ready: MAGIC.to_vec(),
            open: 0,
            bytes: 0,
        };
        chunks.close();
        chunks
    }

    /// What lies there belongs to the object as it is.
    fn close(&mut self) {
        self.bytes += (self.ready.len() - self.open) as u64;
        self.open = self.ready.len();
    }

    fn seal(&mut self, is_last: bool) -> std::io::Result<()> {
        let bound = Aad::from(associated(&self.name, self.next, is_last));
        let nonce = Nonce::assume_unique_for_key(nonce(self.next, is_last));
        let tag = self.cipher.seal_in_place_separate_tag(nonce, bound, &mut self.ready[self.open..]);
        self.ready.extend_from_slice(tag.expect("a chunk is not too long for GCM").as_ref());
        self.close();
        self.next = self.next.checked_add(1).ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(())
    }

    /// Takes what is sealed.
    fn take(&mut self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(self.ready.len() + CHUNK_BYTES);
        rest.extend_from_slice(&self.ready[self.open..]);
        self.ready.truncate(self.open);
        self.open = 0;
        std::mem::replace(&mut self.ready, rest)
    }
}

impl Write for Chunks {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.ready.len() - self.open == CHUNK_BYTES && !data.is_empty() {
            self.seal(false)?;
        }
        let taken = data.len().min(CHUNK_BYTES - (self.ready.len() - self.open));
        self.ready.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Seals bytes that are all here.
pub fn seal_all(master: &MasterKey, name: &str, plain: &[u8]) -> Result<(Vec<u8>, Sealed), SealError> {
    let mut sealer = Sealer::begin(master, name)?;
    let mut object = sealer.push(plain)?;
    let (rest, sealed) = sealer.finish()?;
    object.extend(rest);
    Ok((object, sealed))
}
