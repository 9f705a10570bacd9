//! A floor as slow and simple as can be: one thread that looks at every socket in turn, with rustls' own connections,
//! and with the misbehaviour a test asks for.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What the server does wrong, counted in publications.
#[derive(Clone, Copy, Default)]
pub struct Behaviour {
    pub pings: bool,
    pub closes_after: Option<u64>,
    pub dies_after: Option<u64>,
    pub loses: Option<u64>,
    pub doubles: Option<u64>,
}

pub struct Server {
    pub address: SocketAddr,
    pub ca: PathBuf,
    pub tls: bool,
    pongs: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Guest {
    socket: TcpStream,
    tls: Option<ServerConnection>,
    upgraded: bool,
    room: Option<u32>,
    input: Vec<u8>,
    output: Vec<u8>,
    gone: bool,
}

impl Server {
    pub fn start(tls: bool, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("an address");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let ca = std::env::temp_dir().join(format!("load-{}-{}.pem", std::process::id(), address.port()));
        std::fs::write(&ca, made.cert.pem()).expect("a file");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a key");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = tls.then(|| Arc::new(config));
        let (pongs, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let hall =
            Hall { listener, config, behaviour, guests: Vec::new(), publications: 0, pongs: pongs.clone() };
        let ending = ends.clone();
        let thread = Some(std::thread::spawn(move || hall.serve(&ending)));
        Self { address, ca, tls, pongs, ends, thread }
    }

    pub fn pongs(&self) -> u64 {
        self.pongs.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server's thread");
        }
        std::fs::remove_file(&self.ca).expect("its file");
    }
}

struct Hall {
    listener: TcpListener,
    config: Option<Arc<ServerConfig>>,
    behaviour: Behaviour,
    guests: Vec<Guest>,
    publications: u64,
    pongs: Arc<AtomicU64>,
}

impl Hall {
    fn serve(mut self, ends: &AtomicBool) {
        while !ends.load(Ordering::Relaxed) {
            while let Ok((socket, _)) = self.listener.accept() {
                socket.set_nonblocking(true).expect("nonblocking");
                socket.set_nodelay(true).expect("no delay");
                let tls = self.config.clone().map(|c| ServerConnection::new(c).expect("a connection"));
                let (input, output) = (Vec::new(), Vec::new());
                self.guests.push(Guest {
                    socket,
                    tls,
                    upgraded: false,
                    room: None,
                    input,
                    output,
                    gone: false,
                });
            }
            for at in 0..self.guests.len() {
                self.guests[at].read();
                while let Some((opcode, message)) = self.guests[at].next() {
                    self.act(at, opcode, &message);
                }
            }
            if self.behaviour.dies_after.is_some_and(|limit| self.publications >= limit) {
                return;
            }
            self.guests.iter_mut().for_each(Guest::write);
            self.guests.retain(|guest| !guest.gone);
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn act(&mut self, at: usize, opcode: u8, message: &[u8]) {
        match (opcode, message) {
            (2, [1, room @ ..]) => {
                self.guests[at].room = Some(u32::from_be_bytes(room.try_into().expect("a room")));
                self.guests[at].frame(2, &[1]);
            }
            (2, [2, a, b, c, d, body @ ..]) => {
                self.publications += 1;
                let room = u32::from_be_bytes([*a, *b, *c, *d]);
                let hit = |number: Option<u64>| u64::from(number == Some(self.publications));
                let times = 1 + hit(self.behaviour.doubles) - hit(self.behaviour.loses);
                for guest in self.guests.iter_mut().filter(|guest| guest.room == Some(room)) {
                    (0..times).for_each(|_| guest.frame(2, body));
                    if self.behaviour.closes_after == Some(self.publications) {
                        guest.frame(8, b"\x0f\xa5INTERNAL_FAULT");
                    }
                }
            }
            (10, b"ping") => {
                self.pongs.fetch_add(1, Ordering::Relaxed);
            }
            (0, _) => {
                let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                self.guests[at].output.extend_from_slice(head.as_bytes());
                if self.behaviour.pings {
                    self.guests[at].frame(9, b"ping");
                }
            }
            other => panic!("{other:?} from a client"),
        }
    }
}

impl Guest {
    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.output.push(0x80 | opcode);
        match payload.len() {
            short @ 0..126 => self.output.push(short as u8),
            long => {
                self.output.push(126);
                self.output.extend_from_slice(&(long as u16).to_be_bytes());
            }
        }
        self.output.extend_from_slice(payload);
    }

    fn read(&mut self) {
        let mut buffer = [0; 65_536];
        loop {
            let bytes = match self.socket.read(&mut buffer) {
                Ok(bytes) if bytes > 0 => &buffer[..bytes],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => return self.gone = true,
            };
            let Some(tls) = &mut self.tls else {
                self.input.extend_from_slice(bytes);
                if !self.upgraded && self.input[0] != b'G' {
                    self.output.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                }
                continue;
            };
            let mut rest = bytes;
            while !rest.is_empty() {
                tls.read_tls(&mut rest).expect("room for it");
                match tls.process_new_packets() {
                    Ok(state) => {
                        let at = self.input.len();
                        self.input.resize(at + state.plaintext_bytes_to_read(), 0);
                        tls.reader().read_exact(&mut self.input[at..]).expect("what was announced");
                    }
                    // The client does not trust this server, or speaks no TLS.
                    Err(_) => return self.gone = true,
                }
            }
        }
    }

    /// The next message, unmasked; the upgrade is one with opcode 0.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        if !self.upgraded {
            let end = self.input.windows(4).position(|four| four == b"\r\n\r\n")?;
            self.upgraded = true;
            return Some((0, self.input.drain(..end + 4).collect()));
        }
        let second = *self.input.get(1)?;
        assert!(second & 0x80 != 0, "a client's frame without a mask");
        let (header, length) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes([*self.input.get(2)?, *self.input.get(3)?]))),
            short => (2, usize::from(short)),
        };
        let whole = header + 4 + length;
        if self.input.len() < whole {
            return None;
        }
        let frame: Vec<u8> = self.input.drain(..whole).collect();
        let mask = &frame[header..header + 4];
        let message = frame[header + 4..].iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]);
        Some((frame[0] & 0x0f, message.collect()))
    }

    fn write(&mut self) {
        if let Some(tls) = &mut self.tls {
            let taken = tls.writer().write(&self.output).expect("a buffer");
            self.output.drain(..taken);
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    Err(_) => return self.gone = true,
                }
            }
            return;
        }
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(bytes) => drop(self.output.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.gone = true,
            }
        }
    }
}
