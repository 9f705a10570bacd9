//! Decides whether an access token speaks for a user and a device. Pure: the time is passed in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schema_wire::{DeviceId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::AccessError;
use super::keys::{Key, KeyRing};

/// Largest token, in bytes; longer ones are refused before anything is decoded.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// Tolerance for clocks that differ, in seconds, unless configured.
pub const LEEWAY_S_DEFAULT: u64 = 5;

/// Largest tolerance that may be configured, in seconds.
pub const LEEWAY_S_MAX: u64 = 30;

/// Longest `jti` kept, in bytes.
const TOKEN_ID_BYTES_MAX: usize = 128;

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`.
    pub user: UserId,
    /// `device`.
    pub device: DeviceId,
    /// `iat`, in Unix seconds.
    pub issued_unix_s: u64,
    /// `exp`, in Unix seconds; leeway not added.
    pub expires_unix_s: u64,
    /// `jti`.
    pub token_id: Option<String>,
}

impl From<Claims> for relay_proto::event::Claims {
    fn from(claims: Claims) -> Self {
        Self {
            user: claims.user,
            device: claims.device,
            issued_at: claims.issued_unix_s,
            expires_at: claims.expires_unix_s,
        }
    }
}

/// Verifies tokens with one set of keys; immutable, so that shards share it without a lock.
#[derive(Debug)]
pub struct Verifier {
    /// `iss` and the `aud` that belongs to it.
    issuers: Vec<(String, String)>,
    keys: KeyRing,
    leeway_s: u64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Verifier {
    /// # Panics
    /// When the leeway is over [`LEEWAY_S_MAX`]; the configuration checks it before.
    pub(super) fn new(issuers: Vec<(String, String)>, keys: KeyRing, leeway_s: u64) -> Self {
        assert!(leeway_s <= LEEWAY_S_MAX, "the configuration bounds the leeway");
        Self { issuers, keys, leeway_s }
    }

    /// The keys in use.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Verifies a token at a time.
    ///
    /// # Errors
    /// The first reason to refuse it; claims are looked at only when the signature is right.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, AccessError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AccessError::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(AccessError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(AccessError::Malformed)?;
        let key = self.key(&decode_json(header)?, now_unix_s)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| AccessError::BadSignature)?;
        if !key.check.accepts(signed.as_bytes(), &signature) {
            return Err(AccessError::BadSignature);
        }
        let claims: Map<String, Value> = decode_json(payload)?;
        let (issuer, audience) = &self.issuers[key.issuer];
        check_names(&claims, issuer, audience)?;
        self.check_times(&claims, now_unix_s)?;
        Ok(Claims {
            user: UserId(uuid(&claims, "sub")?),
            device: DeviceId(uuid(&claims, "device")?),
            issued_unix_s: time(&claims, "iat")?.ok_or(AccessError::MissingClaim("iat"))?,
            expires_unix_s: time(&claims, "exp")?.ok_or(AccessError::MissingClaim("exp"))?,
            token_id: token_id(&claims)?,
        })
    }

    /// The key that the header names, if it may verify a token that claims this algorithm now.
    fn key(&self, header: &Header, now_unix_s: u64) -> Result<&Key, AccessError> {
        if header.alg.eq_ignore_ascii_case("none") {
            return Err(AccessError::AlgorithmNone);
        }
        if header.crit.is_some() {
            return Err(AccessError::CriticalHeader);
        }
        let kid = header.kid.as_deref().ok_or(AccessError::MissingKeyId)?;
        let key = self.keys.get(kid).ok_or(AccessError::UnknownKey)?;
        if header.alg != key.check.algorithm() {
            return Err(AccessError::AlgorithmMismatch);
        }
        match key.until_unix_s {
            Some(until) if now_unix_s >= until => Err(AccessError::LegacyKeyEnded),
            _ => Ok(key),
        }
    }

    fn check_times(&self, claims: &Map<String, Value>, now_unix_s: u64) -> Result<(), AccessError> {
        let expires = time(claims, "exp")?.ok_or(AccessError::MissingClaim("exp"))?;
        let issued = time(claims, "iat")?.ok_or(AccessError::MissingClaim("iat"))?;
        let not_before = time(claims, "nbf")?.unwrap_or(0);
        if now_unix_s >= expires.saturating_add(self.leeway_s) {
            return Err(AccessError::Expired);
        }
        if issued.max(not_before) > now_unix_s.saturating_add(self.leeway_s) {
            return Err(AccessError::NotYetValid);
        }
        Ok(())
    }
}

fn decode_json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, AccessError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| AccessError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| AccessError::Malformed)
}

fn check_names(claims: &Map<String, Value>, issuer: &str, audience: &str) -> Result<(), AccessError> {
    match claims.get("iss") {
        None => return Err(AccessError::MissingClaim("iss")),
        Some(Value::String(name)) if name == issuer => {}
        Some(Value::String(_)) => return Err(AccessError::WrongIssuer),
        Some(_) => return Err(AccessError::MalformedClaim("iss")),
    }
    let is_ours = match claims.get("aud") {
        None => return Err(AccessError::MissingClaim("aud")),
        Some(Value::String(name)) => name == audience,
        Some(Value::Array(names)) => names.iter().any(|name| name.as_str() == Some(audience)),
        Some(_) => return Err(AccessError::MalformedClaim("aud")),
    };
    if is_ours { Ok(()) } else { Err(AccessError::WrongAudience) }
}

/// A `NumericDate` in whole seconds.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, AccessError> {
    let malformed = AccessError::MalformedClaim(name);
    claims.get(name).map(|value| value.as_u64().ok_or(malformed)).transpose()
}

/// An id in hyphenated form; the nil id is nobody.
fn uuid(claims: &Map<String, Value>, name: &'static str) -> Result<[u8; 16], AccessError> {
    let text = claims.get(name).ok_or(AccessError::MissingClaim(name))?.as_str();
    let hyphenated = text.filter(|text| text.len() == 36);
    let id = hyphenated.and_then(UserId::parse).filter(|id| id.0 != [0; 16]);
    id.map(|id| id.0).ok_or(AccessError::MalformedClaim(name))
}

fn token_id(claims: &Map<String, Value>) -> Result<Option<String>, AccessError> {
    match claims.get("jti") {
        None => Ok(None),
        Some(Value::String(id)) if id.len() <= TOKEN_ID_BYTES_MAX => Ok(Some(id.clone())),
        Some(_) => Err(AccessError::MalformedClaim("jti")),
    }
}
