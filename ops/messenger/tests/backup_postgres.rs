//! Backups of real PostgreSQL servers by the real program: copied, followed, killed, brought back to any moment, refused
//! when altered.
#![allow(clippy::unwrap_used)]

mod people;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use people::{Person, pair, person, publish_keys, write};
use schema_store::postgres::Options as StoreOptions;
use schema_store::rows::account::Origin;
use schema_store::{Accounts, PostgresStore};
use schema_wire::ConversationId;
use servers::{Options, Postgres, account};

const KEY: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server, and a folder of the account that backs it up.
struct Bed {
    server: Option<Postgres>,
    url: String,
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let server = Postgres::start_with(options);
        let folder = tempfile::Builder::new().prefix("bk").tempdir_in("/tmp").unwrap();
        account::hand_over(folder.path(), 0o700);
        for name in ["data", "back"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            account::hand_over(&folder.path().join(name), 0o700);
        }
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        account::hand_over(&folder.path().join("key"), 0o600);
        let bed = Self { url: server.url("postgres"), server: Some(server), folder };
        fine(&bed.run(&["migrate"]));
        bed
    }

    fn server(&self) -> &Postgres {
        self.server.as_ref().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = account::command(env!("CARGO_BIN_EXE_messenger"), self.folder.path());
        command.args(arguments).env("DATABASE_URL", &self.url).env("DATA_DIR", self.path("data"));
        command.env("BACKUP_LOCATION", self.path("place")).env("BACKUP_KEY_FILE", self.path("key"));
        command.env("TMPDIR", "/tmp");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A store on the server.
    async fn store(&self) -> PostgresStore {
        PostgresStore::open(&self.url, StoreOptions::default()).await.unwrap()
    }

    fn back_up(&self) -> String {
        fine(&self.run(&["backup", "run"])).split(' ').next().unwrap().to_owned()
    }

    fn stream(&self) -> Streaming {
        let mut command = self.command(&["backup", "stream", "--every", "1"]);
        command.stderr(std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap());
        Streaming(command.spawn().unwrap())
    }

    /// Waits until all that the server has written is sealed.
    fn until_sealed(&self) {
        let lsn = self.server().sql("SELECT pg_current_wal_flush_lsn()");
        let began = Instant::now();
        loop {
            let latest = std::fs::read(self.path("place/latest.json")).unwrap_or_default();
            let latest: serde_json::Value = serde_json::from_slice(&latest).unwrap_or_default();
            // Records end in zeros, which are not sealed as long as nothing follows them.
            if let Some(to) = latest["log"]["to"].as_str()
                && self.server().sql(&format!("SELECT '{to}'::pg_lsn + 64 >= '{lsn}'::pg_lsn")) == "t"
            {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{lsn} is not sealed: {latest}; {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The server and everything it wrote are gone.
    fn lose_the_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill();
        std::fs::remove_dir_all(server.data()).unwrap();
    }

    /// Restores into a new folder and starts a server on it.
    fn restore(&self, arguments: &[&str]) -> (Postgres, String) {
        let target = self.path("back/pg");
        let mut all = vec!["restore"];
        all.extend(arguments);
        let target_text = target.display().to_string();
        all.extend(["--target", &target_text]);
        let said = fine(&self.run(&all));
        assert!(!self.path("back/pg.restoring").exists());
        (Postgres::on(&target), said)
    }
}

/// `backup stream` under way.
struct Streaming(Child);

impl Streaming {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn stop(mut self) -> std::process::ExitStatus {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it stops");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn fine(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Fails with that code and one line that says `part`.
#[track_caller]
fn refused(output: &Output, code: i32, part: &str) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> = text.lines().filter(|line| line.starts_with("messenger: ")).collect();
    assert_eq!((output.status.code(), said.len()), (Some(code), 1), "{text}");
    assert!(said[0].contains(part) && !text.contains("hunter2"), "{part} in {text}");
}

fn messages(server: &Postgres) -> u64 {
    server.sql("SELECT count(*) FROM messages").parse().unwrap()
}

/// Every file below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_comes_back_with_all_that_was_sealed() {
    let mut bed = Bed::new();
    let store = bed.store().await;
    let (alice, bob, conversation) = pair(&store).await;
    assert_eq!(write(&store, alice, conversation, 1..40).await, 39);
    publish_keys(&store, bob, 3).await;
    bed.back_up();
    let carol = person(&store, "carol").await;
    store.erase_account(carol.user, "asked for it".to_owned(), Origin::system()).await.unwrap();
    // Killed again and again while it seals, the log still hangs together.
    for round in 0..4u64 {
        let mut streaming = bed.stream();
        let from = 40 + round * 40;
        assert_eq!(write(&store, alice, conversation, from..from + 40).await, 40);
        std::thread::sleep(Duration::from_millis(400 + 333 * round));
        streaming.kill();
    }
    let streaming = bed.stream();
    bed.server().sql("SELECT pg_switch_wal()");
    assert_eq!(write(&store, alice, conversation, 200..210).await, 10);
    bed.until_sealed();
    let said = fine(&bed.run(&["backup", "verify"]));
    assert!(said.contains("its log: whole and authentic"), "{said}");
    let status: serde_json::Value =
        serde_json::from_str(&fine(&bed.run(&["backup", "status", "--json"]))).unwrap();
    assert!(status["age_seconds"].as_u64().unwrap() < 30 && status["log"]["lag_bytes"].is_u64(), "{status}");
    let before: u32 = bed.server().sql("SELECT max(generation) FROM store_generation").parse().unwrap();
    drop(store);
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    let (back, said) = bed.restore(&["latest"]);
    assert!(said.contains("messages 209") && said.contains("3 one-time key packages"), "{said}");
    assert_eq!(messages(&back), 209);
    assert!(back.sql("SELECT max(generation) FROM store_generation").parse::<u32>().unwrap() > before);
    assert_eq!(back.sql("SELECT count(*) FROM key_packages"), "0");
    let store = PostgresStore::open(&back.url("postgres"), StoreOptions::default()).await.unwrap();
    assert_eq!(write(&store, alice, conversation, 300..301).await, 1, "and it goes on");
    assert!(store.find_user("carol@example.org".to_owned()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_moment_can_be_reached() {
    let bed = Bed::new();
    let store = bed.store().await;
    let (alice, _, conversation) = pair(&store).await;
    write(&store, alice, conversation, 1..11).await;
    let name = bed.back_up();
    let streaming = bed.stream();
    write(&store, alice, conversation, 11..21).await;
    let lsn = bed.server().sql("SELECT pg_current_wal_insert_lsn()");
    std::thread::sleep(Duration::from_millis(1_100));
    write(&store, alice, conversation, 21..31).await;
    std::thread::sleep(Duration::from_millis(50));
    let time = bed
        .server()
        .sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
    std::thread::sleep(Duration::from_millis(50));
    write(&store, alice, conversation, 31..41).await;
    bed.until_sealed();
    for (arguments, expected) in [
        (vec![name.as_str()], 10),
        (vec!["--to-lsn", &lsn], 20),
        (vec!["--to-time", &time], 30),
        (vec!["latest"], 40),
    ] {
        let (back, said) = bed.restore(&arguments);
        assert_eq!(messages(&back), expected, "{arguments:?}: {said}");
    }
    refused(
        &bed.run(&["restore", "--to-time", "2020-01-01T00:00:00Z", "--target", "back/x"]),
        4,
        "old enough",
    );
    let drilled = fine(&bed.run(&["backup", "drill"]));
    assert!(drilled.contains("messages 40, audit trail intact"), "{drilled}");
    assert!(!bed.path("data/backup.drill").exists());
    assert_eq!(bed.server().sql("SELECT status FROM restore_drills"), "PASSED");
    assert_eq!(bed.server().sql("SELECT status FROM backups"), "DONE");
    drop(streaming);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_altered_is_refused_and_nothing_is_left() {
    let bed = Bed::new();
    let store = bed.store().await;
    let (alice, _, conversation) = pair(&store).await;
    write(&store, alice, conversation, 1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    write(&store, alice, conversation, 11..21).await;
    bed.until_sealed();
    assert!(streaming.stop().success());
    let target = bed.path("back/pg").display().to_string();
    let place = bed.path("place");
    let objects = files(&place);
    let piece = objects.iter().find(|path| path.starts_with(place.join("wal")) && path.extension().is_none());
    let header =
        objects.iter().find(|path| path.starts_with(place.join("wal")) && path.extension().is_some());
    let base = objects.iter().find(|path| path.ends_with("base.0000"));
    for object in [piece, header, base] {
        let object = object.unwrap();
        let whole = std::fs::read(object).unwrap();
        let mut altered = whole.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        std::fs::write(object, &altered).unwrap();
        let output = bed.run(&["restore", "latest", "--target", &target]);
        assert!(!output.status.success(), "{object:?}");
        assert!(!Path::new(&target).exists() && !bed.path("back/pg.restoring").exists());
        assert!(!bed.run(&["backup", "verify"]).status.success(), "{object:?}");
        std::fs::write(object, whole).unwrap();
    }
    fine(&bed.run(&["backup", "verify"]));
    fine(&bed.run(&["restore", "latest", "--target", &target, "--verify"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_gets_one_line_and_a_code_of_its_own() {
    let bed = Bed::with(Options { password: Some("hunter2".into()), ..Options::default() });
    let held = bed.server().connect().await;
    // What `backup run` holds.
    held.execute("SELECT pg_advisory_lock($1)", &[&0x5345_4355_5245_4241_i64]).await.unwrap();
    refused(&bed.run(&["backup", "run"]), 13, "another backup");
    held.execute("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
    let name = bed.back_up();
    bed.server().sql("CREATE ROLE guest LOGIN PASSWORD 'hunter2' IN ROLE pg_read_all_data, pg_monitor");
    bed.server().sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO guest");
    let guest = bed.url.replace("//test:", "//guest:");
    refused(
        bed.command(&["backup", "run"]).env("BACKUP_DATABASE_URL", &guest).output().as_ref().unwrap(),
        8,
        "replication",
    );
    let pooled = bed.command(&["backup", "run"]).env("DATABASE_POOLER", "transaction").output().unwrap();
    refused(&pooled, 2, "BACKUP_DATABASE_URL");
    let into = bed.path("back").display().to_string();
    refused(
        &bed.run(&["restore", &name, "--target", &bed.path("nowhere/pg").display().to_string()]),
        4,
        "parent",
    );
    let full = bed.path("back/full");
    std::fs::create_dir(&full).unwrap();
    account::hand_over(&full, 0o700);
    std::fs::write(full.join("x"), "").unwrap();
    refused(&bed.run(&["restore", &name, "--target", &full.display().to_string()]), 4, "--replace");
    let said = fine(&bed.run(&["restore", &name, "--target", &full.display().to_string(), "--replace"]));
    assert!(said.contains("what was there lies in"), "{said}");
    refused(&bed.run(&["restore", &name]), 2, "--target");
    refused(&bed.run(&["restore", "--to-lsn", "0/0", "--target", &format!("{into}/y")]), 4, "old enough");
    let missing = bed.run(&["wal-fetch", "--system", "1", "000000010000000000000001", "x"]);
    assert_eq!(missing.status.code(), Some(1));
    let mut wrong = bed.command(&["wal-fetch", "--system", "1", "000000010000000000000001", "x"]);
    assert_eq!(wrong.env("BACKUP_KEY_FILE", "/nowhere").output().unwrap().status.code(), Some(200));
    let embedded = bed.command(&["backup", "stream"]).env("DATABASE_URL", "").output().unwrap();
    refused(&embedded, 2, "embedded");
}

/// Writes until the server is gone; returns how many were acknowledged, and when each was.
async fn load(store: PostgresStore, by: Person, conversation: ConversationId) -> Vec<Instant> {
    let mut acked = Vec::new();
    for n in 1.. {
        if write(&store, by, conversation, n..n + 1).await == 0 {
            break;
        }
        acked.push(Instant::now());
    }
    acked
}

/// Rounds in the tests; `RPO_ROUNDS=20` for the figure.
fn rounds() -> u32 {
    std::env::var("RPO_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_at_most_seconds_are_missing() {
    for round in 0..rounds() {
        let mut bed = Bed::new();
        let store = bed.store().await;
        let (alice, _, conversation) = pair(&store).await;
        bed.back_up();
        let mut streaming = bed.stream();
        bed.until_sealed();
        let loading = tokio::spawn(load(store, alice, conversation));
        tokio::time::sleep(Duration::from_millis(2_000 + u64::from(round) * 97)).await;
        // Everything at once: the server, its folder, and who follows it.
        bed.server.as_mut().unwrap().pause();
        let died = Instant::now();
        streaming.kill();
        bed.server().resume();
        bed.lose_the_server();
        let acked = loading.await.unwrap();
        let (back, _) = bed.restore(&["latest"]);
        let kept = usize::try_from(messages(&back)).unwrap();
        let missing = acked.get(kept).map_or(Duration::ZERO, |first| died.saturating_duration_since(*first));
        println!("round {round}: {} acknowledged, {kept} came back, {missing:?} missing", acked.len());
        assert!(missing < Duration::from_secs(5), "{missing:?} of {} are missing", acked.len());
    }
}
