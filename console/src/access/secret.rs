//! Shared secrets: refused when short, known from documentation, or repetitive; never shown.

use std::fmt;

/// Shortest secret, in bytes: the output size of HMAC-SHA-256 (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Fewest different bytes; 32 random bytes in hex have about 14 of 16.
const DISTINCT_BYTES_MIN: usize = 8;
/// Words of sample secrets, without separators and in lower case.
const SAMPLES: [&str; 12] = [
    "256bitsecret",
    "changeme",
    "changethis",
    "changein",
    "example",
    "jwtsecret",
    "newsecret",
    "oldsecret",
    "password",
    "placeholder",
    "secretkey",
    "yoursecret",
];

/// A secret that passed the checks.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the text as it signs: its bytes, not decoded.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let plain: String =
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if SAMPLES.iter().any(|sample| plain.contains(sample)) {
            return Err("is a published sample; make one with: openssl rand -hex 32");
        }
        let bytes = text.as_bytes();
        if bytes.len() < SECRET_BYTES_MIN {
            return Err("has fewer than 32 bytes; make one with: openssl rand -hex 32");
        }
        let distinct = bytes.iter().collect::<std::collections::BTreeSet<_>>().len();
        let repeats = (1..=bytes.len() / 2).any(|period| bytes[period..] == bytes[..bytes.len() - period]);
        if distinct < DISTINCT_BYTES_MIN || repeats {
            return Err("repeats itself; make one with: openssl rand -hex 32");
        }
        Ok(Self(bytes.into()))
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_short_and_repeating_secrets_are_refused() {
        for bad in [
            "your-256-bit-secret-key",
            "short",
            "your-256-bit-secret-key-and-some-more-characters",
            "abcabcabcabcabcabcabcabcabcabcabcabcabcabc",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(Secret::new(bad).is_err(), "{bad}");
        }
        let good = Secret::new("0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f").unwrap();
        assert_eq!(format!("{good:?}"), "Secret(..)");
    }
}
