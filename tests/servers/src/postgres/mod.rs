//! A private PostgreSQL server: its folder, its rules, and how it is reached.

mod certificate;
mod life;
mod options;
mod segment;
mod standby;
mod template;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use life::Stop;
pub use options::{Options, Tls};
pub use segment::Segment;
pub use standby::Sync;
pub use tokio_postgres::Client;
use tokio_postgres::NoTls;

use crate::account;
use crate::disk::Disk;
use crate::folder::Folder;
use crate::machine::Machine;
use crate::port::Port;
use crate::process::Process;

/// The one who may do everything; reached without a password through the socket only.
pub const USER: &str = "test";
/// Variable that asks for the server whose programs are in this folder, such as one of another version.
pub const WANTED: &str = "MESSENGER_TEST_POSTGRES";
/// How often, with `PAUSE` between, a connection is tried before the server counts as broken.
const TRIES_MAX: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);
/// Beginning of its folder's name.
const PREFIX: &str = "pg";
/// Where the files of the server are, inside its folder.
const DATA: &str = "data";
const LOG: &str = "log";

/// A PostgreSQL server.
pub struct Postgres {
    // Ends before its machine, its disk and its folder.
    process: Option<Process>,
    machine: Option<Machine>,
    disk: Option<Disk>,
    folder: Folder,
    port: Port,
    options: Options,
    /// One of each of its lives, oldest first.
    segments: Vec<Segment>,
}

impl Postgres {
    /// One that does not wait for its disk, without TLS or password.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// One of one's own making. Panics with what to install when there is no server.
    pub fn start_with(options: Options) -> Self {
        let folder = Self::folder(&options);
        let mut server = Self::prepare(options, folder);
        server.init();
        assert!(server.disk.is_none() || server.options.machine.is_none(), "a small disk is no machine's");
        server.machine = server.options.machine.map(|sync| Machine::with(&server.data(), sync));
        server.start_again();
        server
    }

    fn folder(options: &Options) -> Folder {
        if options.is_on_disk() { Folder::new(PREFIX) } else { Folder::fleeting(PREFIX) }
    }

    fn prepare(options: Options, folder: Folder) -> Self {
        segment::sweep();
        let disk = options.disk_mib.map(|mib| {
            let at = folder.join(DATA);
            std::fs::create_dir(&at).expect("the folder is new");
            Disk::mount(&at, mib, &folder.join(LOG))
        });
        Self { process: None, machine: None, disk, folder, port: Port::free(), options, segments: Vec::new() }
    }

    fn init(&self) {
        // On a machine that loses its power, names of files are to change often.
        let segment_mib = self.options.segment_mib.or(self.options.machine.map(|_| 1));
        let is_usual = segment_mib.is_none() && self.options.password.is_none() && self.disk.is_none();
        if is_usual {
            template::lay_out(&self.data(), &programs(), |at| self.initdb(at, None));
        } else {
            self.initdb(&self.data(), segment_mib);
        }
        let certificate = certificate::make();
        self.folder.write("ca.pem", &certificate.authority);
        self.folder.write("server.pem", &certificate.chain);
        self.folder.write("server.key", &certificate.key);
        self.write("pg_hba.conf", &self.options.rules());
        let settings = self.read("postgresql.conf") + &self.options.settings(self.folder.path());
        self.write("postgresql.conf", &settings);
    }

    fn initdb(&self, at: &Path, segment_mib: Option<u32>) {
        let secret = self.options.password.as_deref().unwrap_or("unused");
        let secret = self.folder.write("password", secret);
        let mut command = self.command("initdb");
        command.args(["-U", USER, "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8"]);
        command.arg("--pwfile").arg(secret).arg("-D").arg(at);
        command.args(segment_mib.map(|mib| format!("--wal-segsize={mib}")));
        run(&mut command);
    }

    /// A server on a data folder that something else made, in a folder of the account that runs it.
    pub fn on(data: &Path) -> Self {
        let mut server = Self::prepare(Options::default(), Folder::beside(data, PREFIX));
        std::fs::rename(data, server.folder.join(DATA)).expect("both are on one filesystem");
        server.write("pg_hba.conf", &server.options.rules());
        let settings = server.read("postgresql.conf") + &server.options.settings(server.folder.path());
        server.write("postgresql.conf", &settings);
        server.start_again();
        server
    }

    /// Where the server sees its files.
    pub fn data(&self) -> PathBuf {
        // A mount is not empty, which initdb wants.
        match &self.disk {
            None => self.folder.join(DATA),
            Some(_) => self.folder.join(DATA).join("db"),
        }
    }

    /// A file of the server, as this process reaches it.
    pub fn seen(&self, name: &str) -> PathBuf {
        match &self.disk {
            None => self.data().join(name),
            Some(disk) => disk.seen("db").join(name),
        }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.seen(name)).unwrap_or_else(|e| panic!("{name} is readable: {e}"))
    }

    /// Replaces a file of the server.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.seen(name), text).unwrap_or_else(|e| panic!("{name} is writable: {e}"));
    }

    /// The disk it was given.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("Options::disk_mib was set")
    }

    /// The machine it was given.
    pub fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("Options::machine was set")
    }

    /// A program of the server, as the account that runs it.
    fn command(&self, program: &str) -> Command {
        let program = programs().join(program);
        match &self.disk {
            None => account::command(program, self.folder.path()),
            Some(disk) => disk.enter(&program, self.folder.path()),
        }
    }

    /// Its TCP address.
    pub fn address(&self) -> std::net::SocketAddr {
        self.port.address()
    }

    /// The folder of its socket.
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate to trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(LOG)).unwrap_or_default()
    }

    /// Where programs reach a database of it.
    pub fn url(&self, database: &str) -> String {
        self.url_through(self.address(), database)
    }

    /// The same through a proxy or pooler.
    pub fn url_through(&self, address: std::net::SocketAddr, database: &str) -> String {
        match &self.options.password {
            None => format!("postgres://{USER}@{address}/{database}"),
            Some(secret) => format!("postgres://{USER}:{secret}@{address}/{database}"),
        }
    }

    /// A connection of its own to the database `postgres`, through the socket.
    pub async fn connect(&self) -> Client {
        self.connect_to("postgres").await
    }

    /// The same to another database.
    pub async fn connect_to(&self, database: &str) -> Client {
        for _ in 0..TRIES_MAX {
            if let Some(client) = self.try_connect_to(database).await {
                return client;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the PostgreSQL server did not come up; its log ends:\n{}", self.log());
    }

    /// The same; none when it takes no more connections, or is away.
    pub async fn try_connect_to(&self, database: &str) -> Option<Client> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.socket()).port(self.port.number).user(USER).dbname(database);
        let (client, connection) = config.connect(NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }

    /// Runs SQL in the database `postgres`; returns its rows, columns separated by bars.
    pub fn sql(&self, text: &str) -> String {
        self.sql_in("postgres", text)
    }

    /// The same in another database.
    pub fn sql_in(&self, database: &str, text: &str) -> String {
        run(&mut self.psql(database, text))
    }

    /// The same; none when it fails.
    pub fn try_sql(&self, text: &str) -> Option<String> {
        let output = self.psql("postgres", text).output().expect("psql is there");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn psql(&self, database: &str, text: &str) -> Command {
        // The one on the path may be a script that chooses among servers, and starts slower than it answers.
        let mut command = account::command(programs().join("psql"), self.folder.path());
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database]);
        command.arg("-h").arg(self.socket()).args(["-p", &self.port.number.to_string(), "-c", text]);
        command
    }

    /// A new empty database; where programs reach it.
    pub fn database(&self, name: &str) -> String {
        self.sql(&format!("CREATE DATABASE {name}"));
        self.url(name)
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} could not be started: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Where the newest installed server is, or the one that is asked for.
pub fn programs() -> PathBuf {
    if let Some(wanted) = std::env::var_os(WANTED).filter(|wanted| !wanted.is_empty()) {
        return wanted.into();
    }
    let version = |folder: &PathBuf| {
        let name = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        name.and_then(|name| name.parse::<u32>().ok()).unwrap_or_default()
    };
    let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let packaged = packaged.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let searched: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let has_server = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    let found = packaged.chain(searched).filter(has_server).max_by_key(version);
    found.expect("PostgreSQL 15 or newer must be installed (Debian: apt-get install postgresql-15)")
}
