//! Backups of the whole running product: made by itself, killed at any moment, restored, and told to its clients.
#![allow(clippy::unwrap_used)]

#[path = "../../backup/tests/people/mod.rs"]
mod people;
mod server;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use schema_store::rows::account::Origin;
use schema_store::rows::backup::{BackupWork, RequestState};
use schema_store::{Operations, SqliteStore};
use server::{PATIENCE, Server, finish, lines, listening};
use servers::{Disk, account};

fn messenger(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
    command.args(arguments).arg("--data").arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], data: &Path) -> Output {
    finish(messenger(arguments, data).spawn().unwrap())
}

#[track_caller]
fn fine(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Fails with that code and one line.
#[track_caller]
fn refused(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

fn send(server: &Server, text: &str) {
    let sent = finish(server.command("send", 0).args(["--text", text]).spawn().unwrap());
    fine(&sent);
}

fn status(data: &Path) -> serde_json::Value {
    serde_json::from_str(&fine(&run(&["backup", "status", "--json"], data))).unwrap()
}

/// Makes a backup, waiting for whoever makes one at the moment.
fn back_up(data: &Path) -> String {
    let began = Instant::now();
    loop {
        let made = run(&["backup", "run"], data);
        if made.status.code() != Some(13) {
            return fine(&made).split(' ').next().unwrap().to_owned();
        }
        assert!(began.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&made.stderr));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Messages that are there; those of the demo's own conversations among them.
fn held(data: &Path) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let copied = folder.path().join("messenger.db");
    schema_store::sqlite::copy(&data.join("messenger.db"), &copied).unwrap();
    schema_store::sqlite::contents(&copied).unwrap().0.messages
}

fn figures(url: &str) -> String {
    fine(&Command::new("curl").args(["--silent", "--fail", url]).output().unwrap())
}

#[test]
fn it_backs_up_by_itself_and_says_where_and_how_it_went() {
    let server = Server::start();
    assert_eq!(server.text("backups"), server.data().join("backups").display().to_string());
    let began = Instant::now();
    while !server.log().contains("backed up") {
        assert!(began.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let newest = status(&server.data());
    assert!(newest["ok"] == true && newest["users"].as_u64().unwrap() >= 2, "{newest}");
    let url = format!("{}/metrics", server.text("internal"));
    // Read from the tables every few seconds.
    while !figures(&url).lines().any(|line| line.starts_with("backup_age_seconds ") && !line.ends_with("Inf"))
    {
        assert!(began.elapsed() < PATIENCE, "{}", figures(&url));
        std::thread::sleep(Duration::from_millis(200));
    }
    let key = server.data().join("backup.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!server.log().contains(std::fs::read_to_string(key).unwrap().trim()));
}

#[test]
fn it_does_what_is_asked_for_at_the_console() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = SqliteStore::open(&server.data().join("messenger.db")).unwrap();
    for work in [BackupWork::Run, BackupWork::Drill] {
        runtime.block_on(store.ask_backup(work, Origin::system())).unwrap();
        let began = Instant::now();
        let ended = loop {
            match runtime.block_on(store.backup_requests(1)).unwrap().remove(0).state {
                RequestState::Ended { succeeded, detail, .. } => break (succeeded, detail),
                other => assert!(began.elapsed() < PATIENCE, "{other:?}; {}", server.log()),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(ended.0 && ended.1.starts_with("secure-messenger_"), "{ended:?}");
    }
    let kinds: Vec<_> = runtime.block_on(store.backups(9)).unwrap().into_iter().map(|row| row.kind).collect();
    assert_eq!(kinds, ["MANUAL", "SCHEDULED"]);
    assert!(runtime.block_on(store.drills_noted(9)).unwrap().iter().all(|drill| drill.passed));
    assert!(!server.data().join("backup.drill").exists());
}

#[test]
fn a_lost_database_comes_back_and_listeners_are_told_to_rewind() {
    let mut server = Server::start();
    send(&server, "first");
    send(&server, "second");
    let listener = listening({
        let mut command = server.command("listen", 1);
        command.args(["--json", "--count", "2"]);
        command
    });
    let name = back_up(&server.data());
    let saved = held(&server.data());
    send(&server, "written after the backup");
    let said = server.stop_and(|data| {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(data.join(format!("messenger.db{end}")));
        }
        fine(&run(&["restore", &name, "--replace"], data))
    });
    assert!(
        said.contains(&format!("restored {name}")) && said.contains(&format!("messages {saved},")),
        "{said}"
    );
    send(&server, "after the restore");
    let heard = lines(&finish(listener));
    let texts: Vec<_> = heard.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["written after the backup", "after the restore"]);
    // The same offset twice: the listener was told that the first one is gone.
    assert_eq!((&heard[0]["offset"], &heard[1]["offset"]), (&3.into(), &3.into()));
    assert!(heard[1]["generation"].as_u64() > heard[0]["generation"].as_u64());
    let mut again = server.command("listen", 1);
    let all = finish(again.args(["--json", "--from-start", "--count", "3"]).spawn().unwrap());
    let texts: Vec<_> =
        lines(&all).into_iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, ["first", "second", "after the restore"]);
}

#[test]
fn bad_input_gets_one_line_and_a_code_of_its_own() {
    let server = Server::start_with(&[("BACKUP_INTERVAL", "off")]);
    let data = server.data();
    assert_eq!(server.ready["backups"], serde_json::Value::Null);
    refused(&run(&["backup", "run"], &data), 10);
    let key = data.join("backup.key");
    std::fs::write(&key, "00".repeat(32)).unwrap();
    let mode =
        |mode| std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    assert!(refused(&run(&["backup", "run"], &data), 10).contains("chmod 600"));
    mode(0o600);
    assert!(refused(&run(&["backup", "run"], &data), 10).contains("sample or pattern"));
    std::fs::write(&key, "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628\n").unwrap();
    refused(&run(&["backup", "status"], &data), 15);
    let name = back_up(&data);
    let other = data.join("other");
    let elsewhere = |which: &str, key: &Path| {
        let mut command = messenger(&["restore", which], &other);
        command.arg("--location").arg(data.join("backups")).arg("--key-file").arg(key);
        finish(command.spawn().unwrap())
    };
    assert!(refused(&run(&["restore", "latest"], &data), 4).contains("another messenger runs"));
    assert!(refused(&elsewhere("yesterday", &key), 2).contains("messenger backup list"));
    refused(&elsewhere("secure-messenger_20200101_000000", &key), 15);
    let wrong = data.join("wrong.key");
    std::fs::write(&wrong, "8e1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628\n").unwrap();
    std::fs::set_permissions(&wrong, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    refused(&elsewhere(&name, &wrong), 10);
    fine(&elsewhere(&name, &key));
    assert!(refused(&elsewhere(&name, &key), 4).contains("--replace"));
    let object = data.join(format!("backups/database/{name}/store.0000"));
    let mut bytes = std::fs::read(&object).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&object, bytes).unwrap();
    assert!(refused(&run(&["backup", "verify"], &data), 14).contains("use another backup"));
    std::thread::sleep(Duration::from_millis(1_100));
    refused(&run(&["backup", "status", "--max-age", "0"], &data), 16);
    refused(&run(&["backup", "list", "--location", "ftp://x"], &data), 2);
}

/// Names have seconds, and who was killed keeps the name.
fn next_second() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_secs(1) - Duration::from_nanos(now.subsec_nanos().into()));
}

#[test]
fn killed_at_any_moment_nothing_half_written_looks_whole() {
    let server = Server::start_with(&[("BACKUP_INTERVAL", "off")]);
    let data = server.data();
    let key = data.join("backup.key");
    std::fs::write(&key, "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628\n").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    send(&server, "kept");
    let began = Instant::now();
    back_up(&data);
    let takes = began.elapsed();
    let mut killed = 0;
    for n in 0..16u32 {
        next_second();
        let mut child = messenger(&["backup", "run"], &data).spawn().unwrap();
        std::thread::sleep(takes * n / 16);
        let _ = child.kill();
        killed += u32::from(!child.wait().unwrap().success());
    }
    assert!(killed > 3, "{killed} of 16 were killed before they were done");
    let listed = fine(&run(&["backup", "list", "--json"], &data));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let whole = listed.as_array().unwrap().iter().filter(|entry| entry["whole"] == true).count();
    let checked = fine(&run(&["backup", "verify", "all"], &data));
    assert_eq!(checked.lines().count(), whole, "what looks whole is whole");
    back_up(&data);
    assert!(!data.join("backup.copy").exists(), "the next one clears up");
    // And in the middle of a restore: the folder has no database, or a prepared one.
    for n in 0..8u32 {
        let other = data.join(format!("other-{n}"));
        let mut command = messenger(&["restore", "latest"], &other);
        command.arg("--location").arg(data.join("backups")).arg("--key-file").arg(&key);
        let mut child = command.spawn().unwrap();
        std::thread::sleep(takes * n / 8);
        let _ = child.kill();
        let _ = child.wait();
        if other.join("messenger.db").exists() {
            let (contents, _) = schema_store::sqlite::contents(&other.join("messenger.db")).unwrap();
            assert!(contents.generation.0 > 1, "nobody takes it for the old life");
        }
        command.arg("--replace");
        fine(&finish(command.spawn().unwrap()));
    }
}

#[test]
fn the_commands_of_the_runbook_and_the_scripts_bring_a_lost_database_back() {
    let mut server = Server::start();
    send(&server, "kept");
    back_up(&server.data());
    let saved = held(&server.data());
    let runbook =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../runbooks/lost-database.md"))
            .unwrap();
    let mut commands = Vec::new();
    let mut lines = runbook.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```sh ") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        commands.push((
            kind,
            body.join("\n").replace("target/release/messenger", env!("CARGO_BIN_EXE_messenger")),
        ));
    }
    let kinds: Vec<&str> = commands.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["list", "verify", "restore", "serve", "check"]);
    let shell = |command: &str, data: &Path| {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("DATA_DIR", data).env("MESSENGER", env!("CARGO_BIN_EXE_messenger"));
        finish(shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/backup");
    let proven = fine(&shell(&format!("{scripts}/test-backup.sh"), &server.data()));
    assert!(proven.contains("whole and authentic"), "{proven}");
    assert!(proven.contains(&format!("messages {saved}, audit")), "{proven}");
    assert!(!server.data().join("backup.drill").exists());
    server.stop_and(|data| {
        std::fs::remove_file(data.join("messenger.db")).unwrap();
        for (_, command) in &commands[..3] {
            fine(&shell(command, data));
        }
    });
    // `serve` is what the harness has just done.
    let checked = fine(&shell(&commands[4].1, &server.data()));
    assert!(checked.contains(&format!(" {saved} messages")), "{checked}");
    fine(&shell(&format!("{scripts}/backup.sh || [ $? -eq 13 ]"), &server.data()));
    let taken = shell(&format!("{scripts}/restore.sh latest"), &server.data());
    assert!(refused(&taken, 4).contains("another messenger runs"));
}

#[test]
fn without_room_nothing_is_lost_and_with_room_it_goes_through() {
    let folder = tempfile::Builder::new().prefix("room").tempdir_in("/tmp").unwrap();
    account::hand_over(folder.path(), 0o700);
    let at = |name: &str| folder.path().join(name);
    for name in ["data", "made"] {
        std::fs::create_dir(at(name)).unwrap();
        account::hand_over(&at(name), 0o700);
    }
    std::fs::write(at("key"), "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628").unwrap();
    account::hand_over(&at("key"), 0o600);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = SqliteStore::open(&at("made/messenger.db")).unwrap();
    let (alice, _, conversation) = runtime.block_on(people::pair(&store));
    runtime.block_on(people::write(&store, alice, conversation, 1..21));
    drop(store);
    let disk = Disk::mount(&at("data"), 16, &at("mount.log"));
    std::fs::copy(at("made/messenger.db"), disk.seen("messenger.db")).unwrap();
    account::hand_over(&disk.seen("messenger.db"), 0o600);
    let run = |arguments: &[&str]| {
        let mut command = disk.enter(Path::new(env!("CARGO_BIN_EXE_messenger")), folder.path());
        command.args(arguments).arg("--data").arg(at("data"));
        command.env("BACKUP_LOCATION", at("place")).env("BACKUP_KEY_FILE", at("key"));
        command.output().unwrap()
    };
    disk.fill(128);
    let text = refused(&run(&["backup", "run"]), 12);
    assert!(text.contains("no room for a copy of the database"), "{text}");
    assert!(!disk.seen("backup.copy").exists());
    refused(&run(&["backup", "status"]), 15);
    disk.clear();
    fine(&run(&["backup", "run"]));
    disk.fill(128);
    let text = refused(&run(&["restore", "latest", "--replace"]), 12);
    assert!(text.contains("no room left"), "{text}");
    let text = refused(&run(&["backup", "drill"]), 12);
    assert!(text.contains("no room left"), "{text}");
    let left = std::fs::read_dir(disk.seen("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left = left.map(|name| name.into_string().unwrap());
    let of_work = |name: &String| name.contains("partial") || name.contains("drill");
    // The lock of a drill stays as that of a backup does: it holds nothing.
    assert_eq!(left.filter(of_work).collect::<Vec<_>>(), ["backup.drill.lock"]);
    disk.clear();
    let said = fine(&run(&["restore", "latest", "--replace"]));
    assert!(said.contains("what was there is backed up as") && said.contains("messages 20"), "{said}");
}

#[test]
fn long_work_shows_a_bar_at_a_terminal_and_events_to_who_collects_them() {
    let server = Server::start_with(&[("BACKUP_INTERVAL", "off")]);
    let data = server.data();
    let key = data.join("backup.key");
    std::fs::write(&key, "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628\n").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let plain = messenger(&["backup", "run"], &data).env("LOG_FORMAT", "json").output().unwrap();
    let stderr = String::from_utf8(plain.stderr.clone()).unwrap();
    let name = fine(&plain).split(' ').next().unwrap().to_owned();
    let events: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).expect("nothing but events")).collect();
    let event = events.iter().find(|event| event["message"] == "backed up").unwrap();
    assert_eq!(event["name"], name.as_str());
    assert!(event["bytes"].is_u64() && event["took_ms"].is_u64(), "{event}");
    let verb = |arguments: &str| {
        let program = env!("CARGO_BIN_EXE_messenger");
        let inner = format!("{program} {arguments} --data {}", data.display());
        let mut command = Command::new("script");
        command.args(["-qec", &inner, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
        fine(&command.output().unwrap())
    };
    for (arguments, said) in
        [("backup verify", "checking"), ("backup drill", "restoring"), ("backup run", "backing up")]
    {
        let shown = verb(arguments);
        assert!(shown.contains(&format!("{said} [")) && shown.contains("100 %"), "{arguments}: {shown}");
    }
}
