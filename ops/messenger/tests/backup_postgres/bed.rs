//! What the tests of a server's backups share: the server, a folder of the account that backs it up, the program.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use schema_store::PostgresStore;
use schema_store::postgres::Options as StoreOptions;
use schema_wire::ConversationId;
use servers::{Folder, Options, Postgres, S3, account};

use crate::people::{Person, pair, write};

pub const KEY: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A server, and a folder of the account that backs it up.
pub struct Bed {
    pub server: Option<Postgres>,
    pub url: String,
    pub folder: Folder,
    /// Where backups lie, as the program's variables say it.
    pub place: Vec<(&'static str, String)>,
    /// The same, as this process sees it.
    pub seen: PathBuf,
}

impl Bed {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let folder = if options.fsync { Folder::new("bk") } else { Folder::fleeting("bk") };
        let server = Postgres::start_with(options);
        for name in ["data", "back"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            account::hand_over(&folder.path().join(name), 0o700);
        }
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        account::hand_over(&folder.path().join("key"), 0o600);
        let seen = folder.path().join("place");
        let place = vec![("BACKUP_LOCATION", seen.display().to_string())];
        let bed = Self { url: server.url("postgres"), server: Some(server), folder, place, seen };
        fine(&bed.run(&["migrate"]));
        bed
    }

    /// With its backups in a bucket.
    pub fn in_bucket(s3: &S3) -> Self {
        Self { place: s3.variables().into(), seen: s3.bucket(), ..Self::new() }
    }

    pub fn server(&self) -> &Postgres {
        self.server.as_ref().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(account::command(env!("CARGO_BIN_EXE_messenger"), self.folder.path()), arguments)
    }

    /// Any command that runs the program, told where everything is.
    pub fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env("DATABASE_URL", &self.url).env("DATA_DIR", self.path("data"));
        command.envs(self.place.iter().cloned()).env("BACKUP_KEY_FILE", self.path("key"));
        command.env("TMPDIR", "/tmp");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A store on the server.
    pub async fn store(&self) -> PostgresStore {
        PostgresStore::open(&self.url, StoreOptions::default()).await.unwrap()
    }

    /// Alice has written to Bob, and goes on.
    pub async fn talk(&self, numbers: Range<u64>) -> Talk {
        let store = self.store().await;
        let (alice, _, conversation) = pair(&store).await;
        let talk = Talk { store, alice, conversation };
        talk.write(numbers).await;
        talk
    }

    pub fn back_up(&self) -> String {
        fine(&self.run(&["backup", "run"])).split(' ').next().unwrap().to_owned()
    }

    /// Seals more often than by default, so that tests wait less.
    pub fn stream(&self) -> Streaming {
        self.stream_with(&["--every", "1"])
    }

    pub fn stream_with(&self, more: &[&str]) -> Streaming {
        let mut command = self.command(&["backup", "stream"]);
        command
            .args(more)
            .stderr(std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap());
        Streaming(command.spawn().unwrap())
    }

    /// Waits until all that the server has written is sealed.
    pub fn until_sealed(&self) {
        let lsn = self.server().sql("SELECT pg_current_wal_flush_lsn()");
        let timeline = self.server().sql("SELECT substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)");
        let timeline = u64::from_str_radix(&timeline, 16).unwrap();
        let began = Instant::now();
        loop {
            let latest = std::fs::read(self.seen.join("latest.json")).unwrap_or_default();
            let latest: serde_json::Value = serde_json::from_slice(&latest).unwrap_or_default();
            // Records end in zeros, which are not sealed as long as nothing follows them.
            if latest["log"]["timeline"].as_u64() == Some(timeline)
                && let Some(to) = latest["log"]["to"].as_str()
                && self.server().sql(&format!("SELECT '{to}'::pg_lsn + 64 >= '{lsn}'::pg_lsn")) == "t"
            {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{lsn} is not sealed: {latest}; {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The server and everything it wrote are gone.
    pub fn lose_the_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill();
        std::fs::remove_dir_all(server.data()).unwrap();
    }

    /// Where restores go to.
    pub fn target(&self) -> PathBuf {
        self.path("back/pg")
    }

    /// The command that restores there.
    pub fn restoring(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&["restore"]);
        command.args(arguments).arg("--target").arg(self.target());
        command
    }

    /// Restores into a new folder and starts a server on it.
    pub fn restore(&self, arguments: &[&str]) -> (Postgres, String) {
        let said = fine(&self.restoring(arguments).output().unwrap());
        assert!(!self.path("back/pg.restoring").exists());
        (Postgres::on(&self.target()), said)
    }
}

/// Alice, who writes to Bob.
pub struct Talk {
    pub store: PostgresStore,
    alice: Person,
    conversation: ConversationId,
}

impl Talk {
    /// Returns how many messages were acknowledged before the server was gone.
    pub async fn write(&self, numbers: Range<u64>) -> u64 {
        write(&self.store, self.alice, self.conversation, numbers).await
    }
}

/// `backup stream` under way.
pub struct Streaming(Child);

impl Streaming {
    pub fn of(child: Child) -> Self {
        Self(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn stop(mut self) -> std::process::ExitStatus {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.ended()
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self) -> std::process::ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it ends");
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
pub fn fine(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Fails with that code and one line that says `part`.
#[track_caller]
pub fn refused(output: &Output, code: i32, part: &str) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> = text.lines().filter(|line| line.starts_with("messenger: ")).collect();
    assert_eq!((output.status.code(), said.len()), (Some(code), 1), "{text}");
    assert!(said[0].contains(part) && !text.contains("hunter2"), "{part} in {text}");
}

pub fn messages(server: &Postgres) -> u64 {
    server.sql("SELECT count(*) FROM messages").parse().unwrap()
}

/// Every file below a folder, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
