//! Public keys as authenticators write them (RFC 9052, RFC 9053): of the three kinds that registration asks for.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};

use super::cbor::Reader;

/// COSE's numbers of the algorithms, most wanted first.
pub const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];
const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

/// Kinds of keys, and curves.
const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;
const P256: i64 = 1;
const CURVE_25519: i64 = 6;

/// Length of a coordinate of either curve.
const COORDINATE_BYTES: usize = 32;
/// Lengths of an RSA modulus.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Longest RSA exponent.
const EXPONENT_BYTES_MAX: usize = 4;
/// Most entries of the map.
const ENTRIES_MAX: u64 = 8;

/// A key that is understood.
pub(super) enum Key<'a> {
    /// On a curve; the point is one of it.
    Curve(ParsedPublicKey),
    Rsa(RsaPublicKeyComponents<&'a [u8]>),
}

/// What the map says; labels that mean something else are passed over.
#[derive(Default)]
struct Labels<'a> {
    kind: i64,
    algorithm: i64,
    /// Of -1: a number for curves, bytes for RSA.
    curve: i64,
    first: &'a [u8],
    /// Of -2 and -3.
    second: &'a [u8],
    third: &'a [u8],
}

impl<'a> Key<'a> {
    /// The whole of it, or `None`.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let labels = Labels::read(&mut reader)?;
        if !reader.rest.is_empty() {
            return None;
        }
        let is_coordinate = |bytes: &[u8]| bytes.len() == COORDINATE_BYTES;
        match (labels.kind, labels.algorithm, labels.curve) {
            (EC2, ES256, P256) if is_coordinate(labels.second) && is_coordinate(labels.third) => {
                let point = [&[4][..], labels.second, labels.third].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok().map(Self::Curve)
            }
            (OKP, EDDSA, CURVE_25519) if is_coordinate(labels.second) => {
                ParsedPublicKey::new(&ED25519, labels.second).ok().map(Self::Curve)
            }
            (RSA, RS256, 0)
                if MODULUS_BYTES.contains(&labels.first.len())
                    && (1..=EXPONENT_BYTES_MAX).contains(&labels.second.len()) =>
            {
                Some(Self::Rsa(RsaPublicKeyComponents { n: labels.first, e: labels.second }))
            }
            _ => None,
        }
    }

    /// Whether it signed this.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Curve(key) => key.verify_sig(message, signature).is_ok(),
            Self::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok(),
        }
    }
}

impl<'a> Labels<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut labels = Self::default();
        let entries = reader.map().filter(|entries| *entries <= ENTRIES_MAX)?;
        let mut before = Vec::new();
        for _ in 0..entries {
            let label = reader.number()?;
            if before.contains(&label) {
                return None;
            }
            before.push(label);
            match label {
                1 => labels.kind = reader.number()?,
                3 => labels.algorithm = reader.number()?,
                -1 if labels.kind == RSA => labels.first = reader.bytes()?,
                -1 => labels.curve = reader.number()?,
                -2 => labels.second = reader.bytes()?,
                -3 => labels.third = reader.bytes()?,
                _ => reader.skip()?,
            }
        }
        Some(labels)
    }
}
