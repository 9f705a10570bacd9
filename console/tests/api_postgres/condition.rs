//! How PostgreSQL and Redis do, on the page of figures, in its files and for Prometheus: by the program itself.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use schema_store::postgres::{Options as StoreOptions, migrate};
use schema_store::rows::account::Origin;
use schema_store::rows::console::{NewConsoleSession, Stage};
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, ConsoleAccess, NewToken, PostgresStore};
use servers::{Options, Port, Postgres, Redis};

use crate::killed::program;
use crate::support::fresh_folder;

/// Longer than two looks, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// The cookie of somebody who runs the product.
async fn operator(url: &str) -> String {
    let store = PostgresStore::open(url, StoreOptions::default()).await.unwrap();
    let user = store.create_admin("sue@staff.example".into(), "sue".into(), "none".into(), AccountRole::Sre);
    let user = user.await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (secret, token) = NewToken::generate(now.as_millis() as u64 + 3_600_000);
    let new = NewConsoleSession { token, user, stage: Stage::Full, replaces: None, lock_subject: None };
    store.open_console_session(new, Origin::system()).await.unwrap();
    secret
}

fn read(url: &str, cookie: &str) -> String {
    let mut answer = ureq::get(url).header("cookie", format!("session={cookie}")).call().unwrap();
    answer.body_mut().read_to_string().unwrap()
}

#[tokio::test]
async fn database_and_redis_are_shown() {
    let options = Options::default().set("shared_preload_libraries", "pg_stat_statements");
    let (server, redis, internal) = (Postgres::start_with(options), Redis::start(), Port::free());
    migrate(&mut server.connect().await).await.unwrap();
    server.sql("CREATE EXTENSION pg_stat_statements; SELECT pg_sleep(0.3), 'ada@example.org'");
    let cookie = operator(&server.url("postgres")).await;
    let data = fresh_folder();
    let internal = format!("127.0.0.1:{}", internal.number);
    let mut command = program(&server.url("postgres"), &data);
    command.env("REDIS_URL", redis.url()).env("CONSOLE_ADDRESS", "127.0.0.1:0");
    command.env("INTERNAL_ADDRESS", &internal).env("RATE_LIMIT_MAX", "100000");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map(Result::unwrap).find(|line| line.contains("the account API is ready")).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let pages = ready["fields"]["pages"].to_string();
    let pages = format!("http://{}", pages.trim_matches(|c: char| !c.is_ascii_digit()));
    let began = Instant::now();
    let mut page = read(&format!("{pages}/metrics"), &cookie);
    while !page.contains("Transactions per second") {
        assert!(began.elapsed() < SOON, "{page}");
        std::thread::sleep(Duration::from_millis(500));
        page = read(&format!("{pages}/metrics"), &cookie);
    }
    for part in ["PostgreSQL 15", "(pg_stat_statements)", "SELECT pg_sleep(", "No replica follows", "Redis 7"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("ada@example.org"), "what was typed is nobody's business");
    let csv = read(&format!("{pages}/metrics.csv?series=transactions"), &cookie);
    let mut lines = csv.lines();
    let head = "began_at,length_ms,transactions_commits_per_s,transactions_rollbacks_per_s";
    assert_eq!(lines.next(), Some(head));
    assert!(lines.any(|line| line.split(',').nth(2).is_some_and(|rate| rate != "0.0")), "{csv}");
    let figures = read(&format!("http://{internal}/metrics"), "");
    for name in ["database_commits_total ", "database_connections{state=\"idle\"} ", "redis_servers 1"] {
        assert!(figures.lines().any(|line| line.starts_with(name)), "{name} in {figures}");
    }
    let stop = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(stop.success() && child.wait().unwrap().success());
    std::fs::remove_dir_all(data).unwrap();
}
