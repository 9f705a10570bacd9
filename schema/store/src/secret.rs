//! Shared secrets, for relay, console and ops alike: those that anybody can guess are refused at start, the others are
//! never shown.

use std::fmt;

/// Shortest secret accepted, in bytes: the output size of HMAC-SHA-256 (RFC 7518 section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// Fewest different bytes in a secret; 32 random bytes in hex have about 14 of 16.
const DISTINCT_BYTES_MIN: usize = 8;

/// Words of sample secrets, without separators and in lower case; no random text contains them.
const SAMPLES: [&str; 16] = [
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
    "replaceme",
    "secretkey",
    "supersecret",
    "testsecret",
    "yoursecret",
    "yoursuper",
];

/// A secret that passed the checks. Its text form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// Why a secret is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Under [`SECRET_BYTES_MIN`].
    #[error("the secret is shorter than {SECRET_BYTES_MIN} bytes; generate one with: openssl rand -hex 32")]
    Short,
    /// A secret from documentation.
    #[error("the secret is a published sample; generate one with: openssl rand -hex 32")]
    Sample,
    /// Few different bytes, or one piece again and again.
    #[error("the secret repeats itself; generate one with: openssl rand -hex 32")]
    Repeated,
}

impl From<WeakSecret> for String {
    fn from(weak: WeakSecret) -> Self {
        weak.to_string()
    }
}

impl Secret {
    /// Takes the secret's text as it signs: its bytes, not decoded.
    ///
    /// # Errors
    /// The secret is short, known or repetitive.
    pub fn new(text: &str) -> Result<Self, WeakSecret> {
        let plain: String =
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if SAMPLES.iter().any(|sample| plain.contains(sample)) {
            return Err(WeakSecret::Sample);
        }
        let bytes = text.as_bytes();
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(WeakSecret::Short);
        }
        if distinct(bytes) < DISTINCT_BYTES_MIN || is_periodic(bytes) {
            return Err(WeakSecret::Repeated);
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
        f.write_str("Secret(…)")
    }
}

fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    bytes.iter().filter(|byte| !std::mem::replace(&mut seen[usize::from(**byte)], true)).count()
}

fn is_periodic(bytes: &[u8]) -> bool {
    (1..=bytes.len() / 2).any(|period| bytes[period..] == bytes[..bytes.len() - period])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453627";

    #[test]
    fn random_secrets_pass_and_stay_hidden() {
        let secret = Secret::new(GOOD).unwrap();
        assert_eq!(secret.expose(), GOOD.as_bytes());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        Secret::new("xK8/+Zq0vT3uPw7LmRb1yNc5HgJd9sEf==").unwrap();
    }

    #[test]
    fn samples_of_the_documentation_are_refused_with_the_remedy() {
        for sample in [
            "your-256-bit-secret-key",
            "your-256-bit-secret",
            "new-secret",
            "YOUR_SECRET_KEY",
            "YOUR_S3_SECRET",
            "your-super-secret-jwt-key-change-in-production-0123456789",
            "changeme-changeme-changeme-0123456",
        ] {
            let refused = Secret::new(sample).unwrap_err();
            assert_ne!(refused, WeakSecret::Repeated, "{sample}");
            assert!(refused.to_string().ends_with("openssl rand -hex 32"));
        }
        assert_eq!(Secret::new("your-256-bit-secret-key"), Err(WeakSecret::Sample));
        assert_eq!(Secret::new("new-secret"), Err(WeakSecret::Sample));
    }

    #[test]
    fn short_and_repetitive_secrets_are_refused() {
        assert_eq!(Secret::new(""), Err(WeakSecret::Short));
        assert_eq!(Secret::new(&GOOD[..31]), Err(WeakSecret::Short));
        Secret::new(&GOOD[..32]).unwrap();
        assert_eq!(Secret::new(&"a".repeat(64)), Err(WeakSecret::Repeated));
        assert_eq!(Secret::new(&"0123456789".repeat(4)), Err(WeakSecret::Repeated));
        assert_eq!(Secret::new(&"01234567".repeat(7)[..50]), Err(WeakSecret::Repeated));
        assert_eq!(Secret::new(&GOOD[..32].repeat(2)), Err(WeakSecret::Repeated));
    }
}
