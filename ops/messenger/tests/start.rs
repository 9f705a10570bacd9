//! Starting as an operator does: the environment of the guide, refusals, the first administrator, the commands that are
//! printed and those of the first-start runbook. Real processes.
#![allow(clippy::unwrap_used)]

mod server;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use server::{Server, finish, free_port};

/// The guide's `apps/backend/.env`, as printed.
const GUIDE: &str = r#"
DATABASE_URL="postgresql://user:pass@localhost:5432/securemessenger"
DATABASE_POOL_SIZE=20
REDIS_URL="redis://localhost:6379"
REDIS_TTL=3600
JWT_SECRET="your-256-bit-secret-key"
JWT_EXPIRATION="7d"
JWT_REFRESH_EXPIRATION="30d"
S3_ENDPOINT="https://s3.amazonaws.com"
S3_BUCKET="secure-messenger-media"
S3_ACCESS_KEY="YOUR_ACCESS_KEY"
S3_SECRET_KEY="YOUR_SECRET_KEY"
S3_REGION="eu-west-1"
WEBSOCKET_PORT=3001
WEBSOCKET_PATH="/ws"
RATE_LIMIT_TTL=60
RATE_LIMIT_MAX=100
MAX_FILE_SIZE=52428800  # 50 MB
MEDIA_ENCRYPTION_ALGORITHM="AES-256-GCM"
PROMETHEUS_ENABLED=true
PROMETHEUS_PORT=9090
"#;

const SECRET: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("start-{:016x}", getrandom::u64().unwrap()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The guide's block as a shell reads it, with some values changed; `""` leaves one out.
fn guide(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = GUIDE.lines().filter_map(|line| line.split_once('='));
    let pairs = pairs.map(|(name, value)| (name, value.split(" #").next().unwrap().trim().trim_matches('"')));
    let changed = |name: &str, value: &str| {
        changes.iter().find(|(other, _)| *other == name).map_or(value, |(_, to)| *to).to_owned()
    };
    pairs.map(|(name, value)| (name.to_owned(), changed(name, value))).collect()
}

fn up(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
    command.args(["up", "--json", "--shards", "1", "--relay-port", "0", "--api-port", "0", "--data"]);
    command.arg(folder.0.join("data")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end, which must be a refusal of settings in one line.
#[track_caller]
fn refused(command: &mut Command) -> String {
    let output = finish(command.spawn().unwrap());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

#[test]
fn the_environment_of_the_guide_starts_with_real_secrets() {
    let folder = Folder::new();
    let port = free_port().to_string();
    let database = format!("sqlite:{}", folder.0.join("of-the-guide.db").display());
    let env = guide(&[
        ("DATABASE_URL", &database),
        ("REDIS_URL", ""),
        ("JWT_SECRET", SECRET),
        ("S3_ACCESS_KEY", "AKIA0123456789"),
        ("S3_SECRET_KEY", "hN3v8Qw1"),
        ("PROMETHEUS_PORT", &port),
    ]);
    std::fs::create_dir(folder.0.join("data")).unwrap();
    let mut child = Running(up(&folder).envs(env).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).expect("it starts");
    assert_eq!(ready["internal"], format!("http://127.0.0.1:{port}"));
    assert!(folder.0.join("of-the-guide.db").exists());
}

#[test]
fn samples_and_what_cannot_be_served_are_refused_by_name() {
    let folder = Folder::new();
    let fine = [
        ("DATABASE_URL", ""),
        ("REDIS_URL", ""),
        ("JWT_SECRET", SECRET),
        ("S3_ACCESS_KEY", "A"),
        ("S3_SECRET_KEY", "B"),
    ];
    for (name, part) in
        [("JWT_SECRET", "openssl rand -hex 32"), ("S3_ACCESS_KEY", "sample"), ("S3_SECRET_KEY", "sample")]
    {
        let changes: Vec<_> = fine.into_iter().filter(|(other, _)| *other != name).collect();
        let line = refused(up(&folder).envs(guide(&changes)));
        assert!(line.starts_with(&format!("messenger: {name}")) && line.contains(part), "{line}");
        assert!(!line.contains("user:pass") && !line.contains("your-256"), "{line}");
    }
}

#[test]
fn malformed_and_unknown_variables_name_the_line_to_write() {
    let folder = Folder::new();
    for (name, value, part) in [
        ("RATE_LIMIT_MAX", "many", "fix: RATE_LIMIT_MAX=100"),
        ("RATE_LIMIT_TTL", "0", "fix: RATE_LIMIT_TTL=60"),
        ("MAX_FILE_SIZE", "50 MB", "fix: MAX_FILE_SIZE=52428800"),
        ("RELAY_BODY_BYTES_MAX", "1", "from 1024 to 65536"),
        ("PROMETHEUS_PORT", "http", "fix: PROMETHEUS_PORT=9090"),
        ("PROMETHEUS_ENABLED", "maybe", "true or false"),
        ("WEBSOCKET_PATH", "/metrics", "WEBSOCKET_PATH"),
        ("RATE_LIMIT_MAXX", "1", "did you mean RATE_LIMIT_MAX?"),
        ("MAX_UPLOAD_SIZE", "500MB", "MAX_FILE_SIZE"),
        ("API_RATE_LIMIT", "300", "RATE_LIMIT_MAX"),
        ("NEXT_PUBLIC_API_URL", "https://x", "remove it"),
        ("LOG_LEVEL", "loud", "fix: LOG_LEVEL=info"),
        ("JWT_ALGORITHM", "none", "RS256, HS256"),
    ] {
        let line = refused(up(&folder).env(name, value));
        assert!(line.contains(name) && line.contains(part), "{name}={value}: {line}");
    }
    let demo = refused(up(&folder).arg("--demo").env("APP_ENV", "production"));
    assert!(demo.contains("--demo"), "{demo}");
}

fn create_admin(folder: &Folder, arguments: &[&str], input: &str) -> Output {
    create_admin_at(folder, "admin@team.example", arguments, input)
}

fn create_admin_at(folder: &Folder, email: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
    command.args(["create-admin", "--email", email]).args(arguments);
    command.env("DATA_DIR", folder.0.join("data")).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    finish(child)
}

#[test]
fn an_administrator_is_made_from_a_pipe_and_never_from_an_argument() {
    let folder = Folder::new();
    let all = |output: &Output| {
        String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
    };
    for arguments in [&["--password", "correct horse battery staple"][..], &["correct horse battery staple"]]
    {
        let refused = create_admin(&folder, arguments, "");
        assert_eq!(refused.status.code(), Some(2), "{}", all(&refused));
    }
    for input in ["", "\n", "short\n"] {
        let refused = create_admin(&folder, &[], input);
        assert_eq!(refused.status.code(), Some(2), "{input:?}: {}", all(&refused));
    }
    let made = create_admin(&folder, &[], "correct horse battery staple\n");
    assert!(made.status.success(), "{}", all(&made));
    assert!(!all(&made).contains("battery"), "{}", all(&made));
    let twice = create_admin(&folder, &[], "correct horse battery staple\n");
    assert_eq!(twice.status.code(), Some(1), "{}", all(&twice));
}

#[test]
fn who_lost_every_second_factor_is_let_begin_anew_by_who_runs_the_machine() {
    let folder = Folder::new();
    let made = create_admin(&folder, &[], "correct horse battery staple\n");
    assert!(made.status.success(), "{made:?}");
    let forget = |email: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
        command.args(["forget-factors", "--email", email]).env("DATA_DIR", folder.0.join("data"));
        finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let forgotten = forget(" Admin@Team.example");
    assert!(forgotten.status.success(), "{forgotten:?}");
    assert!(String::from_utf8_lossy(&forgotten.stdout).starts_with("0 second factors"), "{forgotten:?}");
    let nobody = forget("nobody@team.example");
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no such account"), "{nobody:?}");
}

#[test]
fn a_role_is_changed_by_who_runs_the_machine_but_the_last_administrator_stays() {
    let folder = Folder::new();
    let made = create_admin(&folder, &[], "correct horse battery staple\n");
    assert!(made.status.success(), "{made:?}");
    let change = |email: &str, role: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
        command.args(["change-role", "--email", email, "--role", role]);
        command.env("DATA_DIR", folder.0.join("data")).stdin(Stdio::null());
        let output = finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    for (email, role, part) in [
        ("admin@team.example", "GOD", "use AUDITOR"),
        ("nobody@team.example", "SRE", "no such account"),
        ("admin@team.example", "admin", "has this role already"),
        ("admin@team.example", "USER", "messenger create-admin"),
    ] {
        let (code, said) = change(email, role);
        assert!(code == Some(2) && said.contains(part), "{email} {role}: {code:?} {said}");
    }
    let other = create_admin_at(&folder, "other@team.example", &[], "correct horse battery staple\n");
    assert!(other.status.success(), "{other:?}");
    let (code, said) = change(" Admin@Team.example", "sre");
    assert!(code == Some(0) && said.contains("ADMIN -> SRE"), "{code:?} {said}");
    let (code, said) = change("admin@team.example", "USER");
    assert!(code == Some(0) && said.contains("SRE -> USER"), "{code:?} {said}");
    assert_eq!(change("other@team.example", "AUDITOR").0, Some(2), "now that one is the last");
}

/// Starts without `--json` and gives back the process and its lines, up to both chat commands.
fn started(mut command: Command) -> (Running, Vec<String>) {
    let mut child =
        Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut output = BufReader::new(child.0.stdout.take().unwrap());
    let mut said = Vec::new();
    while said.iter().filter(|line: &&String| line.contains(" chat ")).count() < 2 {
        let mut line = String::new();
        assert!(output.read_line(&mut line).unwrap() > 0, "ended after {said:?}");
        said.push(line.trim().to_owned());
    }
    (child, said)
}

fn paste(line: &str, input: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = finish(child);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_of_the_first_start_runbook_work_and_so_do_those_it_prints() {
    let runbook =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../runbooks/first-start.md")).unwrap();
    let folder = Folder::new();
    let (relay, api) = (free_port(), free_port());
    let mut commands = Vec::new();
    let mut lines = runbook.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```sh") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        commands.push((kind.trim(), body.join("\n")));
    }
    assert_eq!(
        commands.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        ["build", "", "", "serve", "check"]
    );
    let mut before =
        format!("export HOME={} WEBSOCKET_PORT={relay} API_ADDRESS=127.0.0.1:{api}\n", folder.0.display());
    let mut serving = None;
    for (kind, command) in commands {
        let command = command.replace("target/release/messenger", env!("CARGO_BIN_EXE_messenger"));
        let command = command.replace("127.0.0.1:3001", &format!("127.0.0.1:{api}"));
        let mut shell = Command::new("sh");
        match kind {
            // The binary under test is built already.
            "build" => {}
            "serve" => {
                shell.args(["-c", &format!("{before}exec {command}")]);
                serving = Some(started(shell));
            }
            "check" => assert!(paste(&command, "").contains("\"kty\"")),
            _ if command.starts_with("export ") => before += &format!("{command}\n"),
            _ => assert!(paste(&format!("{before}{command}"), "").contains("password (shown this once)")),
        }
    }
    let (_process, said) = serving.unwrap();
    let chats: Vec<&String> = said.iter().filter(|line| line.contains(" chat ")).collect();
    assert!(paste(chats[0], "hello from alice\n").contains("hello from alice"));
    let seen = paste(chats[1], "hello from bob\n");
    assert!(seen.contains("hello from alice") && seen.contains("hello from bob"), "{seen}");
}

#[test]
fn a_server_whose_words_nobody_reads_serves_on() {
    let folder = Folder::new();
    let api = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
    command.args(["up", "--demo", "--shards", "1", "--relay-port", "0", "--data"]);
    command.arg(folder.0.join("data")).args(["--api-port", &api.to_string()]);
    let mut child =
        Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    drop(child.0.stdout.take());
    let wait = "curl --fail --silent --retry 40 --retry-connrefused --retry-delay 1";
    assert!(paste(&format!("{wait} http://127.0.0.1:{api}/.well-known/jwks.json"), "").contains("\"kty\""));
    // It speaks once more than the API answers; only its end tells that it went on after that.
    assert!(Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap().success());
    let ended = child.0.wait().unwrap();
    assert!(ended.success(), "{ended:?}");
}

#[test]
fn words_that_cannot_be_written_are_a_failure_but_a_reader_that_went_away_is_none() {
    let program = env!("CARGO_BIN_EXE_messenger");
    for (to, lost) in [("> /dev/full", true), ("| true", false)] {
        let folder = Folder::new();
        let mut shell = Command::new("bash");
        let made = format!("{program} create-admin --email admin@team.example --generate {to}");
        shell.args(["-c", &format!("set -o pipefail; {made}")]).env("DATA_DIR", folder.0.join("data"));
        let output =
            finish(shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), !lost, "{to}: {said}");
        assert_eq!(said.contains("standard output is not written"), lost, "{to}: {said}");
    }
}

#[test]
fn a_signal_drains_and_a_second_one_is_quick() {
    for signals in [1, 2] {
        let folder = Folder::new();
        let mut child = up(&folder).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("ready"));
        for _ in 0..signals {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        }
        let ended = finish(child);
        let log = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success(), "{log}");
        assert!(!log.contains("answered") && !log.contains('@'), "{log}");
    }
}

#[test]
fn the_log_names_no_person_and_no_request_unless_it_is_collected() {
    for (format, shows) in [("text", false), ("json", true)] {
        let server = Server::start_with(&[("LOG_FORMAT", format)]);
        let said = finish(server.command("send", 0).args(["--text", "hello"]).spawn().unwrap());
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let log = server.log();
        assert_eq!(log.contains("answered"), shows, "{log}");
        assert!(!log.contains("@demo.example") && !log.contains("127.0.0.1"), "{log}");
    }
}

#[test]
fn the_audit_trail_is_checked_to_its_end_and_against_heads_that_were_kept() {
    let folder = Folder::new();
    let audit = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
        command.arg("audit").args(arguments).env("DATA_DIR", folder.0.join("data")).stdin(Stdio::null());
        let output = finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&said).trim().to_owned())
    };
    let database = || rusqlite::Connection::open(folder.0.join("data/messenger.db")).unwrap();
    let mut heads = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let made =
            create_admin_at(&folder, &format!("{name}@team.example"), &[], "correct horse battery staple\n");
        assert!(made.status.success(), "{made:?}");
        let (code, head) = audit(&["head"]);
        assert_eq!(code, 0, "{head}");
        heads.push(head);
    }
    let [_, second, third, last] = &heads[..] else { panic!("{heads:?}") };
    let (code, said) = audit(&["verify", "--anchor", last, "--anchor", second]);
    assert!(
        code == 0 && said.contains(&format!("intact up to {last}")) && said.contains("that was kept"),
        "{said}"
    );
    let (code, said) = audit(&["verify", "--anchor", "12:abc"]);
    assert!(code == 2 && said.contains("NUMBER:HASH"), "{code} {said}");
    let forged = format!("{}:{}", third.split_once(':').unwrap().0, second.split_once(':').unwrap().1);
    let (code, said) = audit(&["verify", "--anchor", &forged]);
    assert!(code == 19 && said.contains("rewritten"), "{code} {said}");
    // Whoever may write the database cuts off what shows what they did: the chain alone still fits.
    let kept: i64 = third.split_once(':').unwrap().0.parse().unwrap();
    database().execute("DELETE FROM audit_logs WHERE id > ?1", [kept]).unwrap();
    let (code, said) = audit(&["verify", "--anchor", third]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = audit(&["verify", "--anchor", last]);
    assert!(code == 19 && said.contains("cut off"), "{code} {said}");
    database().execute("UPDATE audit_logs SET detail = 'nothing' WHERE id = 2", []).unwrap();
    let (code, said) = audit(&["verify"]);
    assert!(code == 19 && said.contains("broken at entry 2"), "{code} {said}");
}

#[test]
fn an_account_is_erased_from_the_command_line_when_confirmed() {
    let folder = Folder::new();
    for name in ["ada", "bob"] {
        let made =
            create_admin_at(&folder, &format!("{name}@team.example"), &[], "correct horse battery staple\n");
        assert!(made.status.success(), "{made:?}");
    }
    let database = rusqlite::Connection::open(folder.0.join("data/messenger.db")).unwrap();
    let text = |query: &str| database.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    let id = |email: &str| {
        let digits = text(&format!("SELECT hex(id) FROM users WHERE email = '{email}'")).to_lowercase();
        [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
    };
    let (ada, bob) = (id("ada@team.example"), id("bob@team.example"));
    let delete = |user: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
        command.args(["delete-user-gdpr", "--user-id", user, "--reason", "User request"]).args(arguments);
        command.env("DATA_DIR", folder.0.join("data")).stdin(Stdio::null());
        let output = finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = delete(&bob, &[]);
    assert!(code == 2 && said.contains("--confirm"), "{said}");
    assert_eq!(text("SELECT status FROM users WHERE email = 'bob@team.example'"), "ACTIVE");
    let (code, said) = delete("abc123", &["--confirm"]);
    assert!(code == 2 && said.contains("no account's id"), "{said}");
    let (code, said) = delete(&bob, &["--confirm"]);
    assert!(code == 0 && said.contains("is erased"), "{said}");
    assert_eq!(text("SELECT count(*) || '' FROM users WHERE email = 'bob@team.example'"), "0");
    assert_eq!(text("SELECT count(*) || '' FROM erasure_ledger"), "1", "a restored backup erases it again");
    assert_eq!(delete(&bob, &["--confirm"]).0, 2, "it is gone already");
    let (code, said) = delete(&ada, &["--confirm"]);
    assert!(code == 2 && said.contains("last administrator"), "{said}");
}
