//! Message franking: whether a disclosed text is the one its sender committed to. HMAC-SHA-256 (RFC 2104) under a key
//! that travels inside the ciphertext, so that only sender and readers could have made it.

use sha2::{Digest, Sha256};

const BLOCK: usize = 64;

/// What a sender commits to a text with.
pub fn commitment(opening: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(opening).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl mac -digest SHA256 -macopt hexkey:0b…0b HMAC`.
    #[test]
    fn it_is_the_standard_function() {
        let made: String = commitment(&[0x0b; 32], b"Hi There").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(made, "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7");
        assert_ne!(commitment(&[0x0c; 32], b"Hi There"), commitment(&[0x0b; 32], b"Hi There"));
    }
}
