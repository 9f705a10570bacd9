//! One socket and the layers on it: bytes in become frames, frames out become records and one write.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};

use super::frames::{Cutter, Opcode};
use super::tls::{Content, Keys, RECORD_BYTES_MAX, record_bytes};
use crate::load::clock;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// What all connections read into: what one had left of a record, and a read.
pub const BUFFER_BYTES: usize = READ_BYTES + RECORD_BYTES_MAX;
/// Bytes that a server may leave unread before the run is given up.
const UNSENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Receive buffer of connections that stop reading on purpose, so that the server notices soon.
const SMALL_RECEIVE_BYTES: usize = 64 * 1024;

/// How a socket is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub address: SocketAddr,
    /// Last part of the loopback address it comes from; `None` leaves it to the system.
    pub source: Option<u8>,
    /// It will stop reading.
    pub small: bool,
    /// Closing resets it, so that its port is free at once.
    pub reset: bool,
}

/// A socket and its layers.
pub struct Link {
    socket: TcpStream,
    keys: Option<Keys>,
    cutter: Cutter,
    /// Of a record that is not whole.
    rest: Vec<u8>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
}

impl Link {
    /// Begins to connect.
    ///
    /// # Errors
    /// No descriptor or port is left, or nobody listens.
    pub fn connect(opening: Opening) -> Result<Self> {
        let to = || format!("cannot connect to {}; is the server running?", opening.address);
        let socket = Socket::new(
            Domain::for_address(opening.address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        if opening.small {
            socket.set_recv_buffer_size(SMALL_RECEIVE_BYTES)?;
        }
        if opening.reset {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        if let Some(last) = opening.source {
            choose_port_late(&socket)?;
            socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0).into())?;
        }
        match socket.connect(&opening.address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                return Err(error).with_context(to);
            }
            _ => {}
        }
        let (cutter, rest, unsent) = (Cutter::default(), Vec::new(), Vec::new());
        Ok(Self { socket: socket.into(), keys: None, cutter, rest, unsent })
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Whether the connection stands.
    ///
    /// # Errors
    /// It was refused.
    pub fn connected(&self) -> Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error).context("cannot connect; is the server running?");
        }
        Ok(self.socket.peer_addr().is_ok())
    }

    /// Goes on with a handshake; true once it is over. Call [`Link::secure`] then.
    ///
    /// # Errors
    /// The certificate is not trusted, or the server ends the connection.
    pub fn shake(&mut self, tls: &mut ClientConnection, buffer: &mut [u8]) -> Result<bool> {
        while tls.is_handshaking() {
            let Some((bytes, _)) = self.read(buffer)? else { break };
            ensure!(bytes > 0, "the server ended the connection during the TLS handshake");
            let mut at = 0;
            // One record after the other: what follows the handshake is not for rustls.
            while let Some(length) = record_bytes(&buffer[at..bytes])?.filter(|_| tls.is_handshaking()) {
                let mut record = &buffer[at..at + length];
                while !record.is_empty() {
                    tls.read_tls(&mut record)?;
                }
                at += length;
                tls.process_new_packets()
                    .context("the TLS handshake failed; is `ca` of the plan the authority of this server's certificate?")?;
            }
            self.rest.extend_from_slice(&buffer[at..bytes]);
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.unsent)?;
        }
        self.flush()?;
        Ok(!tls.is_handshaking())
    }

    /// From here on records are sealed and opened with the keys of a finished handshake.
    pub fn secure(&mut self, keys: Keys) {
        self.keys = Some(keys);
    }

    /// Reads what there is and hands on every frame with the time of its read. False: the connection ended.
    /// `ends` says that the kernel knows of the end already.
    ///
    /// # Errors
    /// The bytes are not the protocol, or `each` fails.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        ends: bool,
        each: &mut impl FnMut(Opcode, &[u8], u64) -> Result<()>,
    ) -> Result<bool> {
        // What came together with the end of the handshake has no event of its own.
        while let Some((bytes, full)) = self.read(buffer)? {
            if bytes == 0 {
                return Ok(false);
            }
            if !self.take(&mut buffer[..bytes], each)? {
                return Ok(false);
            }
            if !full && !ends {
                break;
            }
        }
        Ok(true)
    }

    /// What was left and what the socket has now: how many bytes (0: the end), and whether there may be more.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, bool)>> {
        let kept = self.rest.len();
        let wanted = READ_BYTES.min(buffer.len() - kept);
        let space = &mut buffer[kept..kept + wanted];
        match (&self.socket).read(space) {
            Ok(0) => Ok(Some((0, false))),
            Ok(bytes) => {
                buffer[..kept].copy_from_slice(&self.rest);
                self.rest.clear();
                Ok(Some((kept + bytes, bytes == wanted)))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Some((0, false))),
            Err(error) => Err(error).context("reading"),
        }
    }

    /// False: the server said that it sends no more.
    fn take(
        &mut self,
        bytes: &mut [u8],
        each: &mut impl FnMut(Opcode, &[u8], u64) -> Result<()>,
    ) -> Result<bool> {
        let now_ns = clock::now_ns();
        let each = &mut |opcode, frame: &[u8]| each(opcode, frame, now_ns);
        let Some(keys) = &mut self.keys else {
            self.cutter.take(bytes, each)?;
            return Ok(true);
        };
        let mut at = 0;
        while let Some(length) = record_bytes(&bytes[at..])? {
            match keys.open(&mut bytes[at..at + length])? {
                Content::Data(content) => self.cutter.take(content, each)?,
                Content::Nothing => {}
                Content::End => return Ok(false),
            }
            at += length;
        }
        self.rest.extend_from_slice(&bytes[at..]);
        Ok(true)
    }

    /// Sends bytes of the stream above the records, at once as far as the socket takes them.
    ///
    /// # Errors
    /// The connection broke, or the server takes nothing any more.
    pub fn send(&mut self, content: &[u8]) -> Result<()> {
        match &mut self.keys {
            Some(keys) => keys.seal(content, &mut self.unsent),
            None => self.unsent.extend_from_slice(content),
        }
        self.flush()
    }

    /// Sends what the socket did not take before.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn flush(&mut self) -> Result<()> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match (&self.socket).write(&self.unsent[sent..]) {
                Ok(0) => bail!("the socket takes nothing"),
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("writing; did the server end the connection?"),
            }
        }
        self.unsent.drain(..sent);
        ensure!(
            self.unsent.len() <= UNSENT_BYTES_MAX,
            "the server leaves {} bytes unread",
            self.unsent.len()
        );
        Ok(())
    }
}

/// Ports of a bound socket are chosen at connecting, so that one port serves several destinations.
fn choose_port_late(socket: &Socket) -> Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one number that outlives the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    ensure!(status == 0, "IP_BIND_ADDRESS_NO_PORT: {}", std::io::Error::last_os_error());
    Ok(())
}
