//! The real binary as a child process with a data folder of its own; stopped by pid, its log kept for failures.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;

/// Lines of the log shown when a test fails.
const LOG_LINES: usize = 40;

/// The binary under test: built beside the test executable.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let found = own.ancestors().skip(1).take(3).map(|folder| folder.join("messenger")).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("no messenger binary beside {}: cargo build -p messenger", own.display()))
}

/// How the product is started.
#[derive(Clone, Default)]
pub struct Settings {
    pub env: Vec<(String, String)>,
    pub args: Vec<String>,
}

impl Settings {
    /// Adds a variable.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.into(), value.to_string()));
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl ToString) -> Self {
        self.args.push(arg.to_string());
        self
    }
}

/// Whether this test's servers leave TLS records to rustls. Each test is a process of its own.
static RECORDS_BY_RUSTLS: AtomicBool = AtomicBool::new(false);

/// Servers started from here on leave TLS records to rustls.
pub fn protect_records_by_rustls() {
    RECORDS_BY_RUSTLS.store(true, Ordering::Relaxed);
}

/// A command of the binary with nothing of the caller's environment that could change it.
pub fn command(settings: &Settings) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if RECORDS_BY_RUSTLS.load(Ordering::Relaxed) {
        command.env("RELAY_TLS_RECORDS", "rustls");
    }
    command.envs(settings.env.iter().cloned()).args(&settings.args);
    command
}

/// Runs a command of the binary to its end, with `input` on standard input.
pub fn run_to_end(settings: &Settings, input: &str) -> Output {
    use std::io::Write;
    let mut child = command(settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    // It may have ended without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let (sender, ended) = mpsc::channel();
    let pid = child.id();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("it was started"),
        Err(_) => {
            signal(pid, libc::SIGKILL);
            panic!("{:?} did not end", settings.args)
        }
    }
}

/// The running product.
pub struct Server {
    pub ready: Value,
    pub folder: PathBuf,
    child: Child,
    settings: Settings,
}

impl Server {
    /// Starts it on `folder` with free ports and waits for the ready line.
    pub fn start(folder: &Path, settings: Settings) -> Self {
        Self::start_at(folder, settings, 0)
    }

    fn start_at(folder: &Path, settings: Settings, relay_port: u16) -> Self {
        let data = folder.join("data");
        lend_key(&data);
        let log = File::options().create(true).append(true).open(folder.join("log")).expect("a log file");
        let mut up: Vec<String> = ["up", "--json", "--api-port", "0"].map(str::to_owned).into();
        up.extend(["--relay-port".into(), relay_port.to_string()]);
        up.extend(["--data".into(), data.display().to_string()]);
        up.extend(settings.args.iter().cloned());
        let mut child = command(&Settings { args: up, env: settings.env.clone() })
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let line = first_line(&mut child);
        let ready = line.and_then(|line| serde_json::from_str(&line).ok());
        let Some(ready) = ready else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the product did not get ready; its log ends:\n{}", log_tail(folder));
        };
        keep_key(&data);
        Self { ready, folder: folder.to_owned(), child, settings }
    }

    /// Where WSS and QUIC are.
    pub fn relay(&self) -> SocketAddr {
        self.text("relay_quic").parse().expect("an address")
    }

    /// Where the account API is.
    pub fn api(&self) -> SocketAddr {
        self.text("api").trim_start_matches("http://").parse().expect("an address")
    }

    /// Where the internal listener is.
    pub fn internal(&self) -> SocketAddr {
        self.text("internal").trim_start_matches("http://").parse().expect("an address")
    }

    /// The certificate to trust.
    pub fn ca(&self) -> PathBuf {
        self.text("ca").into()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// All it has logged so far, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).expect("the log is there")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to drain and leave.
    pub fn terminate(&self) {
        signal(self.child.id(), libc::SIGTERM);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child, PATIENCE).expect("it ends after being told to")
    }

    /// Kills it without warning and starts it again on the same folder.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().expect("it runs");
        let status = self.child.wait().expect("it was started");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        self.start_again();
    }

    /// The same, at the same port, where clients look for it.
    pub fn kill_and_restart_in_place(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started");
        let again = Self::start_at(&self.folder, self.settings.clone(), self.relay().port());
        *self = again;
    }

    /// Starts it again on the same folder after it ended.
    pub fn start_again(&mut self) {
        assert!(!self.is_running());
        let again = Self::start(&self.folder, self.settings.clone());
        *self = again;
    }

    fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().unwrap_or_else(|| panic!("the ready line has {field}: {}", self.ready))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_running() {
            // What a test left connected need not drain: the second signal is quick, the third certain.
            self.terminate();
            if wait(&mut self.child, Duration::from_millis(300)).is_none() {
                self.terminate();
            }
            if wait(&mut self.child, Duration::from_secs(2)).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        if std::thread::panicking() {
            eprintln!("the product's log ends:\n{}", log_tail(&self.folder));
        }
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes two numbers; the process is a child that was not waited for yet.
    unsafe { libc::kill(pid as i32, signal) };
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if start.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn first_line(child: &mut Child) -> Option<String> {
    let stdout = child.stdout.take().expect("piped");
    let (sender, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let _ = sender.send(line);
        // Read on, so that it never writes to a closed pipe.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    line.recv_timeout(2 * PATIENCE).ok().filter(|line| !line.is_empty())
}

fn log_tail(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// Where a signing key is kept between tests: making one takes seconds without optimisation.
fn kept_key() -> PathBuf {
    binary().with_file_name("wire-tests-signing.pem")
}

fn lend_key(data: &Path) {
    let key = data.join("keys/signing.pem");
    if key.exists() || !kept_key().exists() {
        return;
    }
    for folder in [data, &data.join("keys")] {
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).expect("our own folder");
    }
    std::fs::copy(kept_key(), &key).expect("the key is readable");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("our own file");
}

fn keep_key(data: &Path) {
    let (kept, key) = (kept_key(), data.join("keys/signing.pem"));
    if kept.exists() || !key.exists() {
        return;
    }
    // Tests may do this at the same time: the name appears with the whole file behind it.
    let own = kept.with_extension(std::process::id().to_string());
    std::fs::copy(key, &own)
        .and_then(|_| std::fs::rename(&own, &kept))
        .expect("the build folder is writable");
}
