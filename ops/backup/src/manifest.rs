//! The manifest: what a backup consists of and what it holds, authenticated by a master key. It is written last, so a
//! backup without one was interrupted and is none.

use serde::{Deserialize, Serialize};

use crate::hex;
use crate::key::{Keyring, MasterKey};
use crate::name::BackupName;
use crate::postgres::Base;
use crate::seal::{ENVELOPE_BYTES, Envelope, Sealed};
use crate::signed;

/// Its name among the objects of a backup.
pub const MANIFEST: &str = "manifest.json";
/// Largest manifest read.
pub const MANIFEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Version of the format.
const FORMAT: u32 = 1;
/// Keeps signatures of manifests apart from those of anything else.
const PURPOSE: &[u8] = b"manifest";

/// Why a manifest was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("its manifest is not one of this version")]
    Malformed,
    #[error("its manifest is signed with key {0}, which is not among the given ones; add it to the key file")]
    UnknownKey(String),
    #[error("its manifest was altered")]
    Altered,
    #[error("its manifest is that of {0}")]
    Foreign(String),
}

/// One object, in the order in which they make up the whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    pub name: String,
    pub bytes: u64,
    pub plain_bytes: u64,
    /// Of the object as it lies there, where something refers to it. Its chunks are bound to each other without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    envelope: String,
}

impl Object {
    /// The entry of what was sealed.
    pub fn new(name: String, sealed: &Sealed) -> Self {
        let (bytes, plain_bytes) = (sealed.bytes, sealed.plain_bytes);
        Self { name, bytes, plain_bytes, sha256: None, envelope: hex::encode(&sealed.envelope.0) }
    }

    /// The same with the hash of the object.
    pub fn with_hash(self, hash: &[u8; 32]) -> Self {
        Self { sha256: Some(hex::encode(hash)), ..self }
    }

    /// By which another refers to it; empty when nothing does.
    pub fn hash(&self) -> &str {
        self.sha256.as_deref().unwrap_or_default()
    }

    /// Its wrapped data key.
    pub fn envelope(&self) -> Result<Envelope, ManifestError> {
        hex::decode::<ENVELOPE_BYTES>(&self.envelope).map(Envelope).ok_or(ManifestError::Malformed)
    }

    /// The same object with its data key wrapped anew.
    pub fn with_envelope(&self, envelope: &Envelope) -> Self {
        Self { envelope: hex::encode(&envelope.0), ..self.clone() }
    }
}

/// What the database held.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// Version of the schema.
    pub schema: u32,
    pub generation: u32,
    /// Head of the audit chain: shows later whether newest entries were cut off.
    pub audit_id: u64,
    pub audit_hash: String,
    pub users: u64,
    pub conversations: u64,
    pub messages: u64,
}

/// Of which database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Everything about one backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    pub name: String,
    pub engine: Engine,
    /// Version of the program that wrote it.
    pub program: String,
    pub finished_at: jiff::Timestamp,
    pub holds: Holds,
    /// Of PostgreSQL: where in its log the copy lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The database, cut into objects.
    pub objects: Vec<Object>,
    /// Accounts erased so far, so that restoring an older backup erases them again.
    pub erasures: Object,
}

impl Manifest {
    /// Of a backup that ends now.
    pub fn new(
        name: BackupName,
        engine: Engine,
        holds: Holds,
        objects: Vec<Object>,
        erasures: Object,
    ) -> Self {
        let (format, name, program) = (FORMAT, name.to_string(), env!("CARGO_PKG_VERSION").to_owned());
        let finished_at = jiff::Timestamp::now();
        Self { format, name, engine, program, finished_at, holds, base: None, objects, erasures }
    }

    /// The same of a server's base backup.
    pub fn with_base(self, base: Base) -> Self {
        Self { base: Some(base), ..self }
    }

    /// The signed document.
    pub fn sign(&self, key: &MasterKey) -> Vec<u8> {
        signed::sign(PURPOSE, self, key)
    }

    /// Reads the document of the backup of that name; nothing of it counts before its signature does.
    pub fn read(document: &[u8], name: BackupName, keys: &Keyring) -> Result<Self, ManifestError> {
        let manifest: Self = signed::read(PURPOSE, document, keys)?;
        if manifest.format != FORMAT {
            return Err(ManifestError::Malformed);
        }
        if manifest.name != name.to_string() {
            return Err(ManifestError::Foreign(manifest.name));
        }
        Ok(manifest)
    }

    /// All objects, those of the database first.
    pub fn all_objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().chain([&self.erasures])
    }

    /// Bytes in the place.
    pub fn bytes(&self) -> u64 {
        self.all_objects().map(|object| object.bytes).sum()
    }

    /// Bytes of the database.
    pub fn plain_bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.plain_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::seal_all;

    fn manifest(name: BackupName, key: &MasterKey) -> Manifest {
        let object = |part: &str| {
            let (_, sealed) = seal_all(key, &name.path(part), b"content").unwrap();
            Object::new(part.to_owned(), &sealed)
        };
        let holds = Holds {
            schema: 3,
            generation: 1,
            audit_id: 2,
            audit_hash: "00".repeat(32),
            users: 2,
            conversations: 1,
            messages: 5,
        };
        Manifest::new(name, Engine::Sqlite, holds, vec![object("store.0000")], object("erasures"))
    }

    fn name(second: i64) -> BackupName {
        BackupName::at(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn only_what_was_signed_under_that_name_is_read() {
        let key = MasterKey::generate();
        let ring = Keyring::of(key.clone());
        let written = manifest(name(5), &key);
        let document = written.sign(&key);
        assert_eq!(Manifest::read(&document, name(5), &ring), Ok(written));
        assert!(matches!(Manifest::read(&document, name(6), &ring), Err(ManifestError::Foreign(_))));
        let other = Keyring::of(MasterKey::generate());
        assert!(matches!(Manifest::read(&document, name(5), &other), Err(ManifestError::UnknownKey(_))));
    }

    #[test]
    fn every_changed_character_is_refused() {
        let key = MasterKey::generate();
        let ring = Keyring::of(key.clone());
        let document = manifest(name(5), &key).sign(&key);
        for at in 0..document.len() {
            for bit in [1, 0x20] {
                let mut changed = document.clone();
                changed[at] ^= bit;
                Manifest::read(&changed, name(5), &ring).expect_err("a changed character");
            }
        }
        for cut in 0..document.len() {
            Manifest::read(&document[..cut], name(5), &ring).expect_err("a cut document");
        }
    }
}
