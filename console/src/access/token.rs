//! Access tokens: what they say, how they are signed, and when they are believed. The key decides the algorithm.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use schema_wire::{DeviceId, UserId};
use serde::{Deserialize, Serialize};

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;
/// How far the clocks of two processes may differ, in seconds.
const LEEWAY_S: u64 = 5;

/// What an access token says (RFC 7519).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// The user's id.
    pub sub: String,
    /// The device's id.
    pub device: String,
    /// Unix seconds.
    pub exp: u64,
    pub nbf: u64,
    pub iat: u64,
    pub jti: String,
}

/// Whom a believed token speaks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bearer {
    pub user: UserId,
    pub device: DeviceId,
    /// Unix seconds.
    pub issued_at: u64,
}

/// Why a token is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenFault {
    Invalid,
    Expired,
}

/// A key that verifies, under one name, with one algorithm.
pub struct VerifyKey {
    pub kid: String,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
    /// Unix seconds from which on it verifies nothing; `None`: never.
    pub until_s: Option<u64>,
}

/// Signs with one key, verifies with several.
pub struct Tokens {
    pub issuer: String,
    pub audience: String,
    /// Seconds an access token lives.
    pub access_ttl_s: u64,
    pub signing_kid: String,
    pub signing_algorithm: Algorithm,
    pub signing_key: EncodingKey,
    pub verify: Vec<VerifyKey>,
}

impl Tokens {
    /// A fresh access token.
    pub fn issue(
        &self,
        user: UserId,
        device: DeviceId,
        now_s: u64,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user.to_string(),
            device: device.to_string(),
            exp: now_s + self.access_ttl_s,
            nbf: now_s,
            iat: now_s,
            jti: random_id(),
        };
        let mut header = Header::new(self.signing_algorithm);
        header.kid = Some(self.signing_kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing_key)
    }

    /// Whom the token speaks for at this time. The header only names the key; the key brings its algorithm.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Bearer, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Invalid)?;
        let kid = header.kid.as_deref().ok_or(TokenFault::Invalid)?;
        let key = self.verify.iter().find(|key| key.kid == kid).ok_or(TokenFault::Invalid)?;
        if header.alg != key.algorithm || key.until_s.is_some_and(|until_s| now_s >= until_s) {
            return Err(TokenFault::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &self.validation(key.algorithm))
            .map_err(|_| TokenFault::Invalid)?
            .claims;
        if claims.nbf.max(claims.iat) > now_s + LEEWAY_S {
            return Err(TokenFault::Invalid);
        }
        if claims.exp <= now_s {
            return Err(TokenFault::Expired);
        }
        let user = UserId::parse(&claims.sub).ok_or(TokenFault::Invalid)?;
        let device = DeviceId::parse(&claims.device).ok_or(TokenFault::Invalid)?;
        Ok(Bearer { user, device, issued_at: claims.iat })
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        // Times are checked against the API's own clock above.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

fn random_id() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}
