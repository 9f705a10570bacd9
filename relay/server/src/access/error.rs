//! Why a token is refused, and why keys cannot be used.

use std::path::PathBuf;

use schema_wire::Refused;

/// Why an access token is refused. The client learns only the [`Refused`] it maps to; the name goes to
/// metrics and debug logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Over [`super::TOKEN_BYTES_MAX`], refused before anything is decoded.
    #[error("token too large")]
    TooLarge,
    /// Not three parts of base64url with JSON objects inside (RFC 7515 section 7.1).
    #[error("token malformed")]
    Malformed,
    /// The header says `alg: none` (RFC 7518 section 3.6).
    #[error("unsigned token")]
    AlgorithmNone,
    /// The header asks for an extension that has to be understood (RFC 7515 section 4.1.11).
    #[error("critical header extension not understood")]
    CriticalHeader,
    /// The header names no key.
    #[error("token names no key")]
    MissingKeyId,
    /// The header names a key that is not ours.
    #[error("unknown key")]
    UnknownKey,
    /// The header's algorithm is not the one bound to the key.
    #[error("algorithm does not belong to the key")]
    AlgorithmMismatch,
    /// The legacy key is past its end date.
    #[error("legacy key has ended")]
    LegacyKeyEnded,
    /// The signature does not verify.
    #[error("bad signature")]
    BadSignature,
    /// A required claim is absent.
    #[error("claim {0} is missing")]
    MissingClaim(&'static str),
    /// A claim has another type or form than RFC 7519 and `wire.md` say.
    #[error("claim {0} is malformed")]
    MalformedClaim(&'static str),
    /// The issuer is not the one the key belongs to.
    #[error("wrong issuer")]
    WrongIssuer,
    /// The token is meant for another audience.
    #[error("wrong audience")]
    WrongAudience,
    /// `exp` is past.
    #[error("token has expired")]
    Expired,
    /// `nbf` or `iat` is still to come.
    #[error("token is not valid yet")]
    NotYetValid,
}

impl AccessError {
    /// A stable word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::AlgorithmNone => "algorithm_none",
            Self::CriticalHeader => "critical_header",
            Self::MissingKeyId => "missing_key_id",
            Self::UnknownKey => "unknown_key",
            Self::AlgorithmMismatch => "algorithm_mismatch",
            Self::LegacyKeyEnded => "legacy_key_ended",
            Self::BadSignature => "bad_signature",
            Self::MissingClaim(_) => "missing_claim",
            Self::MalformedClaim(_) => "malformed_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }
}

impl From<AccessError> for Refused {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Expired => Self::TokenExpired,
            _ => Self::TokenInvalid,
        }
    }
}

/// Why keys cannot be loaded; start fails with it, a reload keeps the keys it has.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file holds something else than keys the relay can use.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong inside.
        source: KeyFault,
    },
    /// Two different keys have the same `kid`.
    #[error("two different keys share the kid {0:?}: give each key its own")]
    DuplicateKeyId(String),
    /// Modulus and exponent make no key.
    #[error("the key {0:?} is no RSA public key that can verify anything: export it again")]
    Unusable(String),
    /// Over [`super::KEYS_MAX`].
    #[error("more than {max} keys: remove those that no longer sign", max = super::KEYS_MAX)]
    TooMany,
    /// No issuer has a key.
    #[error("no key to verify access tokens: set JWT_PUBLIC_KEY_FILE or JWT_JWKS_FILE")]
    NoKeys,
}

/// What is wrong inside a key file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// A private key; the relay must not be able to sign.
    #[error("holds a private key; the relay takes public keys only: openssl rsa -in KEY -pubout")]
    Private,
    /// A shared secret in a JWKS.
    #[error("holds a symmetric key (kty \"oct\"); only RSA public keys belong into a JWKS")]
    Symmetric,
    /// No usable RSA public key inside.
    #[error("holds no RS256 public key (PEM \"PUBLIC KEY\" or JWKS with kty \"RSA\")")]
    Empty,
    /// Not PEM, DER or JSON of an RSA key.
    #[error("is malformed: {0}")]
    Malformed(&'static str),
    /// Modulus or exponent out of bounds.
    #[error("RSA modulus of {0} bits or exponent too small: use 2048 to 8192 bits and exponent 65537")]
    Weak(usize),
    /// Over the size limit.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
}
