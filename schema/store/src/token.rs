//! Secrets that are handed out once and stored only as their SHA-256 (refresh, reset, invite, verification).

use core::fmt;
use sha2::{Digest, Sha256};

/// SHA-256 of a secret. High-entropy secrets need no salt.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Of the secret as the client sent it.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A token about to be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewToken {
    pub hash: TokenHash,
    /// Unix milliseconds.
    pub expires_at: u64,
}

impl NewToken {
    /// A fresh secret of 256 bits in hex, and what to store of it.
    pub fn generate(expires_at: u64) -> (String, Self) {
        let mut random = [0u8; 32];
        getrandom::fill(&mut random).expect("the operating system has randomness");
        let secret: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let hash = TokenHash::of(&secret);
        (secret, Self { hash, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_do_not_show() {
        let (a, stored) = NewToken::generate(1);
        assert_ne!(a, NewToken::generate(1).0);
        assert_eq!(TokenHash::of(&a), stored.hash);
        assert!(!format!("{stored:?}").contains(&format!("{:02x}", stored.hash.0[0]).repeat(2)));
        assert_eq!(format!("{:?}", stored.hash), "TokenHash(..)");
    }
}
