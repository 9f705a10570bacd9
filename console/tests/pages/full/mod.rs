//! The pages of a product that is full: the real program on a private PostgreSQL server that holds a made-up two years of
//! use, and every page there is to read, with parameters that name what is there.

mod plans;
mod times;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::Method;
use console::frame::route::Who;
use console::pages::duties;
use dataset::{Shape, load, user};
use schema_store::postgres::{Options as StoreOptions, migrate};
use schema_store::rows::account::Origin;
use schema_store::rows::console::{NewConsoleSession, NewSecurityKey, SecurityKeyId, Stage};
use schema_store::rows::moderation::{CaseFilter, DecisionId};
use schema_store::{ConsoleAccess, Moderation, NewToken, PostgresStore, SqliteStore};
use schema_wire::UserId;
use servers::{Options, Port, Postgres};

/// How long the program may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The program under test, when it is another one than the tests were built with.
const PROGRAM: &str = "CONSOLE_TEST_PROGRAM";

/// The server, the program on it, and an administrator's session.
pub struct Full {
    pub server: Postgres,
    pub shape: Shape,
    pub pages: SocketAddr,
    child: Child,
    cookie: String,
    names: Names,
    /// The administrator's.
    key: SecurityKeyId,
    data: PathBuf,
    _ports: [Port; 2],
}

/// What stands in place of parameters.
struct Names {
    reported: UserId,
    /// Time and account of a row in the middle of each list of cases.
    places: Vec<(&'static str, String)>,
    decision: Option<DecisionId>,
}

/// A page, as the table of routes has it, and an address of it.
#[derive(Clone, Debug)]
pub struct Page {
    pub route: &'static str,
    pub address: String,
}

impl Full {
    /// Loads everything and starts the program.
    pub async fn start(shape: Shape, options: Options) -> Self {
        let options =
            options.set("shared_buffers", "512MB").set("max_wal_size", "4GB").set("work_mem", "16MB");
        let options =
            options.set("autovacuum", "off").set("wal_level", "minimal").set("max_wal_senders", "0");
        let server = Postgres::start_with(options);
        let mut client = server.connect().await;
        migrate(&mut client).await.unwrap();
        load(&client, &shape, |said| println!("{said}")).await.unwrap();
        let store = PostgresStore::open(&server.url("postgres"), StoreOptions::default()).await.unwrap();
        let (cookie, token) = NewToken::generate(shape.now_ms + 3_600_000 * 12);
        // The first of the staff is an administrator.
        let administrator = user(&shape, 0);
        let new = NewConsoleSession {
            token,
            user: administrator,
            stage: Stage::Full,
            replaces: None,
            lock_subject: None,
        };
        store.open_console_session(new, Origin::system()).await.unwrap();
        let key = NewSecurityKey {
            name: "blue".into(),
            credential: vec![7; 32],
            public_key: vec![9; 77],
            sign_count: 0,
            backup_eligible: false,
        };
        let key = store.add_security_key(administrator, key, Origin::system()).await.unwrap();
        let names = Names::find(&store, &shape).await;
        let ports = [Port::free(), Port::free()];
        let data = std::env::temp_dir().join(format!("console-full-{}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let (child, pages) = (run(&server, &data, &ports), ports[0].address());
        Self { server, shape, pages, child, cookie, names, key, data, _ports: ports }
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every page that can be read, most of them with several addresses.
    pub fn pages(&self) -> Vec<Page> {
        let mut pages = Vec::new();
        for duty in duties::<SqliteStore>() {
            if duty.method != Method::GET || matches!(duty.who, Who::Halfway(_)) {
                continue;
            }
            let reported = self.names.reported.to_string();
            let path =
                duty.path.replace("{user}", &reported).replace("{key}", &UserId(self.key.0).to_string());
            assert!(!path.contains('{'), "{path}: say here what stands for it");
            let address = |query: String| Page { route: duty.path, address: format!("{path}{query}") };
            pages.push(address(String::new()));
            pages.extend(self.queries(duty.path).into_iter().map(address));
        }
        pages
    }

    /// Further addresses of a page: what can be looked for in it, and later parts of its lists.
    fn queries(&self, route: &str) -> Vec<String> {
        let middle = user(&self.shape, self.shape.users / 2);
        match route {
            "/moderation" => {
                let mut queries: Vec<String> = vec!["?state=mine".into(), "?q=lovelace".into()];
                queries.extend(
                    self.names.places.iter().map(|(state, after)| format!("?state={state}&after={after}")),
                );
                queries.extend(["open", "decided", "resolved"].map(|state| format!("?state={state}")));
                queries.extend(self.names.decision.map(|one| format!("?undo={}", UserId(one.0))));
                queries
            }
            "/moderation/addresses" => vec!["?before=1500".into()],
            // Common and rare words, beginnings, ids, nobody; and a later page.
            "/users" => vec![
                "?q=smith".into(),
                "?q=zo%C3%AB+o%27brien".into(),
                format!("?q={}", dataset::email(&self.shape, self.shape.users / 3)),
                "?q=ada.lovelace.77".into(),
                "?q=nobody-is-called-this".into(),
                "?q=an".into(),
                "?q=qx".into(),
                format!("?q={}", &middle.to_string()[..13]),
                format!("?before={middle}"),
                format!("?q=smith&before={middle}"),
                format!("?q=people-3.example&before={middle}"),
            ],
            "/audit" => vec![
                "?event=LOGIN_FAILED".into(),
                "?event=KEY_CHANGE&before=1000".into(),
                "?event=NEVER_HAPPENED".into(),
                format!("?user={middle}"),
                format!("?user={middle}&event=LOGIN"),
                format!("?before={}", self.shape.entries() / 2),
            ],
            "/metrics" => vec!["?range=24h".into(), "?range=30d".into(), "?step=deliver".into()],
            "/metrics.csv" | "/metrics.hlog" => vec!["?range=30d".into()],
            _ => Vec::new(),
        }
    }

    /// Asks for a page; status, and time until its last byte.
    pub fn ask(&self, agent: &ureq::Agent, page: &Page) -> (u16, Duration) {
        let request = agent.get(format!("http://{}{}", self.pages, page.address));
        let began = std::time::Instant::now();
        let mut answer = request.header("cookie", format!("session={}", self.cookie)).call().unwrap();
        // What has no end is not waited for.
        if answer.headers().get("content-type").is_none_or(|kind| kind != "text/event-stream") {
            answer.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap();
        }
        (answer.status().as_u16(), began.elapsed())
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

impl Names {
    async fn find(store: &PostgresStore, shape: &Shape) -> Self {
        let mut places = Vec::new();
        for (state, filter) in [("open", CaseFilter::Open), ("resolved", CaseFilter::Resolved)] {
            let mut after = None;
            for _ in 0..5 {
                let cases = store.cases(filter, after, 50).await.unwrap();
                let Some(last) = cases.last() else { break };
                let at = if state == "open" { last.opened_at } else { last.resolved_at.unwrap() };
                after = Some((at, last.user));
            }
            places.extend(after.map(|(at, user)| (state, format!("{at}.{user}"))));
        }
        let waiting = store.waiting_decisions(1).await.unwrap();
        Self { reported: shape.reported(), places, decision: waiting.first().map(|one| one.id) }
    }
}

/// Starts the program, and waits until it answers.
fn run(server: &Postgres, data: &std::path::Path, ports: &[Port; 2]) -> Child {
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_console").into());
    let mut command = Command::new(program);
    command.env_clear().env("DATABASE_URL", server.url("postgres")).env("DATA_DIR", data);
    command
        .env("CONSOLE_ADDRESS", ports[0].address().to_string())
        .env("API_ADDRESS", ports[1].address().to_string());
    command.env("RATE_LIMIT_MAX", "1000000").env("RUST_LOG", "warn");
    // RSA keys take long to make, and nothing here signs anything.
    command.env("JWT_ALGORITHM", "HS256");
    command.env("JWT_LEGACY_HS256_SECRET", "0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
    let began = std::time::Instant::now();
    while TcpStream::connect(ports[0].address()).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "the program ended");
        assert!(began.elapsed() < PATIENCE, "the program does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// One that keeps its connections.
pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    config.timeout_global(Some(PATIENCE)).build().into()
}

/// Unix milliseconds.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Full {
    /// What was kept of thirty days and of three nodes is there and read: nothing is measured empty.
    fn must_be_full(&self) {
        let text = |address: &str| {
            let request = agent().get(format!("http://{}{address}", self.pages));
            let mut answer = request.header("cookie", format!("session={}", self.cookie)).call().unwrap();
            answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap()
        };
        let csv = text("/metrics.csv?range=30d");
        assert!(csv.lines().count() > 700, "thirty days of hours: {} lines", csv.lines().count());
        let median = |line: &str| line.split(',').nth(2).is_some_and(|cell| !cell.is_empty());
        assert!(csv.lines().skip(1).all(median), "each with its figures");
        assert!(text("/metrics.hlog?range=30d").lines().count() > 700 * 20, "and histograms");
        // The second look reads what the first one wrote.
        for look in 1..=2 {
            let page = text("/metrics?range=30d");
            let charts = page.matches("<figure class=\"chart\"").count();
            assert!(charts >= 6, "look {look}: {charts} charts");
            assert!(page.contains("/metrics.csv?range=30d&amp;step=append&amp;series=cpu"), "look {look}");
        }
        let nodes = text("/nodes");
        assert!((1..=3).all(|n| nodes.contains(&format!("relay-{n}"))), "{nodes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_reads_a_large_table_from_end_to_end() {
    let full = Full::start(Shape::moderate(now_ms()), plans::explained()).await;
    full.must_be_full();
    plans::look(&full);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a million people: it measures for minutes, and needs 6 GB of disk"]
async fn every_page_of_a_full_product() {
    let full = Full::start(Shape::full(now_ms()), Options { on_disk: true, ..plans::explained() }).await;
    full.must_be_full();
    times::look(&full);
    plans::look(&full);
}
