//! The server as a process of its own: started on a folder with fixed ports, killed, paused, drained, started again.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use servers::Machine;
use servers::machine::Sync;

/// How long a start may take, and an end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(90);

/// How the server is started each time.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub data: PathBuf,
    pub log: PathBuf,
    pub relay_port: u16,
    pub api_port: u16,
    pub shards: Option<u16>,
    /// MiB of a filesystem of its own that holds `data`, gone with the process.
    pub tiny_mib: Option<u32>,
    /// Whose disk `data` is, and whose clock it goes by.
    pub machine: Option<Arc<Machine>>,
    pub env: Vec<(String, String)>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    /// What it said when it was ready.
    pub ready: Ready,
}

/// The ready line.
#[derive(Clone, Debug)]
pub struct Ready {
    pub relay: String,
    pub wss: String,
    pub ca: PathBuf,
    pub api: String,
    pub signing_key: PathBuf,
}

impl Launch {
    /// On `data`, with free ports and without limits that would get in the drill's way.
    pub fn new(program: PathBuf, data: PathBuf, log: PathBuf) -> Result<Self> {
        let far = ["MESSAGE_LIMIT_MAX", "RATE_LIMIT_MAX", "RATE_LIMIT_AUTH_MAX"];
        let mut env: Vec<_> = far.iter().map(|name| ((*name).to_owned(), "1000000".to_owned())).collect();
        env.push(("REGISTRATION".into(), "open".into()));
        env.push(("REGISTRATION_VERIFY".into(), "none".into()));
        Ok(Self {
            program,
            data,
            log,
            relay_port: free_port()?,
            api_port: free_port()?,
            shards: None,
            tiny_mib: None,
            machine: None,
            env,
        })
    }

    /// Puts it on a machine of its own, whose disk is `data`.
    pub fn give_machine(&mut self, sync: Sync) -> Result<()> {
        std::fs::create_dir_all(&self.data)?;
        self.machine = Some(Arc::new(Machine::with(&self.data, sync)));
        Ok(())
    }

    /// The server that was built next to this program; `tests` live one folder deeper.
    pub fn program() -> Result<PathBuf> {
        let here = std::env::current_exe().context("where this program is")?;
        let folders = here.ancestors().skip(1).take(2);
        let found = folders.map(|folder| folder.join("messenger")).find(|program| program.is_file());
        found.context("there is no messenger next to this program: cargo build -p messenger")
    }

    /// Starts it and waits until clients can connect.
    pub fn start(&self) -> Result<Server> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut child = self.command(log).spawn().with_context(|| self.program.display().to_string())?;
        let stdout = child.stdout.take().context("its standard output")?;
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens any more once it was ready.
                let _ = said.send(line);
            }
        });
        match heard.recv_timeout(PATIENCE) {
            Ok(line) => Ok(Server { child: Some(child), ready: Ready::parse(&line)? }),
            Err(_) => {
                let _ = child.kill();
                let ended = child.wait()?;
                bail!("the server did not get ready ({ended}); see {}", self.log.display())
            }
        }
    }

    /// Brings the schema of its database up to date.
    pub fn migrate(&self) -> Result<()> {
        let mut command = Command::new(&self.program);
        let output = command.arg("migrate").envs(self.env.iter().cloned()).output()?;
        if !output.status.success() {
            bail!("messenger migrate: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// In a mount namespace of its own; without root, in a user namespace of its own as well. `exec` keeps the id.
    fn on_tiny_filesystem(&self, mib: u32) -> Command {
        let mut command = Command::new("unshare");
        // SAFETY: the call reads the process's own user id and can't fail.
        if unsafe { libc::geteuid() } != 0 {
            command.arg("--map-root-user");
        }
        let mount = format!("mount -t tmpfs -o size={mib}m,mode=700 tmpfs \"$0\" && exec \"$@\"");
        command.args(["--mount", "sh", "-c", &mount]).arg(&self.data).arg(&self.program);
        command
    }

    fn command(&self, log: File) -> Command {
        let mut command = match self.tiny_mib {
            None => Command::new(&self.program),
            Some(mib) => self.on_tiny_filesystem(mib),
        };
        command.arg("up").arg("--data").arg(&self.data).args(["--demo", "--json"]);
        command.args(["--relay-port", &self.relay_port.to_string()]);
        command.args(["--api-port", &self.api_port.to_string()]);
        if let Some(shards) = self.shards {
            command.args(["--shards", &shards.to_string()]);
        }
        command.envs(self.env.iter().cloned());
        command.envs(self.machine.iter().flat_map(|machine| machine.variables()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command
    }
}

impl Ready {
    fn parse(line: &str) -> Result<Self> {
        let ready: Value = serde_json::from_str(line).with_context(|| format!("not a ready line: {line}"))?;
        let text = |name: &str| {
            ready[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {line}"))
        };
        Ok(Self {
            relay: text("relay_quic")?,
            wss: text("relay_wss")?,
            ca: text("ca")?.into(),
            api: text("api")?,
            signing_key: text("signing_key")?.into(),
        })
    }
}

impl Server {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("handed over only by hand_over").id()
    }

    /// Leaves an empty handle behind, to be replaced by a server started later.
    pub fn hand_over(&mut self) -> Self {
        Self { child: self.child.take(), ready: self.ready.clone() }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("handed over only by hand_over")
    }

    /// Fails when it ended without being asked to.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child().try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended by itself: {status}"),
        }
    }

    /// A path of the server as this process reaches it, whatever filesystems the server sees.
    pub fn seen_from_here(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid())).join(path.strip_prefix("/").unwrap_or(path))
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.child().kill()?;
        self.child().wait()?;
        Ok(())
    }

    /// SIGTERM; returns how it ended.
    pub fn drain(self) -> Result<ExitStatus> {
        self.ask_to_end();
        self.left()
    }

    /// SIGTERM.
    pub fn ask_to_end(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Waits until it ends; how it did.
    pub fn left(mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child().try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the server did not end within {PATIENCE:?}")
    }

    /// Stops it for a while, as a busy machine would.
    pub fn pause(&self, time: Duration) {
        self.freeze();
        std::thread::sleep(time);
        self.thaw();
    }

    /// Stops it until it is thawed.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the process is this one's child and was not waited for, so the id is still its own.
        let sent = unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        assert_eq!(sent, 0, "a child can be sent a signal");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A folder of this run's own.
pub fn work_folder(name: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("messenger-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// The end of a log, for a message.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The ends of all logs in a folder.
pub fn tails(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let logs = files.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    logs.map(|log| format!("{}\n{}\n", log.display(), tail(&log))).collect()
}

/// A port that is free for TCP and UDP at this moment.
fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let port = tcp.local_addr()?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free for TCP and UDP")
}
