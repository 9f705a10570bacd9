//! The server that is backed up, the folder of both programs, and a turn of each.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use servers::postgres::{USER, programs};
use servers::{Options, Postgres, account};

use super::Turn;
use super::cost::{self, Cost};
use super::fill::fill;

/// Of both programs; no secret.
const KEY: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
/// Where nothing but the comparison's own files go.
const FOLDERS: [&str; 5] = ["data", "repository", "log", "spool", "socket"];
/// The program that is measured against.
const RIVAL: &str = "pgbackrest";
/// Takes the log and keeps nothing.
const NOWHERE: &str = "/bin/true";

/// Everything a turn needs.
pub struct Bed {
    pub server: Postgres,
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Bed {
    /// A filled server with PostgreSQL's own settings, and an empty repository.
    pub fn new(program: PathBuf, megabytes: u64) -> Result<Self> {
        let rival = Command::new(RIVAL).arg("version").stdout(Stdio::null()).status();
        ensure!(
            rival.is_ok_and(|status| status.success()),
            "{RIVAL} is missing; fix: apt-get install {RIVAL}"
        );
        let options = Options { fsync: true, ..Options::default() }
            .set("shared_buffers", "128MB")
            .set("archive_mode", "on")
            .set("archive_command", NOWHERE);
        let server = Postgres::start_with(options);
        let folder = tempfile::Builder::new().prefix("bb").tempdir_in("/tmp")?;
        account::hand_over(folder.path(), 0o700);
        let bed = Self { server, folder, program };
        for name in FOLDERS {
            std::fs::create_dir(bed.path(name))?;
            account::hand_over(&bed.path(name), 0o700);
        }
        bed.write("key", KEY)?;
        bed.write("pgbackrest.conf", &bed.rival_settings())?;
        let migrated = bed.ours(&["migrate"]).stdout(Stdio::null()).status()?;
        ensure!(migrated.success(), "messenger migrate failed");
        fill(&bed.server, megabytes)?;
        let made = bed.rival(&["stanza-create"]).status().context("pgbackrest could not be started")?;
        ensure!(made.success(), "pgbackrest stanza-create failed");
        Ok(bed)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.path(name), text)?;
        account::hand_over(&self.path(name), 0o600);
        Ok(())
    }

    /// As fast as its documentation makes it: lz4, every core.
    fn rival_settings(&self) -> String {
        let at = |name: &str| self.path(name).display().to_string();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        format!(
            "[global]\nrepo1-path={}\nlog-path={}\nspool-path={}\nlock-path={}\ncompress-type=lz4\nprocess-max={cores}\n\
             repo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass={KEY}\nrepo1-retention-full=1\nstart-fast=y\n\
             log-level-console=warn\nlog-level-file=off\n\
             [bench]\npg1-path={}\npg1-port={}\npg1-socket-path={}\npg1-user={USER}\n",
            at("repository"),
            at("log"),
            at("spool"),
            at("log"),
            self.server.data().display(),
            self.server.address().port(),
            self.server.socket().display(),
        )
    }

    fn ours(&self, arguments: &[&str]) -> Command {
        let mut command = account::command(&self.program, self.folder.path());
        command.args(arguments).env("DATABASE_URL", self.server.url("postgres"));
        command.env("DATA_DIR", self.path("data")).env("BACKUP_LOCATION", self.path("place"));
        command.env("BACKUP_KEY_FILE", self.path("key")).env("LOG_LEVEL", "error").env("TMPDIR", "/tmp");
        command
    }

    fn rival(&self, arguments: &[&str]) -> Command {
        let mut command = account::command(RIVAL, self.folder.path());
        command.arg(format!("--config={}", self.path("pgbackrest.conf").display()));
        command.arg("--stanza=bench").args(arguments);
        command
    }

    /// Who gets the server's log.
    fn archive(&self, command: &str) {
        self.server.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        self.server.sql("SELECT pg_reload_conf()");
    }

    /// Nothing of what was done before is left to be written.
    fn settle(&self) -> Result<()> {
        self.server.sql("CHECKPOINT");
        let folder = std::fs::File::open(self.folder.path())?;
        // SAFETY: an open descriptor of ours.
        ensure!(unsafe { libc::syncfs(folder.as_raw_fd()) } == 0, "syncfs failed");
        Ok(())
    }

    fn measure(&self, mut command: Command, server: Option<u32>) -> Result<Cost> {
        self.settle()?;
        let program = Path::new(command.get_program()).to_owned();
        let name = program.file_name().context("a program has a name")?.to_string_lossy().into_owned();
        cost::of(&mut command, &name, &self.path("log/said"), server)
    }

    fn server_id(&self) -> Result<u32> {
        let mark = std::fs::read_to_string(self.server.seen("postmaster.pid"))?;
        mark.lines().next().context("the mark has a first line")?.parse().context("which is a process id")
    }

    /// A full backup of ours, a check, and a restore.
    pub fn turn_of_ours(&self) -> Result<Turn> {
        self.archive(NOWHERE);
        let full = self.measure(self.ours(&["backup", "run"]), Some(self.server_id()?))?;
        let verify = self.measure(self.ours(&["backup", "verify"]), None)?;
        let target = self.path("ours");
        let into = target.display().to_string();
        let restore = self.measure(self.ours(&["restore", "latest", "--target", &into]), None)?;
        let restore = restore.and(self.start(&target)?);
        std::fs::remove_dir_all(&target)?;
        std::fs::remove_dir_all(self.path("place"))?;
        Ok(Turn { full, verify, restore })
    }

    /// The same of the other one, which takes the log meanwhile.
    pub fn turn_of_rival(&self) -> Result<Turn> {
        let settings = self.path("pgbackrest.conf").display().to_string();
        self.archive(&format!("pgbackrest --config={settings} --stanza=bench archive-push %p"));
        ensure!(self.rival(&["check"]).status()?.success(), "pgbackrest check failed");
        let full = self.measure(self.rival(&["--type=full", "backup"]), Some(self.server_id()?))?;
        let verify = self.measure(self.rival(&["verify"]), None)?;
        let target = self.path("rival");
        std::fs::create_dir(&target)?;
        account::hand_over(&target, 0o700);
        let into = format!("--pg1-path={}", target.display());
        let restore = self.measure(self.rival(&[&into, "--archive-mode=off", "restore"]), None)?;
        let restore = restore.and(self.start(&target)?);
        std::fs::remove_dir_all(&target)?;
        Ok(Turn { full, verify, restore })
    }

    /// A server on a restored folder, until it has recovered and takes connections.
    fn start(&self, data: &Path) -> Result<Cost> {
        let mut command = account::command(programs().join("postgres"), self.folder.path());
        command.arg("-D").arg(data).arg("-k").arg(self.path("socket"));
        for setting in ["listen_addresses=", "archive_mode=off", "ssl=off"] {
            command.args(["-c", setting]);
        }
        let mark = data.join("postmaster.pid");
        cost::until(&mut command, &self.path("log/started"), || {
            let text = std::fs::read_to_string(&mark).unwrap_or_default();
            text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
        })
    }
}
