//! The whole product as a child process on free ports and a folder of its own, with the demo's two people.
#![allow(clippy::unwrap_used)]
// Each test file uses its part.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// No test waits longer than this for a process to start or to end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Dropping it ends it and removes its folder.
pub struct Server {
    child: Option<Child>,
    folder: PathBuf,
    ports: [u16; 3],
    pub ready: serde_json::Value,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more in its environment.
    pub fn start_with(env: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("messenger-{:016x}", getrandom::u64().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let mut server = Self { child: None, folder, ports, ready: serde_json::Value::Null };
        server.ready = server.launch(&["--demo"], env);
        server
    }

    /// Starts the process on the folder and waits for its line.
    fn launch(&mut self, more: &[&str], env: &[(&str, &str)]) -> serde_json::Value {
        let [relay, api, console] = self.ports.map(|p| p.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
        command.args(["up", "--json", "--shards", "1", "--data"]).arg(self.folder.join("data"));
        command.args(["--relay-port", &relay, "--api-port", &api, "--console-port", &console]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(self.folder.join("log")).unwrap());
        command.envs(env.iter().copied());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.child = Some(child);
        serde_json::from_str(&line).expect("the line that says it is ready")
    }

    /// kill -9, and a new process on the same folder.
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.launch(&[], &[]);
    }

    /// A new process on the same folder, with other things in its environment.
    pub fn restart_with(&mut self, env: &[(&str, &str)]) {
        self.kill();
        self.ready = self.launch(&["--demo"], env);
    }

    /// kill -9, something done to the data folder, and a new process on it.
    pub fn stop_and<T>(&mut self, work: impl FnOnce(&std::path::Path) -> T) -> T {
        self.kill();
        let done = work(&self.data());
        self.launch(&[], &[]);
        done
    }

    /// What the present process logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn text(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap().to_owned()
    }

    pub fn relay(&self) -> String {
        self.text("relay_quic")
    }

    pub fn conversation(&self) -> String {
        self.ready["demo"]["conversation"].as_str().unwrap().to_owned()
    }

    /// Email and password of one of the two people.
    pub fn person(&self, number: usize) -> (String, String) {
        let user = &self.ready["demo"]["users"][number];
        (user["email"].as_str().unwrap().to_owned(), user["password"].as_str().unwrap().to_owned())
    }

    /// A client subcommand as one of the two people.
    pub fn command(&self, name: &str, person: usize) -> Command {
        let (email, password) = self.person(person);
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
        command.arg(name).args([
            "--relay",
            &self.relay(),
            "--api",
            &self.text("api"),
            "--ca",
            &self.text("ca"),
        ]);
        command.args(["--email", &email]);
        command.env("MESSENGER_CONVERSATION", self.conversation()).env("MESSENGER_PASSWORD", password);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Free for TCP and for UDP.
pub fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a listener and waits until it follows the conversation.
pub fn listening(mut command: Command) -> Child {
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the listener ended early");
    }
    // Read on, so that it never waits for room to complain.
    std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
    child
}

/// Waits for the end of a process, within bounds.
pub fn finish(mut child: Child) -> Output {
    drop(child.stdin.take());
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("a process does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

/// The JSON objects of an output, one per line.
pub fn lines(output: &Output) -> Vec<serde_json::Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("one object per line")).collect()
}
