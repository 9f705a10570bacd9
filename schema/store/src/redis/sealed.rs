//! What is cached is sealed with a key that only the store has, and bound to its name: whoever reads Redis learns nothing
//! of it, and whoever writes there can neither forge an entry nor put one in another's place.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use sha2::{Digest, Sha256};

/// Bytes of the key.
pub const SEAL_BYTES: usize = 32;

/// The key, ready for use.
pub(crate) struct Seal {
    key: RandomizedNonceKey,
    owner: String,
}

impl Seal {
    pub(crate) fn new(secret: &[u8; SEAL_BYTES]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, secret).expect("the key has the cipher's length");
        let digest = Sha256::new().chain_update(b"owner of this redis").chain_update(secret).finalize();
        Self { key, owner: digest[..16].iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// Names the installation, and nothing of its key.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Nonce, ciphertext, tag.
    pub(crate) fn close(&self, name: &str, mut plain: Vec<u8>) -> Vec<u8> {
        let nonce = self.key.seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut plain);
        let nonce = nonce.expect("an entry is far below the cipher's limit");
        [nonce.as_ref(), &plain[..]].concat()
    }

    /// `None`: not of this key, not of this name, or not whole.
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let mut rest = rest.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut rest).ok()?.len();
        rest.truncate(plain);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_opens_with_its_key_under_its_name_only() {
        let (ours, theirs) = (Seal::new(&[1; 32]), Seal::new(&[2; 32]));
        let sealed = ours.close("a", b"hello".to_vec());
        assert_eq!(ours.open("a", &sealed).as_deref(), Some(&b"hello"[..]));
        assert_eq!(ours.open("b", &sealed), None);
        assert_eq!(theirs.open("a", &sealed), None);
        for n in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[n] ^= 1;
            assert_eq!(ours.open("a", &bent), None);
            assert_eq!(ours.open("a", &sealed[..n]), None);
        }
        assert!(!sealed.windows(5).any(|window| window == b"hello") && ours.owner() != theirs.owner());
    }
}
