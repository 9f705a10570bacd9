//! A store, the relays on it, and people with a device on one of them.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use relay_client::{After, PublishRequest, TokenFuture, TokenNeed, TokenSource};
use relay_client::{Client, Event, Events, Transport};
use relay_server::config::RelayConfig;
use relay_server::node::Node;
use relay_server::prepare::prepare;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::device::NewSession;
use schema_store::{Accounts, NewToken, SqliteStore};
use schema_wire::{ConversationId, DeviceId, UserId};
use serde_json::json;

/// Long enough for a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "9f2c7a51e08b4d36c1fa7e92b05d48637a1ce94f50b2d8876e3f1a0c9d7b2e45";
const DAY_MS: u64 = 86_400_000;

/// One store for all relays.
pub struct Town {
    pub store: SqliteStore,
    folder: tempfile::TempDir,
    relays: usize,
    /// Messages of one user per hour.
    pub limit: u32,
}

/// A running relay and what its clients need.
pub struct Relay {
    pub node: Node,
    ca: PathBuf,
}

/// A person's device, by name.
#[derive(Clone, Copy)]
pub struct Person {
    pub user: UserId,
    pub device: DeviceId,
}

/// A connected device.
pub struct Device {
    pub client: Client,
    events: Events,
    /// What came and was not asked for yet.
    seen: Vec<Event>,
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

impl Town {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("messenger.db")).expect("a store");
        Self { store, folder, relays: 0, limit: 100_000 }
    }

    /// One more relay, joined to the others through Redis.
    pub fn relay(&mut self, redis: &str) -> Relay {
        self.try_relay(redis).expect("the relay starts")
    }

    pub fn try_relay(&mut self, redis: &str) -> Result<Relay, String> {
        self.relays += 1;
        let data = self.folder.path().join(format!("relay-{}", self.relays)).display().to_string();
        let limit = self.limit.to_string();
        let lookup = |name: &str| {
            let value = match name {
                "DATA_DIR" => &data,
                "RELAY_LISTEN" => "127.0.0.1:0",
                "RELAY_SHARDS" => "2",
                "PROMETHEUS_PORT" => "0",
                "REDIS_URL" => redis,
                "MESSAGE_LIMIT_MAX" => &limit,
                "MESSAGE_LIMIT_TTL" => "3600",
                "JWT_LEGACY_HS256_SECRET" => SECRET,
                "JWT_LEGACY_HS256_KID" => "test",
                "JWT_LEGACY_HS256_UNTIL" => "2099-01-01",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let config = RelayConfig::from_env(lookup).expect("a configuration");
        let (config, ca) = prepare(config).expect("its files");
        let node = Node::start(config, self.store.clone()).map_err(|error| error.to_string())?;
        Ok(Relay { node, ca: ca.expect("a local authority") })
    }

    pub async fn person(&self, name: &str) -> Person {
        let new = Registration {
            email: format!("{name}@example.org"),
            name: name.to_owned(),
            password_hash: "$argon2id$x".to_owned(),
            invite: None,
            activation: Activation::Immediate,
        };
        let user = self.store.register(new, Origin::system()).await.expect("registers");
        Person { user, device: self.device(user).await }
    }

    /// Another device of somebody.
    pub async fn device(&self, user: UserId) -> DeviceId {
        let (_, refresh) = NewToken::generate(now_s() * 1_000 + DAY_MS);
        let session =
            NewSession { user, device: None, device_name: "laptop".to_owned(), refresh, rehash: None };
        self.store.open_session(session, Origin::system()).await.expect("signs in").device
    }

    pub async fn talk(&self, one: Person, other: Person) -> ConversationId {
        // The other one asks as well, so that nothing waits between them.
        self.store.create_direct(one.user, other.user).await.expect("a conversation");
        self.store.create_direct(other.user, one.user).await.expect("the same one").0
    }
}

impl Relay {
    /// Connects a person's device over WebSocket.
    pub async fn connect(&self, person: Person) -> Device {
        let builder = Client::builder().relay(format!("wss://{}/ws", self.node.address)).ca(&self.ca);
        let builder = builder.transport(Transport::WebSocket).token_source(Signed(person));
        let (client, events) = builder.connect().await.expect("connects");
        Device { client, events, seen: Vec::new() }
    }

    fn page(&self) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.node.internal).expect("listens");
        let request = "GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("asks");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answers");
        text
    }

    fn bus_figures(&self) -> String {
        self.page().lines().filter(|line| line.starts_with("relay_bus")).collect::<Vec<_>>().join("\n")
    }

    /// A figure of its page.
    pub fn figure(&self, name: &str) -> u64 {
        let text = self.page();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    /// Waits until a figure is as it should be.
    pub async fn until(&self, name: &str, right: impl Fn(u64) -> bool) {
        let began = Instant::now();
        while !right(self.figure(name)) {
            assert!(began.elapsed() < PATIENCE, "{name} is not right:\n{}", self.bus_figures());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Tokens of a person, signed anew each time.
struct Signed(Person);

impl TokenSource for Signed {
    fn token(&self, _: TokenNeed) -> TokenFuture<'_> {
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({
            "iss": "https://api.secure-messenger.local", "aud": "https://secure-messenger.local",
            "sub": self.0.user.to_string(), "device": self.0.device.to_string(),
            "iat": now_s(), "exp": now_s() + 900,
        });
        let signed = format!("{}.{}", encode(json!({"alg": "HS256", "kid": "test"})), encode(claims));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        Box::pin(async { Ok(token) })
    }
}

impl Device {
    pub async fn follow(&self, talk: ConversationId) {
        self.client.subscribe(talk, After::Start).await.expect("subscribes");
    }

    /// Publishes many at once; how many are acked within a few seconds. The client holds back what is over the limit.
    pub async fn try_many(&self, talk: ConversationId, count: usize) -> usize {
        let mut waiting = Vec::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(6);
        for n in 0..count {
            let message = PublishRequest::message(format!("{n}").into_bytes());
            let enqueued = tokio::time::timeout_at(deadline, self.client.enqueue(talk, message)).await;
            waiting.extend(enqueued.map(|enqueued| enqueued.expect("the client lives")));
        }
        let mut acked = 0;
        for publishing in waiting {
            let answer = tokio::time::timeout_at(deadline, publishing).await;
            acked += usize::from(answer.is_ok_and(|answer| answer.is_ok()));
        }
        acked
    }

    /// Publishes and waits for the ack.
    pub async fn say(&self, talk: ConversationId, text: &str) -> u64 {
        let message = PublishRequest::message(text.as_bytes().to_vec());
        self.client.publish(talk, message).await.expect("is acked").position.offset.0
    }

    /// Waits for an event; others are kept for later. A lost session is a failure.
    pub async fn wait<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Event) -> Option<T>,
    ) -> (T, Duration) {
        let began = Instant::now();
        if let Some((at, found)) =
            self.seen.iter().enumerate().find_map(|(at, event)| Some((at, wanted(event)?)))
        {
            self.seen.remove(at);
            return (found, began.elapsed());
        }
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let event = tokio::time::timeout(left, self.events.next()).await;
            let event = event.unwrap_or_else(|_| panic!("no {what} came")).expect("the client lives");
            assert!(
                !matches!(event, Event::Reconnecting { .. } | Event::Closed(_)),
                "a session was lost: {event:?}"
            );
            if let Some(found) = wanted(&event) {
                return (found, began.elapsed());
            }
            self.seen.push(event);
        }
    }

    /// Waits for a message of a conversation; how long it took from now.
    pub async fn hear(&mut self, talk: ConversationId, offset: u64) -> Duration {
        let what = format!("message {offset}");
        let is_it = |event: &Event| match event {
            Event::Delivery(d) if d.conversation == talk && d.position.offset.0 == offset => Some(()),
            _ => None,
        };
        self.wait(&what, is_it).await.1
    }

    /// Waits until a signal crosses that is repeated until then: the bus is back.
    pub async fn until_signal(&mut self, from: &Device, talk: ConversationId) {
        let began = Instant::now();
        for number in 0.. {
            assert!(began.elapsed() < PATIENCE, "no signal crosses");
            from.client.signal(talk, format!("are you there {number}").into_bytes()).expect("is sent");
            let soon = self.events.next();
            if let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(200), soon).await {
                assert!(!matches!(event, Event::Reconnecting { .. } | Event::Closed(_)), "{event:?}");
                if matches!(event, Event::Signal(_)) {
                    return;
                }
                self.seen.push(event);
            }
        }
    }

    /// Sends signals until the other device gets none of them any more; how long that took.
    pub async fn until_silence(&mut self, from: &Device, talk: ConversationId) -> Duration {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "signals go on");
            from.client.signal(talk, b"are you there".to_vec()).expect("is sent");
            let since = began.elapsed();
            let mut heard = false;
            while let Ok(Some(event)) =
                tokio::time::timeout(Duration::from_millis(500), self.events.next()).await
            {
                heard |= matches!(event, Event::Signal(_));
                self.seen.push(event);
            }
            if !heard {
                return since;
            }
        }
    }
}
