//! A small blocking client of the floors, over TLS or not, that may send its bytes one by one.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::floor::frames::{BINARY, split};

const REQUEST: &[u8] =
    b"GET /floor HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x12, 0xf3, 0x56, 0x78];

/// A self-signed certificate in files.
pub struct Authority {
    pub certificate: PathBuf,
    pub key: PathBuf,
    config: Arc<ClientConfig>,
    _folder: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { certificate, key, config: Arc::new(config), _folder: folder }
    }

    fn connection(&self) -> ClientConnection {
        ClientConnection::new(self.config.clone(), "localhost".try_into().unwrap()).unwrap()
    }
}

/// How a client's bytes are cut into segments.
#[derive(Clone, Copy)]
pub enum Cut {
    Whole,
    Bytewise,
}

struct Wire {
    socket: TcpStream,
    cut: Cut,
}

impl Wire {
    fn connect(port: u16, cut: Cut) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, cut }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self.cut {
            Cut::Whole => self.socket.write(bytes),
            Cut::Bytewise => self.socket.write(&bytes[..bytes.len().min(1)]),
        }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

trait Stream: Read + Write + Send {
    /// Appends the end of the session to what is sent next.
    fn part(&mut self);
}

impl Stream for Wire {
    fn part(&mut self) {}
}

impl Stream for StreamOwned<ClientConnection, Wire> {
    fn part(&mut self) {
        self.conn.send_close_notify();
    }
}

pub struct Client {
    stream: Box<dyn Stream>,
    arrived: Vec<u8>,
}

impl Client {
    pub fn plain(port: u16, cut: Cut) -> Self {
        Self::upgrade(Wire::connect(port, cut), true)
    }

    pub fn tls(port: u16, authority: &Authority, cut: Cut) -> Self {
        Self::upgrade(StreamOwned::new(authority.connection(), Wire::connect(port, cut)), true)
    }

    /// The request travels with the last message of the handshake, half of a frame behind it.
    pub fn hasty(port: u16, authority: &Authority) -> Self {
        let (mut tls, mut wire) = (authority.connection(), Wire::connect(port, Cut::Whole));
        while tls.is_handshaking() {
            while tls.wants_write() {
                tls.write_tls(&mut wire).unwrap();
            }
            tls.read_tls(&mut wire).unwrap();
            tls.process_new_packets().unwrap();
        }
        tls.writer().write_all(REQUEST).unwrap();
        let mut together = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut together).unwrap();
        }
        let mut ping = Vec::new();
        push_masked(9, b"and a ping", &mut ping);
        tls.writer().write_all(&ping).unwrap();
        while tls.wants_write() {
            tls.write_tls(&mut together).unwrap();
        }
        let (now, later) = together.split_at(together.len() - 7);
        wire.write_all(now).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        wire.write_all(later).unwrap();
        let mut client = Self::upgrade(StreamOwned::new(tls, wire), false);
        assert_eq!(client.any(), (10, b"and a ping".to_vec()));
        client
    }

    fn upgrade(stream: impl Stream + 'static, ask: bool) -> Self {
        let mut client = Self { stream: Box::new(stream), arrived: Vec::new() };
        if ask {
            client.stream.write_all(REQUEST).unwrap();
        }
        let end = loop {
            if let Some(at) = client.arrived.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            client.read_more();
        };
        let answer = String::from_utf8(client.arrived.drain(..end).collect()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n")), "{answer}");
        client
    }

    fn read_more(&mut self) {
        let mut buffer = [0; 64 * 1024];
        let n = self.stream.read(&mut buffer).unwrap();
        assert!(n > 0, "the floor closed");
        self.arrived.extend_from_slice(&buffer[..n]);
    }

    pub fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::new();
        push_masked(opcode, payload, &mut frame);
        self.stream.write_all(&frame).unwrap();
    }

    pub fn join(&mut self, room: u32) {
        self.frame(BINARY, &[[1].as_slice(), &room.to_be_bytes()].concat());
        assert_eq!(self.message(), [1]);
    }

    /// Publishes to rooms, all in one write.
    pub fn publish<'a>(&mut self, publications: impl IntoIterator<Item = (u32, &'a [u8])>) {
        let mut frames = Vec::new();
        for (room, body) in publications {
            push_masked(BINARY, &[[2].as_slice(), &room.to_be_bytes(), body].concat(), &mut frames);
        }
        self.stream.write_all(&frames).unwrap();
    }

    /// A publication, the end of the session, then the other side's end.
    pub fn publish_and_part(mut self, room: u32, body: &[u8]) {
        self.frame(BINARY, &[[2].as_slice(), &room.to_be_bytes(), body].concat());
        self.stream.part();
        self.stream.flush().unwrap();
        self.must_end();
    }

    /// The next message's payload.
    pub fn message(&mut self) -> Vec<u8> {
        let (opcode, payload) = self.any();
        assert_eq!(opcode, BINARY);
        payload
    }

    /// The next frame's opcode and payload.
    pub fn any(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((opcode, header_len, len)) = server_frame(&self.arrived)
                && self.arrived.len() >= header_len + len
            {
                let frame: Vec<u8> = self.arrived.drain(..header_len + len).collect();
                return (opcode, frame[header_len..].to_vec());
            }
            self.read_more();
        }
    }

    pub fn must_end(&mut self) {
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => {}
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
                "{error}"
            ),
            Ok(n) => panic!("{n} bytes more"),
        }
    }
}

/// Opcode, length of the header, length of the payload.
pub fn server_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert!(first & 0xf0 == 0x80 && second & 0x80 == 0, "whole and unmasked");
    let (header_len, len) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    Some((first & 0x0f, header_len, len))
}

/// Appends a client's frame.
pub fn push_masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    debug_assert!(split(out).is_ok());
}
