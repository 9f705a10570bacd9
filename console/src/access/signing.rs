//! The keys of one installation: which one signs, which ones verify, and what is published about them.

use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::rsa_key::{self, KeyFault, PublicKey};
use super::secret::Secret;
use super::token::{Tokens, VerifyKey};

/// Name of the generated private key inside the keys folder.
pub const GENERATED_KEY: &str = "signing.pem";
/// Name of the published keys inside the keys folder.
pub const PUBLISHED_KEYS: &str = "jwks.json";
/// Folder inside the keys folder with public keys (PEM) that signed before.
pub const RETIRED_KEYS: &str = "retired";

/// Where the key that signs comes from.
#[derive(Clone, Debug)]
pub enum SigningSource {
    /// A private key file the operator provides.
    File(PathBuf),
    /// `signing.pem` in this folder, made at the first start.
    Folder(PathBuf),
    /// The shared secret: the way back to HS256.
    Secret,
}

/// Everything needed to build the tokens.
#[derive(Clone, Debug)]
pub struct SigningConfig {
    pub source: SigningSource,
    /// While the secret signs: the key that signs before and after, whose public half verifies all along.
    pub resting: Option<SigningSource>,
    /// Public keys (PEM) that verify besides the signing one.
    pub verify_files: Vec<PathBuf>,
    /// HS256 secret: signs with `SigningSource::Secret`, verifies while it is set.
    pub secret: Option<Secret>,
    /// Name under which tokens refer to the secret.
    pub secret_kid: String,
    /// Unix seconds from which on tokens of the secret are refused; `None`: never.
    pub secret_until_s: Option<u64>,
    /// Where the public keys are written for the relay.
    pub published: Option<PathBuf>,
    pub issuer: String,
    pub audience: String,
    pub access_ttl_s: u64,
}

/// Public keys as RFC 7517 shows them.
#[derive(Serialize)]
struct KeySet<'a> {
    keys: Vec<Jwk<'a>>,
}

#[derive(Serialize)]
struct Jwk<'a> {
    kty: &'static str,
    r#use: &'static str,
    alg: &'static str,
    kid: &'a str,
    n: &'a str,
    e: &'a str,
}

/// Reads (or makes) the keys, publishes the public ones, and gives back tokens and the JWKS document.
pub fn load(config: &SigningConfig) -> Result<(Tokens, String), KeyFault> {
    let private = private_key(&config.source)?;
    let resting = config.resting.as_ref().map(private_key).transpose()?.flatten();
    let mut public: Vec<PublicKey> = private.iter().chain(&resting).map(|key| key.public.clone()).collect();
    for path in verify_files(config)? {
        let key = rsa_key::read_public(&path)?;
        if public.iter().all(|known| known.kid != key.kid) {
            public.push(key);
        }
    }
    let published = jwks(&public);
    if let Some(path) = &config.published {
        rsa_key::write_public(path, published.as_bytes())
            .map_err(|source| KeyFault::File { path: path.display().to_string(), source })?;
    }
    let (signing_kid, signing_algorithm, signing_key) = match &private {
        Some(key) => (key.public.kid.clone(), Algorithm::RS256, rsa_signing_key(&key.pem)?),
        None => {
            let secret = config.secret.as_ref().ok_or_else(no_secret)?;
            (config.secret_kid.clone(), Algorithm::HS256, EncodingKey::from_secret(secret.expose()))
        }
    };
    let tokens = Tokens {
        issuer: config.issuer.clone(),
        audience: config.audience.clone(),
        access_ttl_s: config.access_ttl_s,
        signing_kid,
        signing_algorithm,
        signing_key,
        verify: verify_keys(config, &public)?,
    };
    Ok((tokens, published))
}

fn private_key(source: &SigningSource) -> Result<Option<rsa_key::PrivateKey>, KeyFault> {
    match source {
        SigningSource::File(path) => rsa_key::read_private(path).map(Some),
        SigningSource::Folder(folder) => {
            let path = folder.join(GENERATED_KEY);
            rsa_key::ensure_private(&path)?;
            rsa_key::read_private(&path).map(Some)
        }
        SigningSource::Secret => Ok(None),
    }
}

fn no_secret() -> KeyFault {
    KeyFault::Unusable {
        path: "JWT_SECRET_FILE".into(),
        problem: "HS256 signing needs a secret of 32 bytes or more",
    }
}

fn rsa_signing_key(pem: &[u8]) -> Result<EncodingKey, KeyFault> {
    EncodingKey::from_rsa_pem(pem).map_err(|_| KeyFault::Unusable {
        path: "the signing key".into(),
        problem: "not an RSA private key in PEM",
    })
}

fn verify_keys(config: &SigningConfig, public: &[PublicKey]) -> Result<Vec<VerifyKey>, KeyFault> {
    let mut keys = Vec::with_capacity(public.len() + 1);
    for key in public {
        let decoding = DecodingKey::from_rsa_components(&key.n, &key.e)
            .map_err(|_| KeyFault::Unusable { path: key.kid.clone(), problem: "not an RSA public key" })?;
        keys.push(VerifyKey {
            kid: key.kid.clone(),
            algorithm: Algorithm::RS256,
            key: decoding,
            until_s: None,
        });
    }
    if let Some(secret) = &config.secret {
        let key = DecodingKey::from_secret(secret.expose());
        let (kid, until_s) = (config.secret_kid.clone(), config.secret_until_s);
        keys.push(VerifyKey { kid, algorithm: Algorithm::HS256, key, until_s });
    }
    Ok(keys)
}

/// The configured files, and in embedded mode what lies in the folder of retired keys.
fn verify_files(config: &SigningConfig) -> Result<Vec<PathBuf>, KeyFault> {
    let mut files = config.verify_files.clone();
    for source in std::iter::once(&config.source).chain(&config.resting) {
        let SigningSource::Folder(folder) = source else { continue };
        files.extend(pem_files(&folder.join(RETIRED_KEYS))?);
    }
    Ok(files)
}

fn pem_files(folder: &Path) -> Result<Vec<PathBuf>, KeyFault> {
    let fault = |source| KeyFault::File { path: folder.display().to_string(), source };
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn jwks(keys: &[PublicKey]) -> String {
    let keys = keys
        .iter()
        .map(|key| Jwk { kty: "RSA", r#use: "sig", alg: "RS256", kid: &key.kid, n: &key.n, e: &key.e })
        .collect();
    serde_json::to_string_pretty(&KeySet { keys }).expect("strings serialise")
}

/// A name for a secret that says nothing about it beyond being the same one: half of a hash with its own prefix.
pub fn secret_kid(secret: &Secret) -> String {
    let digest = Sha256::new_with_prefix(b"secure-messenger jwt secret kid\0")
        .chain_update(secret.expose())
        .finalize();
    format!("hs256-{}", digest[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
