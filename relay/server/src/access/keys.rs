//! The keys tokens are verified with, each bound to one issuer and one algorithm. Parsing only, no files.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use aws_lc_rs::{error::Unspecified, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

use super::Secret;
use super::error::{KeyError, KeyFault};

/// Most keys of all issuers together.
pub const KEYS_MAX: usize = 64;

/// Smallest and largest RSA modulus, in bits.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// An RSA public key with the name tokens call it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub kid: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// A key, what it may verify, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Index of the issuer.
    pub issuer: usize,
    pub check: Check,
    /// Unix seconds from which on a legacy key is refused.
    pub until_unix_s: Option<u64>,
}

/// The one algorithm of a key, ready for use: parsing an RSA key takes longer than verifying with it.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Rs256(Arc<ParsedPublicKey>),
    Hs256(Box<hmac::Key>),
}

impl Check {
    /// What `alg` of a token's header must say.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "RS256",
            Self::Hs256(_) => "HS256",
        }
    }

    /// Whether this key made the signature.
    pub fn accepts(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rs256(key) => key.verify_sig(signed, signature).is_ok(),
            Self::Hs256(key) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}

/// All keys by `kid`.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: HashMap<String, (Key, Identity)>,
}

/// What makes two keys the same, so that one key may come from two files.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    Public(usize, PublicKey),
    Legacy,
}

impl KeyRing {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid).map(|(key, _)| key)
    }

    pub(super) fn add_public(&mut self, issuer: usize, public: PublicKey) -> Result<(), KeyError> {
        let check = public.check().map_err(|Unspecified| KeyError::Unusable(public.kid.clone()))?;
        let key = Key { issuer, check, until_unix_s: None };
        self.add(public.kid.clone(), key, Identity::Public(issuer, public))
    }

    pub(super) fn add_legacy(
        &mut self,
        issuer: usize,
        kid: &str,
        secret: &Secret,
        until_unix_s: u64,
    ) -> Result<(), KeyError> {
        let check = Check::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.expose())));
        let key = Key { issuer, check, until_unix_s: Some(until_unix_s) };
        self.add(kid.into(), key, Identity::Legacy)
    }

    fn add(&mut self, kid: String, key: Key, identity: Identity) -> Result<(), KeyError> {
        match self.keys.get(&kid) {
            Some((_, known)) if *known == identity && identity != Identity::Legacy => return Ok(()),
            Some(_) => return Err(KeyError::DuplicateKeyId(kid)),
            None if self.keys.len() >= KEYS_MAX => return Err(KeyError::TooMany),
            None => {}
        }
        self.keys.insert(kid, (key, identity));
        Ok(())
    }
}

impl PublicKey {
    /// `kid` defaults to the key's RFC 7638 thumbprint.
    fn new(kid: Option<&str>, modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyFault> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        let is_large_exponent = (3..=4).contains(&exponent.len());
        if !MODULUS_BITS.contains(&bits) || !is_odd(modulus) || !is_odd(exponent) || !is_large_exponent {
            return Err(KeyFault::Weak(bits));
        }
        let kid = kid.map_or_else(|| thumbprint(modulus, exponent), str::to_owned);
        Ok(Self { kid, modulus: modulus.into(), exponent: exponent.into() })
    }

    fn check(&self) -> Result<Check, Unspecified> {
        let components = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        let der: PublicKeyX509Der<'_> = components.as_der()?;
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref()).map_err(|_| Unspecified)?;
        Ok(Check::Rs256(Arc::new(key)))
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

/// The SHA-256 thumbprint of an RSA key (RFC 7638).
fn thumbprint(modulus: &[u8], exponent: &[u8]) -> String {
    let (n, e) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent));
    let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes()))
}

/// All public keys of a PEM file. `kid` names the only one; several go by their thumbprints.
pub(super) fn from_pem(text: &str, kid: Option<&str>) -> Result<Vec<PublicKey>, KeyFault> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyFault::Private);
    }
    let starts: Vec<usize> = text.match_indices("-----BEGIN ").map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let kid = kid.filter(|_| starts.len() == 1);
    let blocks = starts.iter().zip(ends).map(|(start, end)| &text[*start..end]);
    let keys: Vec<_> = blocks.map(|block| from_pem_block(block, kid)).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyFault::Empty) } else { Ok(keys) }
}

fn from_pem_block(block: &str, kid: Option<&str>) -> Result<PublicKey, KeyFault> {
    let malformed = KeyFault::Malformed("not the PEM of an RSA public key");
    let key = DecodingKey::from_rsa_pem(block.as_bytes()).map_err(|_| malformed.clone())?;
    let (modulus, exponent) = rsa_public_key(key.as_bytes()).ok_or(malformed)?;
    PublicKey::new(kid, modulus, exponent)
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017 section A.1.1).
fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, rest) = der_element(0x30, der)?;
    let (modulus, numbers) = der_element(0x02, sequence)?;
    let (exponent, end) = der_element(0x02, numbers)?;
    (rest.is_empty() && end.is_empty()).then_some((modulus, exponent))
}

/// The content of the DER element that `bytes` begin with, and what follows it.
fn der_element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match head[1] {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    (head[0] == tag).then_some(())?;
    rest.split_at_checked(length)
}

#[derive(serde::Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// A key of a JWKS (RFC 7517); members of other kinds of keys are not looked at.
#[derive(serde::Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde_json::Value>,
}

/// The RS256 public keys of a JWKS; keys for other uses and algorithms are skipped.
pub(super) fn from_jwks(text: &str) -> Result<Vec<PublicKey>, KeyFault> {
    let jwks: Jwks = serde_json::from_str(text).map_err(|_| KeyFault::Malformed("not a JWKS"))?;
    if jwks.keys.iter().any(|key| key.kty == "oct") {
        return Err(KeyFault::Symmetric);
    }
    if jwks.keys.iter().any(|key| key.d.is_some()) {
        return Err(KeyFault::Private);
    }
    let ours = jwks.keys.iter().filter(|key| {
        key.kty == "RSA"
            && key.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && key.alg.as_deref().is_none_or(|alg| alg == "RS256")
    });
    let keys: Vec<_> = ours.map(from_jwk).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyFault::Empty) } else { Ok(keys) }
}

fn from_jwk(key: &Jwk) -> Result<PublicKey, KeyFault> {
    let decode = |member: &Option<String>| {
        let text = member.as_deref().ok_or(KeyFault::Malformed("RSA key without n or e"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::Malformed("n or e is not base64url"))
    };
    PublicKey::new(key.kid.as_deref(), &decode(&key.n)?, &decode(&key.e)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 7638 section 3.1.
    const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    fn jwks(members: &str) -> Result<Vec<PublicKey>, KeyFault> {
        from_jwks(&format!(r#"{{"keys":[{{"kty":"RSA","n":"{RFC_7638_N}","e":"AQAB"{members}}}]}}"#))
    }

    #[test]
    fn the_thumbprint_of_rfc_7638() {
        let keys = jwks("").unwrap();
        assert_eq!(keys[0].kid, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(jwks(r#","kid":"2011-04-29","use":"sig","alg":"RS256""#).unwrap()[0].kid, "2011-04-29");
    }

    #[test]
    fn keys_for_other_purposes_are_skipped() {
        assert_eq!(jwks(r#","use":"enc""#), Err(KeyFault::Empty));
        assert_eq!(jwks(r#","alg":"RS512""#), Err(KeyFault::Empty));
        assert_eq!(from_jwks(r#"{"keys":[{"kty":"EC","crv":"P-256"}]}"#), Err(KeyFault::Empty));
        assert_eq!(from_jwks(r#"{"keys":[]}"#), Err(KeyFault::Empty));
    }

    #[test]
    fn keys_that_could_sign_are_refused() {
        assert_eq!(jwks(r#","d":"AQAB""#), Err(KeyFault::Private));
        assert_eq!(from_jwks(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#), Err(KeyFault::Symmetric));
        let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(from_pem(pem, None), Err(KeyFault::Private));
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        let short = r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
        assert_eq!(from_jwks(short), Err(KeyFault::Weak(17)));
        let small = format!(r#"{{"keys":[{{"kty":"RSA","n":"{RFC_7638_N}","e":"Aw"}}]}}"#);
        assert_eq!(from_jwks(&small), Err(KeyFault::Weak(2_048)));
        for text in
            ["", "[]", "{}", r#"{"keys":[{"kty":"RSA"}]}"#, r#"{"keys":[{"kty":"RSA","n":"?","e":"AQAB"}]}"#]
        {
            assert!(matches!(from_jwks(text), Err(KeyFault::Malformed(_))), "{text}");
        }
        assert_eq!(from_pem("no pem", None), Err(KeyFault::Empty));
        let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        assert!(matches!(from_pem(pem, None), Err(KeyFault::Malformed(_))));
    }

    #[test]
    fn one_kid_means_one_key() {
        let key = jwks(r#","kid":"a""#).unwrap().remove(0);
        let mut ring = KeyRing::default();
        ring.add_public(0, key.clone()).unwrap();
        ring.add_public(0, key.clone()).unwrap();
        assert_eq!(ring.len(), 1);
        assert!(matches!(ring.add_public(1, key), Err(KeyError::DuplicateKeyId(_))));
        let secret = Secret::new("0d6f7c1be2a94835b6c0f1d2e3a49586").unwrap();
        assert!(matches!(ring.add_legacy(0, "a", &secret, 9), Err(KeyError::DuplicateKeyId(_))));
    }
}
