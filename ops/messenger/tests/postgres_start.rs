//! `messenger up` on PostgreSQL: that it serves, and each start that must not happen. Real servers, real processes.
#![allow(clippy::unwrap_used)]

mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use server::finish;
use servers::{Options, Postgres, Redis, RedisOptions, Sync};

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("postgres-start-{:016x}", getrandom::u64().unwrap())))
    }

    fn up(&self, url: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(["up", "--json", "--shards", "1", "--relay-port", "0", "--api-port", "0", "--data"]);
        command.arg(&self.0).env("DATABASE_URL", url);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn migrate(url: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
    assert!(
        command.arg("migrate").env("DATABASE_URL", url).stdout(Stdio::null()).status().unwrap().success()
    );
}

/// Ends with one line that holds `part`, and that code.
#[track_caller]
fn refused(command: &mut Command, code: i32, part: &str) {
    let output = finish(command.spawn().unwrap());
    let text = String::from_utf8(output.stderr).unwrap();
    let said: Vec<&str> = text.lines().filter(|line| line.starts_with("messenger: ")).collect();
    assert_eq!((output.status.code(), said.len()), (Some(code), 1), "{text}");
    assert!(said[0].contains(part) && !text.contains("hunter2"), "{part} in {text}");
    assert!(output.stdout.is_empty(), "it was never ready");
}

/// Waits until it is ready.
fn ready(command: &mut Command) -> (Child, serde_json::Value) {
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).expect("it starts"))
}

fn terminate(child: Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(finish(child).status.success(), "it drains");
}

#[test]
fn nodes_share_a_database_and_each_has_its_number() {
    let (server, redis) = (Postgres::start(), Redis::start());
    let url = server.url("postgres");
    migrate(&url);
    let folders = [Folder::new(), Folder::new()];
    let nodes: Vec<_> = folders.iter().map(|f| ready(f.up(&url).env("REDIS_URL", redis.url()))).collect();
    let listed = "SELECT string_agg(id || ' ' || state || ' ' || address, ',' ORDER BY id) FROM relay_nodes";
    let address =
        |n: usize| nodes[n].1["internal"].as_str().unwrap().trim_start_matches("http://").to_owned();
    server.until(listed, &format!("1 READY {},2 READY {}", address(0), address(1)));
    for (_, ready) in &nodes {
        let at = ready["console"].as_str().expect("each serves the pages").trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(at).unwrap();
        stream.write_all(b"GET /sign-in HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    }
    let taken = Folder::new();
    refused(taken.up(&url).env("RELAY_NODE_ID", "1"), 2, "RELAY_NODE_ID");
    for (child, _) in nodes {
        terminate(child);
    }
    server.until("SELECT string_agg(state, ',') FROM relay_nodes", "GONE,GONE");
}

#[test]
fn a_schema_that_does_not_fit_stops_the_start_and_stays_as_it_is() {
    let (server, folder) = (Postgres::start(), Folder::new());
    let url = server.url("postgres");
    refused(&mut folder.up(&url), 9, "messenger migrate");
    assert_eq!(server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    migrate(&url);
    server.sql("DELETE FROM refinery_schema_history WHERE version > 4");
    refused(&mut folder.up(&url), 9, "messenger migrate");
    server.sql("UPDATE schema_floor SET version = 99");
    server.sql("INSERT INTO refinery_schema_history SELECT 99, 'later', applied_on, checksum FROM refinery_schema_history LIMIT 1");
    refused(&mut folder.up(&url), 6, "update this program");
    let standby = server.standby(Sync::Asynchronous, None);
    refused(&mut folder.up(&standby.url("postgres")), 2, "primary");
}

#[test]
fn wrong_passwords_and_missing_rights_stop_the_start() {
    let options = Options { password: Some("hunter2".into()), ..Options::default() };
    let (mut server, folder) = (Postgres::start_with(options), Folder::new());
    let url = server.url("postgres");
    migrate(&url);
    refused(&mut folder.up(&url.replace("hunter2", "wrong")), 8, "password");
    server.sql("CREATE ROLE guest LOGIN PASSWORD 'hunter2'");
    refused(&mut folder.up(&url.replace("//test:", "//guest:")), 8, "permission denied");
    let wrong = RedisOptions { password: Some("correct".into()), ..RedisOptions::default() };
    let redis = Redis::start_with(&wrong);
    let other = redis.url().replace("correct", "hunter2");
    refused(folder.up(&url).env("REDIS_URL", other), 2, "password");
    server.stop(servers::Stop::Fast);
    refused(&mut folder.up(&url), 8, "check that PostgreSQL runs");
}
