//! A running product with people in it. Accounts are put into its database directly, which is quick; the scenarios
//! that are about logging in use the API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use schema_store::SqliteStore;
use schema_store::accounts::Accounts;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::conversation::{GroupDraft, HistoryPolicy};
use schema_store::rows::device::NewSession;
use schema_store::token::NewToken;
use schema_wire::{ConversationId, DeviceId, UserId};
use serde_json::json;
use tempfile::TempDir;

use crate::{Server, Settings};

/// A user on a device.
#[derive(Clone, Copy, Debug)]
pub struct Login {
    pub user: UserId,
    pub device: DeviceId,
}

/// The product, its database, and the key that signs for it.
pub struct World {
    pub server: Server,
    pub store: SqliteStore,
    signing: EncodingKey,
    kid: String,
    people: AtomicU64,
    _folder: TempDir,
}

impl World {
    /// Starts the product as most scenarios want it.
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    /// Starts the product with settings.
    pub async fn start_with(settings: Settings) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let server = Server::start(folder.path(), settings);
        let store = SqliteStore::open(&server.data().join("messenger.db")).expect("the database is there");
        let keys = server.data().join("keys");
        let pem = std::fs::read(keys.join("signing.pem")).expect("the signing key");
        let signing = EncodingKey::from_rsa_pem(&pem).expect("an RSA key");
        let jwks = std::fs::read_to_string(keys.join("jwks.json")).expect("the published keys");
        let jwks: serde_json::Value = serde_json::from_str(&jwks).expect("JSON");
        let kid = jwks["keys"][0]["kid"].as_str().expect("a kid").to_owned();
        Self { server, store, signing, kid, people: AtomicU64::new(1), _folder: folder }
    }

    /// Somebody new on a device.
    pub async fn person(&self, name: &str) -> Login {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        let new = Registration {
            email: format!("{name}.{number}@wire.example"),
            name: name.into(),
            password_hash: "none".into(),
            invite: None,
            activation: Activation::Immediate,
        };
        let user = self.store.register(new, Origin::system()).await.expect("the address is free");
        self.device(user).await
    }

    /// Another device of a user.
    pub async fn device(&self, user: UserId) -> Login {
        let (_, refresh) = NewToken::generate(now_ms() + 3_600_000);
        let new = NewSession { user, device: None, device_name: "test".into(), refresh, rehash: None };
        let grant = self.store.open_session(new, Origin::system()).await.expect("an active account");
        Login { user, device: grant.device }
    }

    /// A group of `owner` and others.
    pub async fn group(&self, owner: Login, others: &[Login]) -> ConversationId {
        let draft = GroupDraft {
            name: "group".into(),
            members: others.iter().map(|l| l.user).collect(),
            history: HistoryPolicy::SinceJoin,
            ttl: None,
        };
        self.store.create_group(owner.user, draft).await.expect("a group")
    }

    /// A token for a quarter of an hour.
    pub fn token(&self, login: Login) -> String {
        self.token_for(login, 900)
    }

    /// A token that ends after so many seconds; negative: has ended.
    pub fn token_for(&self, login: Login, seconds: i64) -> String {
        let now = now_ms() / 1000;
        let exp = now.saturating_add_signed(seconds);
        let claims = json!({
            "iss": "https://api.secure-messenger.local", "aud": "https://secure-messenger.local",
            "sub": login.user.to_string(), "device": login.device.to_string(),
            "exp": exp, "nbf": now.min(exp) - 1, "iat": now, "jti": "wire",
        });
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing).expect("claims are JSON")
    }

    /// Straight SQL on the product's database, as an operator's script would do it.
    pub fn sql(&self, statement: &str, params: impl rusqlite::Params) -> usize {
        let at = self.server.data().join("messenger.db");
        let connection = rusqlite::Connection::open(at).expect("the database is there");
        connection.busy_timeout(crate::PATIENCE).expect("a timeout");
        connection.execute(statement, params).expect("SQL")
    }
}

/// Unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}
