//! People who write to each other straight through a store, as fast as it takes them; for the tests of the engine and of the
//! program.
#![allow(dead_code, clippy::unwrap_used)]

use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::device::{KeyUpload, NewSession};
use schema_store::{Accounts, NewToken, Store};
use schema_wire::record::{Append, Appended};
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};

#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub user: UserId,
    pub device: DeviceId,
}

pub async fn person<S: Accounts>(store: &S, name: &str) -> Person {
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

/// Alice and Bob in a direct conversation.
pub async fn pair<S: Accounts>(store: &S) -> (Person, Person, ConversationId) {
    let (alice, bob) = (person(store, "alice").await, person(store, "bob").await);
    let (conversation, _) = store.create_direct(alice.user, bob.user).await.unwrap();
    // The other one asks as well, so that nothing waits between them.
    store.create_direct(bob.user, alice.user).await.unwrap();
    (alice, bob, conversation)
}

/// Publishes a message; whether it was acknowledged.
pub async fn publish<S: Store>(
    store: &S,
    by: Person,
    conversation: ConversationId,
    number: u64,
    body: Vec<u8>,
) -> bool {
    let mut key = [7; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
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
        body: body.into(),
        commitment: None,
    };
    let outcome = store.append(vec![append]).await.map(|mut outcomes| outcomes.pop());
    matches!(outcome, Ok(Some(Appended::Stored { .. })))
}

/// Publishes messages from..to; returns how many were acknowledged before the store failed.
pub async fn write<S: Store>(
    store: &S,
    by: Person,
    conversation: ConversationId,
    numbers: std::ops::Range<u64>,
) -> u64 {
    let mut acked = 0;
    for number in numbers {
        let body = format!("plain words of message {number}").into_bytes();
        if !publish(store, by, conversation, number, body).await {
            break;
        }
        acked += 1;
    }
    acked
}

/// Publishes an identity and some one-time packages.
pub async fn publish_keys<S: Accounts>(store: &S, by: Person, packages: usize) {
    let upload = KeyUpload {
        identity: Some(bytes::Bytes::from_static(b"identity")),
        packages: (0..packages).map(|n| bytes::Bytes::from(format!("package {n}"))).collect(),
        last_resort: None,
    };
    store.publish_keys(by.user, by.device, upload, Origin::system()).await.unwrap();
}
