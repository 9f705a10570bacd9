//! One console per test: its own folder, store, port and clock.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use console::access::csrf;
use console::access::password::hash_password;
use console::{Clock, ConsoleConfig, Starting};
use schema_store::rows::account::Origin;
use schema_store::rows::console::{NewConsoleSession, Stage};
use schema_store::rows::role::AccountRole;
use schema_store::sqlite::{Options, SqliteStore};
use schema_store::{Accounts, ConsoleAccess, NewToken};
use schema_wire::UserId;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// When every test begins: a moment in 2027, in unix milliseconds.
pub const BEGIN_MS: u64 = 1_800_000_000_000;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

pub fn email(name: &str) -> String {
    format!("{name}@staff.example")
}

/// As a form's value travels.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// A running console.
pub struct Desk {
    pub origin: String,
    pub store: SqliteStore,
    /// What browsers ask for pages in.
    pub language: &'static str,
    /// Its hand; unix milliseconds.
    pub clock: Arc<AtomicU64>,
    data: PathBuf,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    finished: Option<JoinHandle<()>>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    /// The word left for the next page: a key.
    pub said: Option<String>,
    /// The session that the browser was given.
    pub session: Option<String>,
    pub text: String,
}

impl Desk {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With more in its environment, which wins.
    pub fn with(more: &[(&str, &str)]) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("console-pages-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let set = [
            ("API_ADDRESS", "127.0.0.1:0".to_owned()),
            ("CONSOLE_ADDRESS", "127.0.0.1:0".to_owned()),
            ("DATA_DIR", data.display().to_string()),
            ("RATE_LIMIT_MAX", "100000".to_owned()),
            ("RATE_LIMIT_AUTH_MAX", "100000".to_owned()),
            // RSA keys take long to make, and nothing here signs anything.
            ("JWT_ALGORITHM", "HS256".to_owned()),
            ("JWT_LEGACY_HS256_SECRET", "0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f".to_owned()),
        ];
        let lookup = |name: &str| {
            let more = more.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            more.or_else(|| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
        };
        let config = ConsoleConfig::from_env(false, lookup).unwrap();
        let (clock, hand) = Clock::manual(BEGIN_MS);
        let store_clock = clock.clone();
        let options = Options { clock: Arc::new(move || store_clock.now_ms()), ..Options::default() };
        let store = SqliteStore::open_with(&data.join("messenger.db"), options).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let starting = console::start(config, store.clone(), Starting { clock }, async {
            drop(stopped.await);
        });
        let served = runtime.block_on(starting).unwrap();
        let origin = format!("http://{}", served.pages.unwrap());
        let (runtime, stop, finished) = (Some(runtime), Some(stop), Some(served.finished));
        Self { origin, store, language: "en", clock: hand, data, runtime, stop, finished }
    }

    /// Stops the console as its operator does, and waits until it stopped. The store stays open.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(finished) = self.finished.take() {
            self.run(finished).unwrap();
        }
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    /// The cookie of somebody new with this role.
    pub fn fresh_session(&self, role: AccountRole) -> String {
        self.session(role, Stage::Full)
    }

    /// The same, at this stage.
    pub fn session(&self, role: AccountRole, stage: Stage) -> String {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let email = format!("somebody{}@staff.example", SERIAL.fetch_add(1, Ordering::Relaxed));
        let user = self.run(self.store.create_admin(email, "somebody".into(), "none".into(), role)).unwrap();
        self.session_of(user, stage)
    }

    /// The cookie of this account.
    pub fn session_of(&self, user: UserId, stage: Stage) -> String {
        let (secret, token) = NewToken::generate(BEGIN_MS + 3_600_000);
        let new = NewConsoleSession { token, user, stage, replaces: None, lock_subject: None };
        self.run(self.store.open_console_session(new, Origin::system())).unwrap();
        secret
    }

    /// Somebody with this role and a password.
    pub fn person(&self, name: &str, role: AccountRole) -> UserId {
        static HASH: OnceLock<String> = OnceLock::new();
        let hash = HASH.get_or_init(|| hash_password(PASSWORD).unwrap()).clone();
        self.run(self.store.create_admin(email(name), name.to_owned(), hash, role)).unwrap()
    }

    /// Address and password, as somebody at a browser of their own.
    pub fn sign_in(&self, name: &str, password: &str) -> Answer {
        let fields = format!("email={}&password={}", encoded(&email(name)), encoded(password));
        self.post("/sign-in", Some("a-browser-that-was-never-here"), &fields)
    }

    pub fn forward(&self, by: Duration) {
        self.clock.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    pub fn get(&self, path: &str, cookie: Option<&str>) -> Answer {
        self.send("GET", path, cookie, String::new())
    }

    /// A form as a browser sends it from a page of this console.
    pub fn post(&self, path: &str, cookie: Option<&str>, fields: &str) -> Answer {
        let token = csrf::token(cookie.unwrap_or(""));
        self.send("POST", path, cookie, format!("csrf={token}&{fields}"))
    }

    /// A form that comes with these headers and this token, from wherever. Only its status: it is to be refused.
    pub fn post_from(
        &self,
        path: &str,
        cookie: Option<&str>,
        token: Option<&str>,
        headers: &[(&str, &str)],
    ) -> u16 {
        let mut request = agent().post(format!("{}{path}", self.origin));
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = cookie {
            request = request.header("cookie", format!("session={cookie}"));
        }
        let body = token.map_or(String::new(), |token| format!("csrf={token}"));
        request.send(body).unwrap().status().as_u16()
    }

    fn send(&self, method: &str, path: &str, cookie: Option<&str>, body: String) -> Answer {
        let agent = agent();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.origin));
        request = request.header("accept-language", self.language);
        if let Some(cookie) = cookie {
            request = request.header("cookie", format!("session={cookie}"));
        }
        let answer = if method == "GET" {
            agent.run(request.body(()).unwrap())
        } else {
            let request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .header("origin", self.origin.clone())
                .header("sec-fetch-site", "same-origin");
            agent.run(request.body(body).unwrap())
        };
        let mut answer = answer.unwrap();
        let location = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        let set = |cookie: &str| {
            let all = answer.headers().get_all("set-cookie").iter().filter_map(|line| line.to_str().ok());
            let set =
                all.filter_map(|line| line.strip_prefix(cookie)).find_map(|rest| rest.split(';').next());
            set.filter(|set| !set.is_empty()).map(str::to_owned)
        };
        let (said, session) = (set("said="), set("session="));
        let status = answer.status().as_u16();
        // What has no end is not waited for.
        let is_stream = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let text = if is_stream { String::new() } else { answer.body_mut().read_to_string().unwrap() };
        Answer { status, location, said, session, text }
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    config.timeout_global(Some(Duration::from_secs(30))).build().into()
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
