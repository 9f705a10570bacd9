//! Opening: sealed bytes in, plain bytes out, each chunk only after its tag was checked. Memory stays bounded also
//! when the content unfolds to much more.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{CHUNK_BYTES, Envelope, MAGIC, OpenError, TAG_BYTES, associated, cipher, nonce};
use crate::key::Keyring;

/// A chunk and its tag.
const SEALED_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Largest window an object may ask for: 16 MiB.
const WINDOW_LOG_MAX: u32 = 24;
/// Plain bytes handed out at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Opens one object.
pub struct Opener {
    cipher: LessSafeKey,
    name: String,
    next: u32,
    begun: bool,
    /// The beginning of a chunk.
    held: Vec<u8>,
    /// A chunk's compressed bytes.
    opened: Vec<u8>,
    decoder: Decoder<'static>,
    piece: Vec<u8>,
    is_whole: bool,
}

impl Opener {
    /// Begins the object of that name.
    pub fn begin(keys: &Keyring, name: &str, envelope: &Envelope) -> Result<Self, OpenError> {
        let data_key = envelope.unwrap(keys, name)?;
        let mut decoder = Decoder::new().map_err(|_| OpenError::Content)?;
        let bounded = decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX));
        bounded.map_err(|_| OpenError::Content)?;
        Ok(Self {
            cipher: cipher(&data_key),
            name: name.to_owned(),
            next: 0,
            begun: false,
            held: Vec::new(),
            opened: vec![0; CHUNK_BYTES],
            decoder,
            piece: vec![0; PIECE_BYTES],
            is_whole: false,
        })
    }

    /// Takes sealed bytes; hands authentic plain bytes to `sink`, in pieces.
    pub fn push(&mut self, mut sealed: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<(), OpenError> {
        while !sealed.is_empty() {
            // One byte more than a chunk shows that the chunk is not the last.
            if self.begun && self.held.is_empty() && sealed.len() > SEALED_BYTES {
                let (chunk, after) = sealed.split_at(SEALED_BYTES);
                self.open(chunk, false, sink)?;
                sealed = after;
                continue;
            }
            let wanted = if self.begun { SEALED_BYTES + 1 } else { MAGIC.len() };
            let taken = sealed.len().min(wanted - self.held.len());
            self.held.extend_from_slice(&sealed[..taken]);
            sealed = &sealed[taken..];
            if self.held.len() < wanted {
                continue;
            }
            if !self.begun {
                self.begin_chunks()?;
                continue;
            }
            let mut chunk = std::mem::take(&mut self.held);
            self.open(&chunk[..SEALED_BYTES], false, sink)?;
            chunk.drain(..SEALED_BYTES);
            self.held = chunk;
        }
        Ok(())
    }

    /// Opens the last chunk. Only now is the object known to be whole.
    pub fn finish(mut self, sink: &mut impl FnMut(&[u8])) -> Result<(), OpenError> {
        if !self.begun {
            return Err(OpenError::NotSealed);
        }
        let chunk = std::mem::take(&mut self.held);
        self.open(&chunk, true, sink)?;
        if self.is_whole { Ok(()) } else { Err(OpenError::Content) }
    }

    fn begin_chunks(&mut self) -> Result<(), OpenError> {
        if self.held != MAGIC {
            return Err(OpenError::NotSealed);
        }
        self.held.clear();
        self.begun = true;
        Ok(())
    }

    fn open(&mut self, chunk: &[u8], is_last: bool, sink: &mut impl FnMut(&[u8])) -> Result<(), OpenError> {
        let refused = OpenError::Chunk { chunk: self.next };
        let end = chunk.len().checked_sub(TAG_BYTES).filter(|end| *end > 0).ok_or(refused)?;
        let (sealed, tag) = chunk.split_at(end);
        let nonce = Nonce::assume_unique_for_key(nonce(self.next, is_last));
        let bound = Aad::from(associated(&self.name, self.next, is_last));
        let mut opened = std::mem::take(&mut self.opened);
        let plain = &mut opened[..end];
        let is_authentic = self.cipher.open_separate_gather(nonce, bound, sealed, tag, plain).is_ok();
        let outcome = match self.next.checked_add(1) {
            Some(next) if is_authentic => {
                self.next = next;
                self.unfold(plain, sink)
            }
            _ => Err(refused),
        };
        self.opened = opened;
        outcome
    }

    fn unfold(&mut self, compressed: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<(), OpenError> {
        let mut input = InBuffer::around(compressed);
        loop {
            if self.is_whole {
                // Nothing may follow the frame.
                return if input.pos() == compressed.len() { Ok(()) } else { Err(OpenError::Content) };
            }
            let mut output = OutBuffer::around(self.piece.as_mut_slice());
            let left = self.decoder.run(&mut input, &mut output).map_err(|_| OpenError::Content)?;
            self.is_whole = left == 0;
            let (filled, room) = (output.pos(), output.capacity());
            sink(&self.piece[..filled]);
            // A full piece may have left something behind in the decoder.
            if input.pos() == compressed.len() && filled < room {
                return Ok(());
            }
        }
    }
}

/// Opens an object that is all here; nothing is handed out unless all of it is authentic.
pub fn open_all(
    keys: &Keyring,
    name: &str,
    envelope: &Envelope,
    object: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let mut plain = Vec::new();
    let mut sink = |piece: &[u8]| plain.extend_from_slice(piece);
    let mut opener = Opener::begin(keys, name, envelope)?;
    opener.push(object, &mut sink)?;
    opener.finish(&mut sink)?;
    Ok(plain)
}
