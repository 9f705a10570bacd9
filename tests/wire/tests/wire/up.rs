//! How `up` says that it cannot run: one clear line and the documented exit code. And accounts made by the operator.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use wire_tests::server::run_to_end;
use wire_tests::{Settings, World, http};

fn up(data: &Path) -> Settings {
    let settings = Settings::default().arg("up").arg("--data").arg(data.display());
    settings.arg("--relay-port").arg(0).arg("--api-port").arg(0)
}

/// Fails with this code and one line that holds all of `parts`.
fn assert_fails(settings: &Settings, code: i32, parts: &[&str]) {
    let output = run_to_end(settings, "");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> = stderr.lines().filter(|l| l.starts_with("messenger: ")).collect();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(said.len(), 1, "one line: {stderr}");
    for part in parts {
        assert!(said[0].contains(part), "{part} in {}", said[0]);
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(output.stdout.is_empty());
}

/// A folder that the product has used and left.
fn used() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let mut server = wire_tests::Server::start(folder.path(), Settings::default());
    server.terminate();
    assert!(server.wait().success());
    folder
}

#[test]
fn a_port_in_use_is_named() {
    let folder = used();
    let data = folder.path().join("data");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = tcp.local_addr().expect("bound").port().to_string();
    let settings = up(&data).env("RELAY_LISTEN", format!("127.0.0.1:{port}"));
    let without = |flag: &str| {
        let mut settings = settings.clone();
        let at = settings.args.iter().position(|a| a == flag).expect("given");
        settings.args.drain(at..at + 2);
        settings
    };
    assert_fails(&without("--relay-port"), 3, &[&port]);
    let mut api = up(&data);
    let at = api.args.iter().position(|a| a == "--api-port").expect("given");
    api.args[at + 1] = port.clone();
    assert_fails(&api, 3, &[&port]);
    drop(tcp);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = udp.local_addr().expect("bound").port().to_string();
    let mut quic = without("--relay-port");
    quic.env = vec![("RELAY_LISTEN".into(), format!("127.0.0.1:{port}"))];
    assert_fails(&quic, 3, &[&port]);
}

#[test]
fn an_unwritable_folder_is_named() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("writable");
    assert_fails(&up(&file.join("data")), 4, &["file/data"]);
    // Root may write everywhere, so only others see this.
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).expect("writable");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).expect("our own");
    if std::fs::write(closed.join("probe"), "").is_err() {
        assert_fails(&up(&closed), 4, &["closed"]);
    }
}

#[test]
fn a_second_process_on_the_folder_is_refused() {
    wire_tests::run(async {
        let world = World::start().await;
        assert_fails(&up(&world.server.data()), 4, &["another"]);
        assert_eq!(http::get(world.server.internal(), "/health").await.status, 200);
    });
}

#[test]
fn a_damaged_database_is_said_to_be() {
    let folder = used();
    let database = folder.path().join("data/messenger.db");
    std::fs::write(&database, "this is no database at all, not even a little one".repeat(100)).expect("ours");
    for rest in ["messenger.db-wal", "messenger.db-shm"] {
        let _ = std::fs::remove_file(database.with_file_name(rest));
    }
    assert_fails(&up(&folder.path().join("data")), 5, &["messenger.db", "backup"]);
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = used();
    let database = folder.path().join("data/messenger.db");
    let connection = rusqlite::Connection::open(database).expect("a database");
    let newer = "INSERT INTO refinery_schema_history SELECT 999, 'newer', applied_on, checksum FROM refinery_schema_history LIMIT 1";
    assert_eq!(connection.execute(newer, []).expect("SQL"), 1);
    drop(connection);
    assert_fails(&up(&folder.path().join("data")), 6, &["newer", "999"]);
}

#[test]
fn wrong_variables_are_named_with_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    let settings = || up(&folder.path().join("data"));
    assert_fails(&settings().env("RELAY_SHARD", "2"), 2, &["RELAY_SHARD", "RELAY_SHARDS"]);
    assert_fails(&settings().env("JWT_LEEWAY", "soon"), 2, &["JWT_LEEWAY"]);
    assert_fails(&settings().env("RATE_LIMIT_MAX", "-1"), 2, &["RATE_LIMIT_MAX"]);
    assert_fails(&settings().env("DATABASE_URL", "mysql://u:hunter2@h/d"), 2, &["DATABASE_URL"]);
    assert_fails(&settings().env("JWT_SECRET", "short"), 2, &["JWT_SECRET"]);
    let sample = "your-super-secret-jwt-key-change-this-in-production";
    assert_fails(&settings().env("JWT_SECRET", sample), 2, &["JWT_SECRET"]);
    let open = settings().env("REGISTRATION", "open").env("REGISTRATION_VERIFY", "none");
    assert_fails(&open, 2, &["REGISTRATION_VERIFY"]);
}

#[test]
fn secrets_are_not_repeated_when_they_are_refused() {
    let folder = TempDir::new().expect("a folder");
    for (name, value) in [("JWT_SECRET", "hunter2hunter2"), ("DATABASE_URL", "mysql://u:hunter2@h/d")] {
        let output = run_to_end(&up(&folder.path().join("data")).env(name, value), "");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"), "{name}");
    }
}

#[test]
fn an_administrator_is_made_with_a_password_from_standard_input() {
    wire_tests::run(async {
        let world = World::start().await;
        let create = Settings::default().arg("create-admin").arg("--data").arg(world.server.data().display());
        let create = create.arg("--role").arg("ADMIN").arg("--email");
        let made = run_to_end(&create.clone().arg("root@wire.example"), "correct horse battery\n");
        assert!(made.status.success(), "{made:?}");
        assert!(!String::from_utf8_lossy(&made.stdout).contains("correct horse"));
        let login = serde_json::json!({"email": "root@wire.example", "password": "correct horse battery", "device": "x"});
        let answer =
            http::request(world.server.api(), "POST", "/api/v1/auth/login", None, Some(&login)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
        let me = http::request(world.server.api(), "GET", "/api/v1/me", Some(&token), None).await;
        assert_eq!(me.json()["role"], "ADMIN");
        let again = run_to_end(&create.clone().arg("root@wire.example"), "correct horse battery\n");
        assert_eq!(again.status.code(), Some(1), "{again:?}");
        assert_eq!(String::from_utf8_lossy(&again.stderr).lines().count(), 1, "{again:?}");
        let short = run_to_end(&create.arg("other@wire.example"), "short\n");
        assert_eq!(short.status.code(), Some(2));
    });
}
