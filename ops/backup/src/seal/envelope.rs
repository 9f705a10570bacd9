//! The envelope: an object's data key, sealed under a master key. Rekeying rewraps it; the object stays as it is.

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use zeroize::Zeroizing;

use super::OpenError;
use crate::key::{KeyId, Keyring, MasterKey};

/// Its size.
pub const ENVELOPE_BYTES: usize = 8 + 12 + 32 + 16;

/// A wrapped data key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope(pub [u8; ENVELOPE_BYTES]);

impl Envelope {
    /// Wraps a data key for the object of that name.
    pub(super) fn wrap(master: &MasterKey, name: &str, data_key: &[u8; 32]) -> Self {
        let mut envelope = [0; ENVELOPE_BYTES];
        envelope[..8].copy_from_slice(&master.id().0);
        getrandom::fill(&mut envelope[8..20]).expect("the operating system has randomness");
        envelope[20..52].copy_from_slice(data_key);
        let (head, body) = envelope.split_at_mut(20);
        let (key, tag) = body.split_at_mut(32);
        let sealed = cipher(master).encrypt_in_place_detached(
            Nonce::from_slice(&head[8..]),
            &associated(master.id(), name),
            key,
        );
        tag.copy_from_slice(&sealed.expect("32 bytes are not too long for GCM"));
        Self(envelope)
    }

    /// The data key, if a key at hand opens it.
    pub(super) fn unwrap(&self, keys: &Keyring, name: &str) -> Result<Zeroizing<[u8; 32]>, OpenError> {
        let id = self.key();
        let master = keys.find(id).ok_or(OpenError::UnknownKey(id))?;
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&self.0[20..52]);
        let (nonce, tag) = (Nonce::from_slice(&self.0[8..20]), Tag::from_slice(&self.0[52..]));
        cipher(master)
            .decrypt_in_place_detached(nonce, &associated(id, name), key.as_mut_slice(), tag)
            .map_err(|_| OpenError::Envelope)?;
        Ok(key)
    }

    /// The same data key under the present master key.
    pub fn rewrap(&self, keys: &Keyring, name: &str) -> Result<Self, OpenError> {
        let data_key = self.unwrap(keys, name)?;
        Ok(Self::wrap(keys.current(), name, &data_key))
    }

    /// The master key that opens it.
    pub fn key(&self) -> KeyId {
        KeyId(self.0[..8].try_into().expect("an id has 8 bytes"))
    }
}

fn cipher(master: &MasterKey) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(master.wrapping().as_slice()).expect("32 bytes are an AES-256 key")
}

fn associated(id: KeyId, name: &str) -> Vec<u8> {
    [b"backup envelope v1".as_slice(), &id.0, name.as_bytes()].concat()
}
