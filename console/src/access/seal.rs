//! Secrets that the store keeps for the console, sealed with a key that the store does not have: whoever reads the
//! database, or a copy of it, has no second factor. The same key makes the links of letters that nothing is kept about, and
//! the names that stand for moderators.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use schema_store::rows::moderation::DecisionId;
use schema_wire::UserId;
use sha2::{Digest, Sha256};

use super::rsa_key::{KeyFault, write_private};
use super::secret::{Secret, WeakSecret};
use super::totp;

/// Name of the key's file in the folder of keys.
pub const SEAL_KEY: &str = "seal.key";
/// First byte of what is sealed.
const VERSION: u8 = 1;

/// Where the key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SealSource {
    /// In this file.
    File(PathBuf),
    /// In this folder, made at the first start.
    Folder(PathBuf),
}

/// Why there is no key. Never carries key material.
#[derive(Debug, thiserror::Error)]
pub enum SealFault {
    #[error("key that seals second factors: {0}")]
    File(#[from] KeyFault),
    #[error("{path}: {problem}")]
    Weak { path: String, problem: WeakSecret },
}

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 32;

/// Seals and opens.
pub struct Seal {
    key: LessSafeKey,
    links: hmac::Key,
    names: hmac::Key,
}

impl Seal {
    /// Reads the key, or makes one.
    pub fn load(source: &SealSource) -> Result<Self, SealFault> {
        let path = match source {
            SealSource::File(path) => path.clone(),
            SealSource::Folder(folder) => {
                let path = folder.join(SEAL_KEY);
                ensure(&path)?;
                path
            }
        };
        let named = || path.display().to_string();
        let text = super::rsa_key::read_guarded(&path)?;
        let text = String::from_utf8(text).unwrap_or_default();
        let secret =
            Secret::new(text.trim()).map_err(|problem| SealFault::Weak { path: named(), problem })?;
        Ok(Self::of(secret.expose()))
    }

    fn of(secret: &[u8]) -> Self {
        let derived = |purpose: &[u8]| -> [u8; 32] {
            Sha256::new().chain_update(purpose).chain_update(secret).finalize().into()
        };
        let key = UnboundKey::new(&AES_256_GCM, &derived(b"console seal\0")).expect("a key of 32 bytes fits");
        let mark = |purpose| hmac::Key::new(hmac::HMAC_SHA256, &derived(purpose));
        let (links, names) = (mark(b"console links\0"), mark(b"console names\0"));
        Self { key: LessSafeKey::new(key), links, names }
    }

    /// What the link to a decision names it by: nobody else can make one up.
    pub fn link_to(&self, decision: DecisionId) -> String {
        let mark = hmac::sign(&self.links, &decision.0);
        decision.0.iter().chain(mark.as_ref()).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The decision that a link names; `None`: it is none of ours.
    pub fn linked(&self, text: &str) -> Option<DecisionId> {
        let id = u128::from_str_radix(text.get(..ID_DIGITS)?, 16).ok()?;
        let decision = DecisionId(id.to_be_bytes());
        let is_ours = verify_slices_are_equal(self.link_to(decision).as_bytes(), text.as_bytes()).is_ok();
        is_ours.then_some(decision)
    }

    /// The name under which a moderator is known to those they decide about: always the same, and nothing that somebody
    /// who knows the account could find it by.
    pub fn pseudonym(&self, moderator: UserId) -> String {
        let mark = hmac::sign(&self.names, &moderator.0);
        let mark: String = mark.as_ref().iter().take(3).map(|byte| format!("{byte:02X}")).collect();
        format!("Moderator M-{mark}")
    }

    /// Seals what belongs to somebody.
    pub fn seal(&self, owner: UserId, secret: &[u8]) -> Vec<u8> {
        self.seal_for(&owner.0, secret)
    }

    /// Seals what a setting of this name holds.
    pub fn seal_setting(&self, name: &str, secret: &[u8]) -> Vec<u8> {
        self.seal_for(&setting(name), secret)
    }

    fn seal_for(&self, whom: &[u8], secret: &[u8]) -> Vec<u8> {
        let mut nonce = [0u8; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
        let mut sealed = secret.to_vec();
        let place = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(place, Aad::from(whom), &mut sealed)
            .expect("a text this short can be sealed");
        [&[VERSION][..], &nonce, &sealed].concat()
    }

    /// What was sealed for this owner; `None`: with another key, or for somebody else.
    pub fn open(&self, owner: UserId, sealed: &[u8]) -> Option<Vec<u8>> {
        self.open_for(&owner.0, sealed)
    }

    /// What was sealed for a setting of this name; `None`: with another key, or for something else.
    pub fn open_setting(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.open_for(&setting(name), sealed)
    }

    fn open_for(&self, whom: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let rest = sealed.strip_prefix(&[VERSION])?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        self.key.open_in_place(nonce, Aad::from(whom), &mut text).ok().map(|secret| secret.to_vec())
    }
}

/// No account's id is as long.
fn setting(name: &str) -> Vec<u8> {
    [b"setting of operators: ", name.as_bytes()].concat()
}

/// Whether a second factor is kept as it is: earlier versions did not seal.
pub fn is_plain(kept: &[u8]) -> bool {
    kept.len() == totp::SECRET_BYTES
}

fn ensure(path: &Path) -> Result<(), KeyFault> {
    if path.exists() {
        return Ok(());
    }
    let mut key = [0u8; 32];
    getrandom::fill(&mut key).expect("the operating system gives random bytes");
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(path, format!("{text}\n").as_bytes())
        .map_err(|source| KeyFault::File { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_s_own_is_opened() {
        let seal = Seal::of(b"one key");
        let (alice, bob) = (UserId([1; 16]), UserId([2; 16]));
        let secret = totp::new_secret();
        let sealed = seal.seal(alice, &secret);
        assert!(!sealed.windows(4).any(|part| secret.starts_with(part)) && !is_plain(&sealed));
        assert!((16..=64).contains(&sealed.len()), "the schema takes no more: {}", sealed.len());
        assert_eq!(seal.open(alice, &sealed), Some(secret.clone()));
        assert_eq!(seal.open(bob, &sealed), None);
        assert_eq!(Seal::of(b"another key").open(alice, &sealed), None);
        assert_ne!(seal.seal(alice, &secret), sealed, "never twice the same");
        for at in 0..sealed.len() {
            let mut turned = sealed.clone();
            turned[at] ^= 1;
            assert_eq!(seal.open(alice, &turned), None, "byte {at}");
            assert_eq!(seal.open(alice, &sealed[..at]), None, "cut at {at}");
        }
        assert!(is_plain(&secret));
        let set = seal.seal_setting("one", b"secret");
        assert_eq!(seal.open_setting("one", &set).as_deref(), Some(&b"secret"[..]));
        assert_eq!(seal.open_setting("other", &set), None);
        assert_eq!(seal.open(alice, &set), None);
    }

    #[test]
    fn only_own_links_lead_anywhere() {
        let seal = Seal::of(b"one key");
        let decision = DecisionId([0x0a; 16]);
        let link = seal.link_to(decision);
        assert_eq!(seal.linked(&link), Some(decision));
        assert_eq!(Seal::of(b"another key").linked(&link), None);
        let upper = link.to_uppercase();
        let longer = format!("{link}0");
        for wrong in ["", "0a", &link[..32], &link[..95], &upper, &longer, &link.replacen("0a", "0b", 1), "é"]
        {
            assert_eq!(seal.linked(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_moderator_has_one_name_that_only_this_key_makes() {
        let seal = Seal::of(b"one key");
        let (mia, tom) = (UserId([1; 16]), UserId([2; 16]));
        let name = seal.pseudonym(mia);
        assert_eq!((name.len(), seal.pseudonym(mia)), ("Moderator M-".len() + 6, name.clone()));
        assert_ne!(seal.pseudonym(tom), name);
        assert_ne!(Seal::of(b"another key").pseudonym(mia), name);
    }

    #[test]
    fn the_key_is_made_once_and_kept_from_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("console-seal-{}", std::process::id()));
        let source = SealSource::Folder(folder.clone());
        let sealed = Seal::load(&source).unwrap().seal(UserId([1; 16]), b"secret");
        assert_eq!(
            Seal::load(&source).unwrap().open(UserId([1; 16]), &sealed).as_deref(),
            Some(&b"secret"[..])
        );
        let file = folder.join(SEAL_KEY);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let line = Seal::load(&SealSource::File(file.clone())).err().unwrap().to_string();
        assert!(line.contains("chmod 600"), "{line}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&file, "short").unwrap();
        let line = Seal::load(&SealSource::File(file)).err().unwrap().to_string();
        assert!(line.contains("openssl rand"), "{line}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
