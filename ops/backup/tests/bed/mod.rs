//! What the tests of whole backups share: a data folder with people who wrote messages, a place, a key.
#![allow(dead_code, clippy::unwrap_used)]

use std::future::Future;
use std::path::PathBuf;

use backup::BackupError;
use backup::catalogue::Which;
use backup::key::{Keyring, MasterKey};
use backup::place::{BucketAccess, Location, Place};
use backup::restore::{Back, Target, restore};
use backup::run::{Made, run};
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::device::{KeyUpload, NewSession};
use schema_store::{Accounts, NewToken, SqliteStore, Store};
use schema_wire::record::{Append, Appended};
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};

/// Runs a future that needs a runtime, on it.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Runs work on a place.
pub fn on_ring<T>(work: impl Future<Output = Result<T, BackupError>>) -> Result<T, BackupError> {
    backup::block_on(work)
}

#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub user: UserId,
    pub device: DeviceId,
}

pub struct Bed {
    pub folder: tempfile::TempDir,
    pub keys: Keyring,
    pub location: Location,
    pub access: BucketAccess,
}

impl Bed {
    /// With its backups in a folder.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().join("place"));
        for data in ["data", "other"] {
            std::fs::create_dir(folder.path().join(data)).unwrap();
        }
        Self { keys: Keyring::of(MasterKey::generate()), location, access: BucketAccess::default(), folder }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("data/messenger.db")
    }

    pub fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.database()).unwrap()
    }

    pub fn place(&self) -> Place {
        Place::open(&self.location, &self.access).unwrap()
    }

    pub fn back_up(&self) -> Result<Made, BackupError> {
        on_ring(async { run(&self.place(), &self.keys, &self.database(), &mut |_, _| {}).await })
    }

    /// Into the other folder.
    pub fn elsewhere(&self) -> Target {
        Target { database: self.folder.path().join("other/messenger.db"), replace: false }
    }

    pub fn restore(&self, which: Which, target: &Target) -> Result<Back, BackupError> {
        self.restore_with(&self.keys, which, target)
    }

    pub fn restore_with(&self, keys: &Keyring, which: Which, target: &Target) -> Result<Back, BackupError> {
        on_ring(async { restore(&self.place(), which, keys, target, &mut |_, _| {}).await })
    }

    /// Files below a folder of the bed.
    pub fn files(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join(below)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.folder.path().join(below)).unwrap();
                    found.push(name.display().to_string());
                }
            }
        }
        found.sort();
        found
    }
}

/// Alice and Bob in a direct conversation.
pub async fn pair(store: &SqliteStore) -> (Person, Person, ConversationId) {
    let (alice, bob) = (person(store, "alice").await, person(store, "bob").await);
    let (conversation, _) = store.create_direct(alice.user, bob.user).await.unwrap();
    // The other one asks as well, so that nothing waits between them.
    store.create_direct(bob.user, alice.user).await.unwrap();
    (alice, bob, conversation)
}

pub async fn person(store: &SqliteStore, name: &str) -> Person {
    let new = Registration {
        email: format!("{name}@example.org"),
        name: name.to_owned(),
        password_hash: "$argon2id$x".to_owned(),
        invite: None,
        activation: Activation::Immediate,
    };
    let user = store.register(new, Origin::system()).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (_, refresh) = NewToken::generate(now.as_millis() as u64 + 86_400_000);
    let session = NewSession { user, device: None, device_name: "laptop".to_owned(), refresh, rehash: None };
    let device = store.open_session(session, Origin::system()).await.unwrap().device;
    Person { user, device }
}

/// Publishes messages from..to, each in order.
pub async fn write(
    store: &SqliteStore,
    by: Person,
    conversation: ConversationId,
    numbers: std::ops::Range<u64>,
) {
    for n in numbers {
        let mut key = [7; 16];
        key[..8].copy_from_slice(&n.to_be_bytes());
        let append = Append {
            conversation,
            publish_key: PublishKey(key),
            sender: by.user,
            device: by.device,
            kind: 0,
            relates_to: None,
            expires_in: None,
            expected_epoch: None,
            notify: 0,
            body: format!("plain words of message {n}").into_bytes().into(),
            commitment: None,
        };
        let outcome = store.append(vec![append]).await.unwrap().pop().unwrap();
        assert!(matches!(outcome, Appended::Stored { .. }), "{outcome:?}");
    }
}

/// Publishes an identity and some one-time packages.
pub async fn publish_keys(store: &SqliteStore, by: Person, packages: usize) {
    let upload = KeyUpload {
        identity: Some(bytes::Bytes::from_static(b"identity")),
        packages: (0..packages).map(|n| bytes::Bytes::from(format!("package {n}"))).collect(),
        last_resort: None,
    };
    store.publish_keys(by.user, by.device, upload, Origin::system()).await.unwrap();
}
