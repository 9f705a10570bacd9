//! A private Redis server: its folder and rules, its life, and commands to it.

mod cluster;
mod reply;

use std::net::SocketAddr;

pub use cluster::Cluster;
pub use reply::Reply;

use crate::account;
use crate::folder::Folder;
use crate::port::Port;
use crate::process::Process;

/// What differs from an ordinary server for tests.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    pub password: Option<String>,
    /// Whether a restart finds what was there. Each command is on disk before its answer.
    pub keeps: bool,
    /// Names and values, as in `redis.conf`; later ones win.
    pub settings: Vec<(String, String)>,
}

/// A Redis server.
pub struct Redis {
    // Ends before its folder.
    process: Option<Process>,
    folder: Folder,
    port: Port,
    password: Option<String>,
}

impl Redis {
    /// One without a password, that keeps nothing.
    pub fn start() -> Self {
        Self::start_with(&RedisOptions::default())
    }

    /// One of one's own making.
    pub fn start_with(options: &RedisOptions) -> Self {
        let (folder, port) = (Folder::new("redis"), Port::free());
        let appends = if options.keeps { "yes" } else { "no" };
        let mut settings = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nsave \"\"\nappendonly {appends}\nappendfsync always\n",
            port.number,
            folder.path().display(),
        );
        if let Some(secret) = &options.password {
            settings.push_str(&format!("requirepass {secret}\n"));
        }
        options.settings.iter().for_each(|(name, value)| settings.push_str(&format!("{name} {value}\n")));
        folder.write("settings.conf", &settings);
        let mut server = Self { process: None, folder, port, password: options.password.clone() };
        server.start_again();
        server
    }

    /// Starts it on its folder and port, and waits until it answers. Panics when it runs already.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = account::command("redis-server", self.folder.path());
        command.arg(self.folder.join("settings.conf"));
        let mut process = Process::start("Redis", &mut command, &self.folder.join("log"));
        process.until(|| matches!(self.try_command(&["PING"]), Some(Reply::Text(_))));
        self.process = Some(process);
    }

    /// Whether it was started and neither stopped nor killed since.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// SIGTERM; returns when it is gone.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(libc::SIGTERM);
        process.wait();
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Stops it in its tracks, as a machine that hangs.
    pub fn pause(&self) {
        self.process.as_ref().expect("it runs").signal(libc::SIGSTOP);
    }

    /// Ends `pause`.
    pub fn resume(&self) {
        self.process.as_ref().expect("it runs").signal(libc::SIGCONT);
    }

    /// Forgets everything.
    pub fn flush(&self) {
        self.command(&["FLUSHALL"]);
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where programs reach it.
    pub fn url(&self) -> String {
        self.url_through(self.address())
    }

    /// The same through a proxy.
    pub fn url_through(&self, address: SocketAddr) -> String {
        match &self.password {
            None => format!("redis://{address}"),
            Some(secret) => format!("redis://:{secret}@{address}"),
        }
    }

    /// One command on a connection of its own. Panics when there is no answer, or an error.
    pub fn command(&self, words: &[&str]) -> Reply {
        match self.try_command(words) {
            Some(Reply::Error(error)) => panic!("Redis answers {words:?}: {error}"),
            Some(reply) => reply,
            None => panic!("Redis does not answer {words:?}"),
        }
    }

    /// The same; none without an answer.
    pub fn try_command(&self, words: &[&str]) -> Option<Reply> {
        reply::ask(self.address(), self.password.as_deref(), words).ok()
    }
}
