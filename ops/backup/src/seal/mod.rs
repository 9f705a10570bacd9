//! The sealed stream: zstd, then AES-256-GCM in chunks (STREAM). Every object has a random data key of its own, wrapped
//! by a master key; each chunk is bound to the object's name, its number and whether it is the last. No I/O here.
//!
//! ```text
//! object   = "SMSEAL" 00 01, then chunks of 64 KiB + 16 bytes of tag, the last one shorter or equal, never empty
//! nonce    = 7 zeros, chunk number (u32), 1 for the last chunk else 0: unique, since a data key seals one object
//! envelope = master key's id (8), nonce (12), data key sealed under the master key (32 + 16); kept in the manifest,
//!            so that changing the master key rewrites manifests only
//! ```

mod envelope;
mod open;
mod write;

pub use envelope::{ENVELOPE_BYTES, Envelope};
pub use open::{Opener, open_all};
pub use write::{SealError, Sealed, Sealer, seal_all};

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};

use crate::key::KeyId;

/// Plain bytes of a full chunk.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of a chunk's tag.
const TAG_BYTES: usize = 16;
/// First bytes of every object; the last one is the version.
const MAGIC: [u8; 8] = *b"SMSEAL\0\x01";

/// Why an object was refused. Nothing of a refused chunk is handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    #[error("sealed with key {0}, which is not among the given ones; add it to the key file")]
    UnknownKey(KeyId),
    #[error("its data key was altered or belongs to another object")]
    Envelope,
    #[error("not a sealed object of this version")]
    NotSealed,
    #[error("cut off, altered or belonging elsewhere at chunk {chunk}")]
    Chunk { chunk: u32 },
    #[error("authentic, but its compressed content is not whole; the program that wrote it is at fault")]
    Content,
}

/// What a chunk is bound to.
fn associated(name: &str, chunk: u32, is_last: bool) -> Vec<u8> {
    let mut bound = b"backup chunk v1".to_vec();
    bound.extend((name.len() as u64).to_be_bytes());
    bound.extend(name.as_bytes());
    bound.extend(chunk.to_be_bytes());
    bound.push(u8::from(is_last));
    bound
}

/// What seals and opens chunks.
fn cipher(data_key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, data_key).expect("32 bytes are an AES-256 key"))
}

fn nonce(chunk: u32, is_last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&chunk.to_be_bytes());
    nonce[11] = u8::from(is_last);
    nonce
}

#[cfg(test)]
mod tests {
    use aes_gcm::aead::{AeadInPlace, KeyInit};
    use aes_gcm::{Aes256Gcm, Nonce};

    use super::*;

    #[test]
    fn another_implementation_seals_alike() {
        for (chunk, is_last, bytes) in [(0, false, CHUNK_BYTES), (7, true, 1), (u32::MAX, true, 1_000)] {
            let (key, bound, nonce) = ([7; 32], associated("name", chunk, is_last), nonce(chunk, is_last));
            let (mut one, mut other) = (vec![9; bytes], vec![9; bytes]);
            let number = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
            let bound_too = aws_lc_rs::aead::Aad::from(bound.clone());
            let tag = cipher(&key).seal_in_place_separate_tag(number, bound_too, &mut one).unwrap();
            let rival = Aes256Gcm::new_from_slice(&key).unwrap();
            let second =
                rival.encrypt_in_place_detached(Nonce::from_slice(&nonce), &bound, &mut other).unwrap();
            assert!(one == other && tag.as_ref() == second.as_slice(), "chunk {chunk}");
        }
    }
}
