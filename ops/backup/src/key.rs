//! Master keys: which text is one, which is refused, and what is derived from them. A key's id comes from the key
//! itself, so that a wrong key is told apart from altered data.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::hex;

/// Bytes of a master key.
pub const KEY_BYTES: usize = 32;
/// Longest key file read.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// Fewer different bytes than this among 32 do not come from a random source.
const DIFFERENT_BYTES_MIN: usize = 16;

/// Names a master key without telling it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why there is no key to work with. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no backup key: set BACKUP_KEY_FILE to a file made with `openssl rand -hex 32`, mode 0600")]
    Missing,
    #[error("{path}: the backup key cannot be read: {why}")]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("{path}: every account of this machine may read the backup key; fix: chmod 600")]
    Exposed { path: PathBuf },
    #[error("{at}: not 32 bytes in hexadecimal or base64; make one with `openssl rand -hex 32`")]
    Malformed { at: String },
    #[error("{at}: a sample or pattern, not a random key; make one with `openssl rand -hex 32`")]
    Guessable { at: String },
}

/// One master key.
#[derive(Clone)]
pub struct MasterKey {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

impl MasterKey {
    /// Reads one from text. `at` says in errors where the text was.
    pub fn parse(text: &str, at: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = match hex::decode::<KEY_BYTES>(text) {
            Some(bytes) => Zeroizing::new(bytes),
            None => from_base64(text).ok_or_else(|| KeyError::Malformed { at: at.to_owned() })?,
        };
        if is_guessable(&bytes) {
            return Err(KeyError::Guessable { at: at.to_owned() });
        }
        Ok(Self::new(bytes))
    }

    /// A fresh random one.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).expect("the operating system has randomness");
        Self::new(bytes)
    }

    fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let name = mac(bytes.as_slice(), &[b"backup key id v1"]);
        let id = KeyId(name[..8].try_into().expect("a hash has more than 8 bytes"));
        Self { id, bytes }
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What [`Self::parse`] reads; to be written to a file of its owner.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.bytes.as_slice()))
    }

    /// The key that wraps data keys.
    pub(crate) fn wrapping(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(mac(self.bytes.as_slice(), &[b"backup data keys v1"]))
    }

    /// Authenticates a document. `purpose` keeps kinds of documents apart.
    pub(crate) fn sign(&self, purpose: &[u8], document: &[u8]) -> [u8; 32] {
        let key = Zeroizing::new(mac(self.bytes.as_slice(), &[b"backup documents v1"]));
        mac(key.as_slice(), &[purpose, &[0], document])
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn from_base64(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

/// Few different bytes, equal steps, or readable text.
fn is_guessable(bytes: &[u8; KEY_BYTES]) -> bool {
    let mut seen = [false; 256];
    bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let different = seen.iter().filter(|seen| **seen).count();
    let step = bytes[1].wrapping_sub(bytes[0]);
    let is_even = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    different < DIFFERENT_BYTES_MIN || is_even || bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// The keys at hand: one seals, all open.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<MasterKey>,
}

impl Keyring {
    /// One key for everything.
    pub fn of(key: MasterKey) -> Self {
        Self { keys: vec![key] }
    }

    /// One key per line: the first seals, the others only open. Empty lines and lines beginning with `#` say nothing.
    pub fn parse(text: &str, at: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<MasterKey> =
            lines.map(|line| MasterKey::parse(line, at)).collect::<Result<_, KeyError>>()?;
        if keys.is_empty() { Err(KeyError::Malformed { at: at.to_owned() }) } else { Ok(Self { keys }) }
    }

    /// The same from a file that not everybody may read.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |why| KeyError::Unreadable { path: path.to_owned(), why };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned() });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The key that seals.
    pub fn current(&self) -> &MasterKey {
        &self.keys[0]
    }

    /// The key of that name, if it is here.
    pub fn find(&self, id: KeyId) -> Option<&MasterKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";

    #[test]
    fn hexadecimal_and_base64_are_the_same_key() {
        let from_hex = MasterKey::parse(GOOD, "x").unwrap();
        let base64 = BASE64_STANDARD.encode(hex::decode::<32>(GOOD).unwrap());
        let from_base64 = MasterKey::parse(&format!(" {base64}\n"), "x").unwrap();
        assert_eq!(from_hex.id(), from_base64.id());
        assert_eq!(from_hex.to_text().as_str(), GOOD);
        assert_ne!(from_hex.id(), MasterKey::generate().id());
    }

    #[test]
    fn short_and_guessable_keys_are_refused() {
        let (zeros, steps) = ("00".repeat(32), hex::encode(&std::array::from_fn::<u8, 32, _>(|n| n as u8)));
        let pattern = "0123456789abcdef".repeat(4);
        let text = BASE64_STANDARD.encode(b"change-me-change-me-please-now-1");
        for guessable in [&zeros, &steps, &pattern, &text] {
            let refused = MasterKey::parse(guessable, "x").unwrap_err();
            assert!(matches!(refused, KeyError::Guessable { .. }), "{guessable}: {refused}");
        }
        for malformed in ["", "your-256-bit-secret-key", &GOOD[2..], &GOOD.repeat(2)] {
            let refused = MasterKey::parse(malformed, "x").unwrap_err();
            assert!(matches!(refused, KeyError::Malformed { .. }), "{malformed}: {refused}");
            assert!(malformed.is_empty() || !refused.to_string().contains(malformed));
        }
    }

    #[test]
    fn the_first_line_seals_and_the_others_open() {
        let old = MasterKey::generate();
        let ring = Keyring::parse(&format!("# new\n{GOOD}\n\n{}\n", *old.to_text()), "x").unwrap();
        assert_eq!(ring.current().id(), MasterKey::parse(GOOD, "x").unwrap().id());
        assert!(ring.find(old.id()).is_some() && ring.find(KeyId([0; 8])).is_none());
        assert!(matches!(Keyring::parse("# none\n", "x"), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn a_file_that_everybody_reads_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(Keyring::from_file(&path), Err(KeyError::Unreadable { .. })));
        std::fs::write(&path, GOOD).unwrap();
        for (mode, is_fine) in [(0o600, true), (0o640, true), (0o644, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Keyring::from_file(&path).is_ok(), is_fine, "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keyring::from_file(&path), Err(KeyError::Exposed { .. })));
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key = MasterKey::parse(GOOD, "x").unwrap();
        assert!(!format!("{key:?}{:?}", Keyring::of(key.clone())).contains(&GOOD[..8]));
    }
}
