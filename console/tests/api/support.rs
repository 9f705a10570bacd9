//! One API per test: its own folder, store, port and clock.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use console::access::password::hash_password;
use console::access::rsa_key;
use console::front::metrics::Metrics;
use console::{Clock, ConsoleConfig, Starting};
use schema_store::Accounts;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_wire::UserId;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::kept::{Kept, Store};

/// When every test begins: a moment in 2027, in unix milliseconds.
pub const BEGIN_MS: u64 = 1_800_000_000_000;
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

/// A running API and all it stands on.
pub struct Api {
    pub url: String,
    pub store: Store,
    pub clock: Arc<AtomicU64>,
    pub jwks: String,
    pub admin: Option<std::net::SocketAddr>,
    pub internal: Option<std::net::SocketAddr>,
    pub metrics: Arc<Metrics>,
    pub data: PathBuf,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    finished: Option<tokio::task::JoinHandle<()>>,
    /// What the store is kept by; ends last.
    _kept: Kept,
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Session {
    pub access: String,
    pub refresh: String,
    pub user: String,
    pub device: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Api {
    /// With limits so wide that only tests about limits meet them.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these variables.
    pub fn with(set: &[(&str, &str)]) -> Self {
        Self::with_demo(set, false)
    }

    pub fn with_demo(set: &[(&str, &str)], demo: bool) -> Self {
        let data = fresh_folder();
        let key = shared_key().display().to_string();
        let folder = data.display().to_string();
        let usual = [
            ("API_ADDRESS", "127.0.0.1:0"),
            ("CONSOLE_ADDRESS", "127.0.0.1:0"),
            ("DATA_DIR", folder.as_str()),
            ("JWT_PRIVATE_KEY_FILE", key.as_str()),
            ("RATE_LIMIT_MAX", "100000"),
            ("RATE_LIMIT_AUTH_MAX", "100000"),
        ];
        let lookup = |name: &str| {
            set.iter().chain(&usual).find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let config = ConsoleConfig::from_env(demo, lookup).unwrap();
        Self::with_config(config, data)
    }

    pub fn with_config(config: ConsoleConfig, data: PathBuf) -> Self {
        let (clock, hand) = Clock::manual(BEGIN_MS);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (kept, store) = runtime.block_on(Kept::open(&config, clock.clone()));
        let (stop, stopped) = oneshot::channel::<()>();
        let starting = Starting { clock };
        let served = runtime
            .block_on(console::start(config, store.clone(), starting, async { drop(stopped.await) }))
            .unwrap();
        Self {
            url: format!("http://{}", served.address),
            store,
            clock: hand,
            jwks: served.jwks,
            internal: served.internal,
            admin: served.admin,
            metrics: served.metrics,
            data,
            runtime: Some(runtime),
            stop: Some(stop),
            finished: Some(served.finished),
            _kept: kept,
        }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.url.trim_start_matches("http://").parse().unwrap()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    /// Stops as SIGTERM would; returns once everything was answered.
    pub fn stop(&mut self) {
        if let (Some(stop), Some(finished)) = (self.stop.take(), self.finished.take()) {
            let _ = stop.send(());
            self.run(async {
                tokio::time::timeout(Duration::from_secs(20), finished).await.unwrap().unwrap()
            });
        }
    }

    /// An active account, without going through registration.
    pub fn account(&self, name: &str) -> UserId {
        let new = Registration {
            email: email(name),
            name: name.to_owned(),
            password_hash: hash(),
            invite: None,
            activation: Activation::Immediate,
        };
        self.run(self.store.register(new, Origin::system())).unwrap()
    }

    /// The same, logged in.
    pub fn user(&self, name: &str) -> Session {
        self.account(name);
        self.log_in(name)
    }

    pub fn log_in(&self, name: &str) -> Session {
        let body = json!({"email": email(name), "password": PASSWORD, "device": format!("{name}'s phone")});
        let answer = self.post("/api/v1/auth/login", None, &body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        session(&answer.json())
    }

    pub fn get(&self, path: &str, who: Option<&Session>) -> Answer {
        self.send("GET", path, who.map(|s| s.access.as_str()), None, &[])
    }

    pub fn post(&self, path: &str, who: Option<&Session>, body: &Value) -> Answer {
        self.send("POST", path, who.map(|s| s.access.as_str()), Some(body.to_string()), &[])
    }

    pub fn put(&self, path: &str, who: &Session, body: &Value) -> Answer {
        self.send("PUT", path, Some(&who.access), Some(body.to_string()), &[])
    }

    pub fn patch(&self, path: &str, who: &Session, body: &Value) -> Answer {
        self.send("PATCH", path, Some(&who.access), Some(body.to_string()), &[])
    }

    pub fn delete(&self, path: &str, who: &Session, body: Option<&Value>) -> Answer {
        self.send("DELETE", path, Some(&who.access), body.map(Value::to_string), &[])
    }

    /// Anything.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent = agent();
        let answer = match body {
            Some(body) => agent.run(request.body(body).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        };
        let mut answer = answer.unwrap();
        let headers = answer.headers().clone();
        let status = answer.status().as_u16();
        Answer { status, headers, text: answer.body_mut().read_to_string().unwrap() }
    }

    /// The newest letter to this person, once there are `count` letters in all.
    pub fn letter(&self, count: usize, name: &str) -> String {
        let folder = self.data.join("mail");
        for _ in 0..500 {
            let mut letters: Vec<PathBuf> = std::fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
                .collect();
            letters.sort();
            if letters.len() >= count {
                assert_eq!(letters.len(), count, "no letter too many");
                let text = std::fs::read_to_string(letters.last().unwrap()).unwrap();
                assert!(text.contains(&email(name)), "{text}");
                return text.replace("=\r\n", "").replace("=3D", "=");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{count} letters did not come");
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("not a refusal: {}", self.text))
            .to_owned()
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.json()
    }

    #[track_caller]
    pub fn refused(self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text);
    }
}

pub fn session(body: &Value) -> Session {
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    Session {
        access: text("access_token"),
        refresh: text("refresh_token"),
        user: text("user"),
        device: text("device"),
    }
}

pub fn email(name: &str) -> String {
    format!("{name}@home.example")
}

/// The token inside a link.
pub fn token_in(letter: &str) -> String {
    let rest = letter.split("token=").nth(1).expect("the letter holds a link");
    rest.chars().take_while(char::is_ascii_alphanumeric).collect()
}

pub fn fresh_folder() -> PathBuf {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("console-api-{}-{serial}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Making an RSA key takes long, so that all tests share one.
pub fn shared_key() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console-signing.pem");
    rsa_key::ensure_private(&path).unwrap();
    path
}

fn hash() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash_password(PASSWORD).unwrap()).clone()
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into()
}
