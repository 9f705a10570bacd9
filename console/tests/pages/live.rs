//! Streams of the newest figures over a real socket: bounded, alive without news, over with the session.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use schema_store::rows::account::Origin;
use schema_store::rows::role::AccountRole;
use schema_store::{ConsoleAccess, TokenHash};

use crate::support::Desk;

/// Longer than the pause between two signs of life, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

struct Stream(BufReader<TcpStream>);

impl Stream {
    /// Opens one; the status and the head.
    fn open(desk: &Desk, cookie: &str) -> (Self, String) {
        let at = desk.origin.trim_start_matches("http://");
        let mut socket = TcpStream::connect(at).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let head = format!("GET /metrics/live?step=ack HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n");
        socket.write_all(format!("{head}Cookie: session={cookie}\r\n\r\n").as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(socket));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head += &stream.line().expect("a head");
        }
        (stream, head.to_lowercase())
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).unwrap() > 0).then_some(line)
    }

    /// Reads up to a line that begins like this.
    fn until(&mut self, begin: &str) -> String {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("it ended before {begin:?}"));
            if line.starts_with(begin) {
                return line;
            }
        }
    }
}

#[test]
fn a_stream_lives_as_long_as_its_session() {
    let desk = Desk::start();
    let cookie = desk.fresh_session(AccountRole::Sre);
    let (mut stream, head) = Stream::open(&desk, &cookie);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    for line in ["content-type: text/event-stream", "x-accel-buffering: no", "cache-control: no-store"] {
        assert!(head.contains(line), "{line} in {head}");
    }
    stream.until("event: columns");
    assert_eq!(stream.until("data:"), "data: []\n", "nothing is known of any node");
    stream.until(":\n");
    let session = desk.run(desk.store.console_session(TokenHash::of(&cookie))).unwrap().unwrap();
    desk.run(desk.store.close_console_session(session.user, session.id, Origin::system())).unwrap();
    stream.until("event: over");
    while stream.line().is_some() {}
}

#[test]
fn streams_are_bounded() {
    let desk = Desk::start();
    let cookie = desk.fresh_session(AccountRole::Auditor);
    let mut streams = Vec::new();
    let refused = loop {
        let (stream, head) = Stream::open(&desk, &cookie);
        if !head.starts_with("http/1.1 200") {
            break head;
        }
        streams.push(stream);
        assert!(streams.len() < 1_000, "somewhere is an end");
    };
    assert!(refused.starts_with("http/1.1 429") && refused.contains("retry-after: 10"), "{refused}");
    drop(streams.pop());
    let began = Instant::now();
    // The server hears at the next sign of life that nobody reads.
    while !Stream::open(&desk, &cookie).1.starts_with("http/1.1 200") {
        assert!(began.elapsed() < SOON, "its place stays taken");
        std::thread::sleep(Duration::from_millis(500));
    }
}
