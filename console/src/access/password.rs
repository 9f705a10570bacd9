//! Passwords: argon2id on a bounded number of threads, and the same work for accounts that do not exist.

use std::sync::Arc;
use std::sync::{Mutex, OnceLock};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use crate::front::problem::{Code, Problem};

/// Memory per hash in KiB (OWASP's first recommendation for argon2id).
const MEMORY_KIB: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Requests that may wait for a hashing thread before more are told to come back.
const WAITING_MAX: usize = 64;
/// Most memory that a kept hash may ask for, in blocks of 1 KiB.
const BLOCKS_MAX: usize = 256 * 1024;
/// Shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password, in bytes: hashing cost does not depend on it, reading it does.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Hashes and checks passwords, at most a few at a time.
#[derive(Clone)]
pub struct Hasher {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Working memory of the hashes that are not running: allocating 19 MiB anew each time would scatter over the
    /// allocator's arenas and never come back.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Hasher {
    /// With as many threads as half the cores, and at least one.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            running: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            memory: Arc::default(),
        }
    }

    /// The hash to keep for `password`, in PHC form.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        self.on_a_thread(move |memory| hash_with(&password, memory)).await?.map_err(|_| Code::Internal.into())
    }

    /// Whether `password` is the one behind `kept`. Without a kept hash the same work is done, and the answer is no.
    pub async fn verify(&self, password: String, kept: Option<String>) -> Result<bool, Problem> {
        self.on_a_thread(move |memory| {
            let hash = kept.as_deref().unwrap_or_else(|| nobodys_hash());
            matches(&password, hash, memory).unwrap_or(false) && kept.is_some()
        })
        .await
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.waiting.try_acquire().map_err(|_| Problem::after(Code::Busy, 1))?;
        let turn = self.running.clone().acquire_owned().await.map_err(|_| Problem::from(Code::Internal))?;
        // The permit travels with the work: a caller who hangs up does not free the thread early.
        let shelf = self.memory.clone();
        tokio::task::spawn_blocking(move || {
            let mut memory = shelf.lock().expect("nothing panics on the shelf").pop().unwrap_or_default();
            let out = work(&mut memory);
            shelf.lock().expect("nothing panics on the shelf").push(memory);
            drop(turn);
            out
        })
        .await
        .map_err(|_| Code::Internal.into())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// The hash to keep for a password, in PHC form. Takes tens of milliseconds.
pub fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    hash_with(password, &mut Vec::new())
}

fn hash_with(password: &str, memory: &mut Vec<Block>) -> Result<String, argon2::password_hash::Error> {
    let argon2 = argon2id();
    let salt = Salt::generate();
    let mut out = [0u8; Params::DEFAULT_OUTPUT_LEN];
    memory.resize(argon2.params().block_count(), Block::new());
    argon2.hash_password_into_with_memory(password.as_bytes(), &salt, &mut out, &mut memory[..])?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params())?,
        salt: Some(salt),
        hash: Some(Output::new(&out)?),
    };
    Ok(hash.to_string())
}

/// Whether the kept hash is this password's, at the cost the hash itself names; `None` when it is no usable hash.
fn matches(password: &str, kept: &str, memory: &mut Vec<Block>) -> Option<bool> {
    let kept = PasswordHash::new(kept).ok()?;
    let (salt, expected) = (kept.salt?, kept.hash?);
    let params = Params::try_from(&kept).ok().filter(|params| params.block_count() <= BLOCKS_MAX)?;
    let version = kept.version.map_or(Ok(Version::V0x13), Version::try_from).ok()?;
    let algorithm = Algorithm::try_from(kept.algorithm.as_str()).ok()?;
    let argon2 = Argon2::new(algorithm, version, params);
    let mut buffer = [0u8; Output::MAX_LENGTH];
    let out = &mut buffer[..expected.len()];
    memory.resize(argon2.params().block_count(), Block::new());
    argon2.hash_password_into_with_memory(password.as_bytes(), &salt, out, &mut memory[..]).ok()?;
    // Outputs compare in constant time.
    Some(Output::new(out).ok()? == expected)
}

/// What is wrong with a new password, if anything.
pub fn check_password(password: &str, email: &str) -> Result<(), Problem> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(Problem::with(Code::WeakPassword, "The password needs at least 10 characters."));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(Problem::with(Code::WeakPassword, "The password may have at most 256 bytes."));
    }
    let distinct = password.chars().collect::<std::collections::BTreeSet<_>>().len();
    if distinct < 4 || password.eq_ignore_ascii_case(email) {
        return Err(Problem::with(Code::WeakPassword, "The password is too easy to guess; choose another."));
    }
    Ok(())
}

/// Whether a kept hash was made with other costs than today's.
pub fn is_outdated(kept: &str) -> bool {
    !kept.starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$"))
}

fn argon2id() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, None).expect("the constants above are within argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// A hash nobody's password has, made with the same cost as the real ones.
fn nobodys_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let (secret, _) = schema_store::token::NewToken::generate(0);
        hash_password(&secret).expect("argon2 with these constants does not fail")
    })
}

/// Makes the hash for unknown accounts now, so that the first unknown account does not take twice as long.
pub fn warm_up() {
    nobodys_hash();
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordVerifier;

    use super::*;

    #[tokio::test]
    async fn verifies_only_the_right_password_and_never_an_unknown_account() {
        let hasher = Hasher::new();
        let kept = hasher.hash("correct horse battery".into()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !is_outdated(&kept), "{kept}");
        let theirs = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHRzYWx0$";
        assert!(
            !hasher
                .verify("x".into(), Some(format!("{theirs}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")))
                .await
                .unwrap()
        );
        let greedy =
            "$argon2id$v=19$m=4000000,t=1,p=1$c29tZXNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(!hasher.verify("x".into(), Some(greedy.into())).await.unwrap());
        assert!(hasher.memory.lock().unwrap().len() <= 1, "one hash at a time needs one piece of memory");
        assert!(is_outdated("$argon2id$v=19$m=4096,t=3,p=1$c2FsdA$aGFzaA"));
        assert!(hasher.verify("correct horse battery".into(), Some(kept.clone())).await.unwrap());
        let standard =
            Argon2::default().verify_password(b"correct horse battery", &PasswordHash::new(&kept).unwrap());
        standard.expect("any argon2 implementation understands it");
        assert!(!hasher.verify("wrong horse battery".into(), Some(kept)).await.unwrap());
        assert!(!hasher.verify("correct horse battery".into(), None).await.unwrap());
        assert!(!hasher.verify("x".into(), Some("not a hash".into())).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_is_refused_at_once() {
        let hasher = Hasher {
            running: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(0)),
            ..Hasher::new()
        };
        let refused = hasher.hash("correct horse battery".into()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Busy);
    }

    #[test]
    fn weak_passwords_are_named() {
        assert!(check_password("short", "a@b.example").is_err());
        assert!(check_password("aaaaaaaaaaaaaa", "a@b.example").is_err());
        assert!(check_password("Alice@Home.Example", "alice@home.example").is_err());
        assert!(check_password(&"xyz1".repeat(65), "a@b.example").is_err());
        assert!(check_password("a good enough one", "a@b.example").is_ok());
    }
}
