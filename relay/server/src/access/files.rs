//! Where keys come from: files that are read again when asked, so that keys rotate without a restart.
//! Reads disks, so it runs beside the shards, never on one.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{KeyError, KeyFault};
use super::keys::{self, KeyRing, PublicKey};
use super::{LEEWAY_S_DEFAULT, Secret, Verifier};

/// Largest key file, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1_024;

/// Whose tokens are accepted.
#[derive(Clone, Debug)]
pub struct AccessConfig {
    /// Everyone who may sign.
    pub issuers: Vec<IssuerConfig>,
    /// Tolerance for clocks that differ, in seconds; at most [`super::LEEWAY_S_MAX`].
    pub leeway_s: u64,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { issuers: Vec::new(), leeway_s: LEEWAY_S_DEFAULT }
    }
}

/// One issuer and its keys.
#[derive(Clone, Debug, Default)]
pub struct IssuerConfig {
    /// `iss` of its tokens.
    pub issuer: String,
    /// What `aud` has to name.
    pub audience: String,
    /// PEM with one or more RSA public keys.
    pub public_key_file: Option<PathBuf>,
    /// `kid` of the key in `public_key_file`; its RFC 7638 thumbprint when absent.
    pub public_key_kid: Option<String>,
    /// JWKS (RFC 7517) with RSA public keys.
    pub jwks_file: Option<PathBuf>,
    /// HS256 keys on their way out.
    pub legacy: Vec<LegacyKey>,
}

/// An HS256 key that is accepted until a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyKey {
    /// `kid` of its tokens.
    pub kid: String,
    /// The shared secret.
    pub secret: Secret,
    /// Unix seconds from which on it is refused.
    pub until_unix_s: u64,
}

/// Watches the key files of all issuers.
#[derive(Debug)]
pub struct KeyFiles {
    config: AccessConfig,
    /// What the files held when they were last looked at.
    contents: Vec<Vec<u8>>,
}

impl KeyFiles {
    /// Reads all files for the first time.
    ///
    /// # Errors
    /// A file cannot be read or used, or there is no key at all.
    pub fn open(config: AccessConfig) -> Result<(Self, Arc<Verifier>), KeyError> {
        let contents = read_all(&config)?;
        let verifier = build(&config, &contents)?;
        Ok((Self { config, contents }, verifier))
    }

    /// Reads the files again; `Some` when they changed. Call every few seconds.
    ///
    /// # Errors
    /// The change cannot be used: the caller keeps the verifier it has and reports this. It is reported
    /// once per change of a file's content, and at each call while a file cannot be read.
    pub fn poll(&mut self) -> Result<Option<Arc<Verifier>>, KeyError> {
        let contents = read_all(&self.config)?;
        if contents == self.contents {
            return Ok(None);
        }
        self.contents = contents;
        build(&self.config, &self.contents).map(Some)
    }
}

fn paths(issuer: &IssuerConfig) -> impl Iterator<Item = &PathBuf> {
    issuer.public_key_file.iter().chain(&issuer.jwks_file)
}

fn read_all(config: &AccessConfig) -> Result<Vec<Vec<u8>>, KeyError> {
    config.issuers.iter().flat_map(paths).map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    let fail = |source| KeyError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let source = KeyFault::TooLarge(FILE_BYTES_MAX);
        return Err(KeyError::File { path: path.into(), source });
    }
    Ok(bytes)
}

fn build(config: &AccessConfig, contents: &[Vec<u8>]) -> Result<Arc<Verifier>, KeyError> {
    let mut ring = KeyRing::default();
    let mut contents = contents.iter();
    for (index, issuer) in config.issuers.iter().enumerate() {
        for path in paths(issuer) {
            let bytes = contents.next().expect("one content per path");
            for key in parse(issuer, path, bytes)? {
                ring.add_public(index, key)?;
            }
        }
        for legacy in &issuer.legacy {
            ring.add_legacy(index, &legacy.kid, &legacy.secret, legacy.until_unix_s)?;
        }
    }
    if ring.is_empty() {
        return Err(KeyError::NoKeys);
    }
    let named = config.issuers.iter().map(|issuer| (issuer.issuer.clone(), issuer.audience.clone()));
    Ok(Arc::new(Verifier::new(named.collect(), ring, config.leeway_s)))
}

fn parse(issuer: &IssuerConfig, path: &PathBuf, bytes: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
    let parsed = match std::str::from_utf8(bytes) {
        Err(_) => Err(KeyFault::Malformed("not text")),
        Ok(text) if issuer.jwks_file.as_ref() == Some(path) => keys::from_jwks(text),
        Ok(text) => keys::from_pem(text, issuer.public_key_kid.as_deref()),
    };
    parsed.map_err(|source| KeyError::File { path: path.clone(), source })
}
