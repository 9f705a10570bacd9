//! People and groups, straight in SQL.

use bytes::Bytes;
use schema_store::postgres::{Options, migrate};
use schema_store::{PostgresStore, Store};
use schema_wire::record::{Append, Appended, Entry, Page, StoreReply, StoreRequest};
use schema_wire::{ConversationId, DeviceId, Offset, PublishKey, UserId};
use servers::Postgres;

/// A server with the schema, and a store on it.
pub async fn world() -> (Postgres, PostgresStore) {
    world_on(Postgres::start()).await
}

pub async fn world_on(server: Postgres) -> (Postgres, PostgresStore) {
    migrate(&mut server.connect().await).await.unwrap();
    let store = open(&server.url("postgres")).await;
    (server, store)
}

pub async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(url, Options::default()).await.unwrap()
}

fn number(kind: u8, n: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = kind;
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    bytes
}

pub fn user(n: u32) -> UserId {
    UserId(number(1, n))
}

pub fn conversation(n: u32) -> ConversationId {
    ConversationId(number(2, n))
}

/// Users 1 to `users` are members of conversations 1 to `conversations`; user 1 owns them.
pub fn people(server: &Postgres, users: u32, conversations: u32) {
    let id = |kind: &str| format!("({kind} || lpad(to_hex(n), 30, '0'))::uuid");
    server.sql(&format!(
        "INSERT INTO users (id, name, status) SELECT {user}, 'n' || n, 'ACTIVE' FROM generate_series(1, {users}) n;
         INSERT INTO devices (id, user_id, name, last_seen_at)
           SELECT {device}, {user}, 'd', now() FROM generate_series(1, {users}) n;
         INSERT INTO conversations (id, kind, last_at, members_version, member_count)
           SELECT {conversation}, 'GROUP', 'epoch', 1, {users} FROM generate_series(1, {conversations}) n;
         INSERT INTO conversation_members (conversation_id, user_id, joined_version, members_version, joined_offset,
             joined_at, role)
           SELECT c.id, u.id, 1, 1, 1, now(), CASE row_number() OVER (PARTITION BY c.id ORDER BY u.id) WHEN 1 THEN 3
             ELSE 1 END FROM conversations c, users u",
        user = id("'01'"),
        device = id("'03'"),
        conversation = id("'02'"),
    ));
}

pub fn message(sender: u32, to: u32, key: u64) -> Append {
    let mut publish_key = [9; 16];
    publish_key[..8].copy_from_slice(&key.to_be_bytes());
    Append {
        conversation: conversation(to),
        publish_key: PublishKey(publish_key),
        sender: user(sender),
        device: DeviceId(number(3, sender)),
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::from(format!("message {key}")),
        commitment: None,
    }
}

#[track_caller]
pub fn offset(outcome: &Appended) -> u64 {
    match outcome {
        Appended::Stored { offset, .. } => offset.0,
        other => panic!("not stored: {other:?}"),
    }
}

pub async fn publish(store: &PostgresStore, append: Append) -> Appended {
    store.append(vec![append]).await.unwrap().pop().unwrap()
}

/// A page, up from an offset.
pub async fn page(store: &PostgresStore, reader: u32, of: u32, from: u64) -> Page {
    let (user, conversation) = (user(reader), conversation(of));
    let request =
        StoreRequest::Recover { user, conversation, from: Offset(from), limit: 200, backwards: false };
    match store.ask(request).await {
        StoreReply::Recover(page) => page,
        other => panic!("{other:?}"),
    }
}

/// All bodies of a conversation by offset; panics where the log is not dense.
pub async fn bodies(store: &PostgresStore, of: u32) -> Vec<String> {
    let (mut found, mut from) = (Vec::new(), 1);
    loop {
        let page = page(store, 1, of, from).await;
        for entry in &page.entries {
            let Entry::Message(message) = entry else { panic!("a gap: {entry:?}") };
            assert_eq!(message.offset.0, found.len() as u64 + 1, "offsets are dense");
            found.push(String::from_utf8(message.body.to_vec()).unwrap());
        }
        from = page.next.0;
        if from > page.head.0 {
            return found;
        }
    }
}
