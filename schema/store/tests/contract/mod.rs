//! What every store must do, as tests generic over it. Each takes a fresh store whose clock the test moves.

pub mod account;
pub mod keys;
pub mod log;
pub mod member;
pub mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::device::NewSession;
use schema_store::{Accounts, ChangePosition, NewToken, Store};
use schema_wire::record::{
    Append, Appended, Change, Page, Standing, StoreReply, StoreRequest, UserEventPage,
};
use schema_wire::{ConversationId, DeviceId, Offset, Position, PublishKey, Refused, UserId};

/// Where every test's clock begins, unix ms.
pub const START: u64 = 1_800_000_000_000;

/// A clock that only the test moves.
#[derive(Clone)]
pub struct TestClock(pub Arc<AtomicU64>);

impl TestClock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// A store and its clock.
pub struct Bed<S> {
    pub store: S,
    pub clock: TestClock,
}

/// A signed-in person.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub user: UserId,
    pub device: DeviceId,
}

pub fn key(n: u64) -> PublishKey {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    PublishKey(bytes)
}

pub fn message(from: Person, conversation: ConversationId, n: u64) -> Append {
    Append {
        conversation,
        publish_key: key(n),
        sender: from.user,
        device: from.device,
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::from(format!("message {n}")),
        commitment: None,
    }
}

/// The offset of a stored message.
#[track_caller]
pub fn offset(outcome: Appended) -> u64 {
    match outcome {
        Appended::Stored { offset, .. } => offset.0,
        other => panic!("not stored: {other:?}"),
    }
}

#[track_caller]
pub fn refused(outcome: Appended) -> Refused {
    match outcome {
        Appended::Refused { refused, .. } => refused,
        other => panic!("not refused: {other:?}"),
    }
}

/// A page of a user's stream.
pub async fn events<S: Store>(bed: &Bed<S>, user: UserId, after: Position) -> UserEventPage {
    match bed.store.ask(StoreRequest::UserEvents { user, after, limit: 200 }).await {
        StoreReply::UserEvents(page) => page,
        other => panic!("{other:?}"),
    }
}

/// The end of the change log.
pub async fn now_position<S: Store>(bed: &Bed<S>) -> ChangePosition {
    bed.store.changes(ChangePosition::default(), 1).await.unwrap().1
}

pub async fn changes_since<S: Store>(bed: &Bed<S>, after: ChangePosition) -> Vec<Change> {
    bed.store.changes(after, 1000).await.unwrap().0
}

impl<S: Store + Accounts> Bed<S> {
    pub async fn person(&self, name: &str) -> Person {
        let new = Registration {
            email: format!("{name}@example.org"),
            name: name.to_owned(),
            password_hash: "$argon2id$x".to_owned(),
            invite: None,
            activation: Activation::Immediate,
        };
        let user = self.store.register(new, Origin::system()).await.unwrap();
        let (_, refresh) = NewToken::generate(self.clock.now() + 7 * 86_400_000);
        let session =
            NewSession { user, device: None, device_name: "laptop".to_owned(), refresh, rehash: None };
        let device = self.store.open_session(session, Origin::system()).await.unwrap().device;
        Person { user, device }
    }

    /// Two people with a direct conversation.
    pub async fn pair(&self) -> (Person, Person, ConversationId) {
        let (alice, bob) = (self.person("alice").await, self.person("bob").await);
        let (conversation, new) = self.store.create_direct(alice.user, bob.user).await.unwrap();
        assert!(new);
        (alice, bob, conversation)
    }

    pub async fn publish(&self, append: Append) -> Appended {
        self.store.append(vec![append]).await.unwrap().pop().unwrap()
    }

    pub async fn page(&self, user: UserId, conversation: ConversationId, from: u64, backwards: bool) -> Page {
        let request = StoreRequest::Recover { user, conversation, from: Offset(from), limit: 200, backwards };
        match self.store.ask(request).await {
            StoreReply::Recover(page) => page,
            other => panic!("{other:?}"),
        }
    }

    pub async fn standing(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Option<Position>,
    ) -> Option<Standing> {
        match self.store.ask(StoreRequest::Standing { user, conversation, after }).await {
            StoreReply::Standing(standing) => standing,
            other => panic!("{other:?}"),
        }
    }
}

/// A page in a line: `1 2 deleted(3) not_member(4-6)`, and where it goes on.
pub fn sketch(page: &Page) -> String {
    use schema_wire::record::Entry;
    let mut words = Vec::new();
    for entry in &page.entries {
        words.push(match entry {
            Entry::Message(m) => m.offset.0.to_string(),
            Entry::Gone { from, to, reason } if from == to => format!("{reason:?}({})", from.0),
            Entry::Gone { from, to, reason } => format!("{reason:?}({}-{})", from.0, to.0),
        });
    }
    words.push(format!("-> {}", page.next.0));
    words.join(" ").replace("GONE_REASON_", "").to_lowercase()
}
