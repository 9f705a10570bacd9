//! `messenger up` on PostgreSQL: that it serves, and each start that must not happen. Real servers, real processes.
#![allow(clippy::unwrap_used)]

mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use server::finish;
use servers::{Bouncer, Options, Postgres, Redis, RedisOptions, Sync};

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
    assert_eq!(server.sql("SELECT DISTINCT version FROM relay_nodes"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_is_older_than_messages_are_kept_leaves_soon_after_that_is_set() {
    let (server, folder) = (Postgres::start(), Folder::new());
    let url = server.url("postgres");
    migrate(&url);
    server.sql(
        "CREATE TABLE messages_2020_01 PARTITION OF messages FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z');
         INSERT INTO audit_logs (id, event_type, created_at, hash)
           VALUES (1, 'OLD', now() - interval '200 days', decode(repeat('00', 32), 'hex'))",
    );
    let (child, _) = ready(&mut folder.up(&url));
    let attached = "SELECT count(*) FROM pg_inherits WHERE inhrelid = 'messages_2020_01'::regclass";
    let old = "SELECT count(*) FROM audit_logs WHERE event_type = 'OLD'";
    // It has looked after its start: everything is kept for good.
    server.until("SELECT count(*) > 0 FROM relay_nodes WHERE state = 'READY'", "t");
    assert_eq!((server.sql(attached), server.sql(old)), ("1".to_owned(), "1".to_owned()));
    server.sql(
        "INSERT INTO operator_settings (name, value, changed_at)
           VALUES ('keep-messages-months', '24', now()), ('keep-audit-days', '90', now())",
    );
    server.until(attached, "0");
    server.until(old, "0");
    assert_eq!(server.sql("SELECT count(*) FROM audit_logs WHERE event_type = 'AUDIT_PRUNED'"), "1");
    assert_eq!(
        server.sql("SELECT count(*) FROM messages_2020_01"),
        "0",
        "the table is theirs who run the server"
    );
    terminate(child);
}

#[test]
fn a_redis_of_others_stops_the_start_and_stays_as_it_is() {
    let (server, redis, folder) = (Postgres::start(), Redis::start(), Folder::new());
    let url = server.url("postgres");
    migrate(&url);
    redis.command(&["SET", "session:17", "theirs"]);
    refused(folder.up(&url).env("REDIS_URL", redis.url()), 2, "data of another program");
    assert_eq!(redis.command(&["KEYS", "*"]).text() + &redis.command(&["DBSIZE"]).text(), "1");
    redis.flush();
    let (child, _) = ready(folder.up(&url).env("REDIS_URL", redis.url()));
    terminate(child);
    let other = server.database("other");
    migrate(&other);
    refused(folder.up(&other).env("REDIS_URL", redis.url()), 2, "another installation");
    let (child, _) = ready(folder.up(&url).env("REDIS_URL", redis.url()));
    terminate(child);
}

/// One of the demo's people runs a client subcommand.
fn client(ready: &serde_json::Value, name: &str, person: usize) -> Command {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let user = &ready["demo"]["users"][person];
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
    command.args([name, "--relay", &text(&ready["relay_quic"]), "--api", &text(&ready["api"])]);
    command.args(["--ca", &text(&ready["ca"]), "--email", &text(&user["email"])]);
    command.env("MESSENGER_CONVERSATION", text(&ready["demo"]["conversation"]));
    command.env("MESSENGER_PASSWORD", text(&user["password"]));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Alice sends so many messages, and Bob hears all there are.
fn talk(ready: &serde_json::Value, count: usize) {
    talk_on(ready, 0, count);
}

/// The same after those that were sent before.
fn talk_on(ready: &serde_json::Value, before: usize, more: usize) {
    let count = before + more;
    for n in before..count {
        let sent = finish(client(ready, "send", 0).args(["--text", &format!("{n}")]).spawn().unwrap());
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    }
    let mut command = client(ready, "listen", 1);
    let heard =
        finish(command.args(["--json", "--after", "0", "--count", &count.to_string()]).spawn().unwrap());
    assert!(heard.status.success(), "{}", String::from_utf8_lossy(&heard.stderr));
    let texts: Vec<_> = server::lines(&heard).iter().map(|line| line["text"].to_string()).collect();
    assert_eq!(texts, (0..count).map(|n| format!("\"{n}\"")).collect::<Vec<_>>());
}

#[test]
fn it_serves_through_a_pooler_and_reads_from_a_replica() {
    let (server, folder) = (Postgres::start(), Folder::new());
    migrate(&server.url("postgres"));
    let standby = server.standby(Sync::Asynchronous, None);
    let bouncer = Bouncer::before(&server);
    let mut command = folder.up(&bouncer.url("postgres"));
    command.env("DATABASE_POOLER", "transaction").env("DATABASE_REPLICA_URLS", standby.url("postgres"));
    let (child, ready) = ready(command.arg("--demo"));
    talk(&ready, 3);
    let by_node = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'messenger'";
    assert_eq!(standby.sql(by_node), "t", "the replica is asked");
    let reads = "SELECT sum(coalesce(idx_scan, 0) + seq_scan) > 0 FROM pg_stat_user_tables WHERE relname LIKE 'messages%'";
    standby.until(reads, "t");
    terminate(child);
}

#[test]
fn a_node_runs_on_while_the_schema_moves_ahead_of_it_and_starts_on_it_too() {
    let (server, redis, folder) = (Postgres::start(), Redis::start(), Folder::new());
    let url = server.url("postgres");
    migrate(&url);
    let (child, first) = ready(folder.up(&url).env("REDIS_URL", redis.url()).arg("--demo"));
    talk(&first, 2);
    // What the next version may do while this one runs: every table grows, and the floor stays.
    server.sql(
        "DO $$ DECLARE t text; BEGIN
           FOR t IN SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
               AND NOT relispartition AND relname <> 'refinery_schema_history' LOOP
             EXECUTE format('ALTER TABLE %I ADD COLUMN later bigint NOT NULL DEFAULT 7', t);
           END LOOP;
         END $$;
         CREATE TABLE of_the_next_version (id bigint PRIMARY KEY);
         INSERT INTO change_log (kind, text) VALUES ('OF_THE_NEXT_VERSION', 'unknown here');
         INSERT INTO refinery_schema_history SELECT 99, 'later', applied_on, checksum FROM refinery_schema_history LIMIT 1",
    );
    talk_on(&first, 2, 2);
    terminate(child);
    let (child, second) = ready(folder.up(&url).env("REDIS_URL", redis.url()).arg("--demo"));
    talk_on(&second, 4, 2);
    terminate(child);
    assert_eq!(server.sql("SELECT DISTINCT later FROM messages"), "7");
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
