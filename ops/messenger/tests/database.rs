//! `messenger migrate` against real servers: what it does, and each reason why it does nothing.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output, Stdio};

use servers::{Options, Postgres, Sync, Tls};

fn migrate(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).arg("migrate");
    command.env("DATABASE_URL", url).stdin(Stdio::null());
    command
}

#[track_caller]
fn migrated(url: &str, applied: usize) {
    let Output { status, stdout, stderr } = migrate(url).output().unwrap();
    let (said, error) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{said}{error}");
    assert!(said.contains(&format!("migrations applied: {applied}\n")), "{said}");
}

/// One line with all of `parts`, that exit code, and no secret.
#[track_caller]
fn refused(url: &str, code: i32, parts: &[&str]) {
    let output = migrate(url).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> = stderr.lines().filter(|line| line.starts_with("messenger: ")).collect();
    assert_eq!((output.status.code(), said.len()), (Some(code), 1), "{stderr}");
    for part in parts {
        assert!(said[0].contains(part), "{part} in {}", said[0]);
    }
    assert!(!stderr.contains("hunter2") && output.stdout.is_empty(), "{stderr}");
}

/// How many migrations this version has.
fn all(server: &Postgres) -> usize {
    server.sql("SELECT count(*) FROM refinery_schema_history").parse().unwrap()
}

#[test]
fn it_may_run_twice_and_by_several_at_once() {
    let server = Postgres::start();
    let url = server.url("postgres");
    let running: Vec<_> = (0..4).map(|_| migrate(&url).stdout(Stdio::piped()).spawn().unwrap()).collect();
    let said = running.into_iter().map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    let none = said.filter(|said| said.ends_with("applied: 0\n")).count();
    assert_eq!(none, 3, "one of them did it all");
    migrated(&url, 0);
    server.sql("INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')");
    refused(&url, 6, &["newer", "99", "update"]);
}

#[test]
fn what_cannot_be_reached_or_used_is_said_in_one_line() {
    let options = Options { password: Some("hunter2".into()), ..Options::default() };
    let mut server = Postgres::start_with(options);
    let url = server.url("postgres");
    refused("postgres://u:hunter2@127.0.0.1:port/x", 2, &["DATABASE_URL"]);
    refused("mysql://u:hunter2@127.0.0.1/x", 2, &["DATABASE_URL"]);
    refused(&url.replace("hunter2", "wrong"), 8, &["password"]);
    refused(&server.url("missing"), 8, &["missing", "create the database"]);
    server.sql("CREATE ROLE guest LOGIN PASSWORD 'hunter2'");
    refused(&url.replace("//test:", "//guest:"), 8, &["permission denied"]);
    refused(&format!("{url}?sslmode=require"), 8, &["TLS"]);
    server.stop(servers::Stop::Fast);
    refused(&url, 8, &["127.0.0.1", "check that PostgreSQL runs"]);
    server.start_again();
    assert_eq!(
        server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0",
        "nothing was changed"
    );
    migrated(&url, migrations());
    assert_eq!(all(&server), migrations());
}

/// As many as there are files.
fn migrations() -> usize {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema/store/migrations/postgres");
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn tls_is_required_and_verified() {
    let server = Postgres::start_with(Options { tls: Tls::Required, ..Options::default() });
    let url = server.url("postgres");
    refused(&format!("{url}?sslmode=disable"), 8, &["no encryption"]);
    refused(&format!("{url}?sslmode=require"), 8, &["TLS", "sslrootcert"]);
    migrated(&format!("{url}?sslmode=require&sslrootcert={}", copy(&server)), migrations());
}

/// The authority, where this account can read it.
fn copy(server: &Postgres) -> String {
    let to = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ca-{}.pem", std::process::id()));
    std::fs::copy(server.ca(), &to).unwrap();
    to.display().to_string()
}

#[test]
fn a_replica_is_no_primary() {
    let primary = Postgres::start();
    let standby = primary.standby(Sync::Asynchronous, None);
    refused(&standby.url("postgres"), 2, &["replica", "primary"]);
}

#[test]
fn it_goes_to_the_server_itself() {
    let server = Postgres::start();
    let output = migrate(&server.url("postgres")).env("DATABASE_POOLER", "transaction").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("own address"), "{output:?}");
}
