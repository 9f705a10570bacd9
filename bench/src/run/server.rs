//! The server under measurement as a process of its own, pinned to its core: the product's release binary, or a floor.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use drill::server::{Launch, tail};
use serde_json::Value;

use super::pin::Pin;
use crate::floor;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    pub address: SocketAddr,
    /// PEM file whose authority signed its certificate.
    pub ca: PathBuf,
    /// Where the key lies that signs access tokens; a floor has none.
    pub signing_key: Option<PathBuf>,
}

/// How a relay is started.
#[derive(Clone, Debug)]
pub struct Relay<'a> {
    pub data: &'a Path,
    pub shards: u16,
    pub pin: Pin,
    pub env: &'a [(&'a str, &'a str)],
    /// A program other than the `messenger` beside this one.
    pub program: Option<&'a Path>,
}

/// What a benchmark needs otherwise than a product: limits of users out of its way, and the floors' address.
const LIMITS: &[(&str, &str)] = &[
    ("MESSAGE_LIMIT_MAX", "1000000"),
    ("MESSAGE_LIMIT_TTL", "1"),
    ("RATE_LIMIT_MAX", "1000000"),
    // Floors listen there too; a socket for both families costs more per packet.
    ("RELAY_LISTEN", "127.0.0.1:0"),
    ("RELAY_EPHEMERAL_PER_S", "1000000"),
    ("RELAY_OUTBOX_EPHEMERAL", "4096"),
    // Nothing is measured while a backup runs.
    ("BACKUP_INTERVAL", "off"),
];

impl Server {
    /// Starts the product.
    pub fn relay(relay: &Relay<'_>) -> Result<Self> {
        let program = match relay.program {
            Some(program) => program.to_owned(),
            None => Launch::program()?,
        };
        let log = relay.data.with_extension("log");
        let mut command = relay.pin.command(&program);
        command.arg("up").arg("--data").arg(relay.data).args(["--demo", "--json"]);
        command.args(["--api-port", "0"]);
        command.args(["--shards", &relay.shards.to_string()]);
        command.envs(LIMITS.iter().copied()).envs(relay.env.iter().copied());
        let (child, line, lines) = start(command, &log)?;
        let ready: Value =
            serde_json::from_str(&line).with_context(|| format!("not a ready line: {line}"))?;
        let text = |name: &str| ready[name].as_str().with_context(|| format!("no {name} in {line}"));
        Ok(Self {
            child,
            lines,
            address: text("relay_quic")?.parse()?,
            ca: text("ca")?.into(),
            signing_key: Some(text("signing_key")?.into()),
        })
    }

    /// Starts the relay inside this program, whose allocator counts.
    pub fn counted(data: &Path, ca: PathBuf, pin: &Pin) -> Result<Self> {
        let mut command = pin.command(&std::env::current_exe()?);
        command.arg("counted").arg("--data").arg(data).envs(LIMITS.iter().copied());
        let (child, line, lines) = start(command, &data.with_extension("counted.log"))?;
        let address = line.strip_prefix("listening ").with_context(|| format!("not an address: {line}"))?;
        Ok(Self { child, lines, address: address.trim().parse()?, ca, signing_key: None })
    }

    /// Sends an empty line; the line that answers it.
    pub fn ask(&mut self) -> Result<String> {
        self.child.stdin.as_mut().context("its standard input")?.write_all(b"\n")?;
        Ok(self.lines.recv_timeout(PATIENCE)?)
    }

    /// Starts a floor, with a certificate of its own in `folder`.
    pub fn floor(kind: floor::Kind, folder: &Path, pin: &Pin) -> Result<Self> {
        let (certificate, key) = (folder.join("floor.crt"), folder.join("floor.key"));
        if !certificate.is_file() {
            let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
            let made = rcgen::generate_simple_self_signed(names)?;
            std::fs::write(&certificate, made.cert.pem())?;
            std::fs::write(&key, made.signing_key.serialize_pem())?;
        }
        let mut command = pin.command(&std::env::current_exe()?);
        let name = clap::ValueEnum::to_possible_value(&kind).context("every floor has a name")?;
        command.args(["floor", "--kind", name.get_name()]);
        command.arg("--certificate").arg(&certificate).arg("--key").arg(&key);
        let (child, line, lines) = start(command, &folder.join("floor.log"))?;
        let address = line.strip_prefix("listening ").with_context(|| format!("not an address: {line}"))?;
        Ok(Self { child, lines, address: address.trim().parse()?, ca: certificate, signing_key: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended by itself ({status})"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program and waits for its first line.
fn start(mut command: Command, log: &Path) -> Result<(Child, String, Receiver<String>)> {
    let errors = OpenOptions::new().create(true).append(true).open(log)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
    let mut child = command.spawn().with_context(|| format!("{command:?} could not be started"))?;
    let stdout = child.stdout.take().context("its standard output")?;
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more once it was ready.
            let _ = said.send(line);
        }
    });
    match heard.recv_timeout(PATIENCE) {
        Ok(line) => Ok((child, line, heard)),
        Err(_) => {
            let _ = child.kill();
            let ended = child.wait()?;
            bail!("{command:?} did not get ready ({ended}):\n{}", tail(log))
        }
    }
}
