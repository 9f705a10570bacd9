//! One socket and what it has not taken yet. Bytes go out at once; only what the kernel refuses is copied and waits
//! until the socket is writable again, within one bound for the whole server.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, ensure};

/// Bytes that wait for all connections together.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// How much may still wait.
pub struct Budget {
    waiting: usize,
    max: usize,
}

impl Budget {
    pub fn new(max: usize) -> Self {
        Self { waiting: 0, max }
    }
}

pub struct Link {
    socket: TcpStream,
    waiting: Vec<u8>,
    /// How much of `waiting` went out already.
    sent: usize,
    /// Whether the event loop is asked to say when the socket is writable.
    pub watched: bool,
}

impl Link {
    /// The socket does not block.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, waiting: Vec::new(), sent: 0, watched: false }
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether something waits for the socket.
    #[inline]
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads what has arrived; nothing when nothing has, no bytes at the end. A client may end without a word.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match unless_blocked(|| self.socket.read(buffer)) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Some(0)),
            other => other,
        }
    }

    /// Sends, or keeps what can't be sent now.
    #[inline]
    pub fn send(&mut self, bytes: &[u8], budget: &mut Budget) -> Result<()> {
        let sent = if self.is_behind() { None } else { unless_blocked(|| self.socket.write(bytes))? };
        let rest = &bytes[sent.unwrap_or(0)..];
        if rest.is_empty() { Ok(()) } else { self.keep(rest, budget) }
    }

    #[cold]
    fn keep(&mut self, bytes: &[u8], budget: &mut Budget) -> Result<()> {
        ensure!(budget.waiting + bytes.len() <= budget.max, "more than {} bytes wait to be sent", budget.max);
        budget.waiting += bytes.len();
        if self.sent > self.waiting.len() / 2 {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// The socket is writable: sends what waits.
    pub fn catch_up(&mut self, budget: &mut Budget) -> Result<()> {
        while self.is_behind() {
            let rest = &self.waiting[self.sent..];
            let Some(sent) = unless_blocked(|| self.socket.write(rest)).context("a send")? else { break };
            self.sent += sent;
            budget.waiting -= sent;
            if self.sent == self.waiting.len() {
                (self.waiting, self.sent) = (Vec::new(), 0);
            }
        }
        Ok(())
    }

    /// Forgets what waits, before the connection goes.
    pub fn abandon(&mut self, budget: &mut Budget) {
        budget.waiting -= self.waiting.len() - self.sent;
        (self.waiting, self.sent) = (Vec::new(), 0);
    }

    /// The same as a writer for those who write in many parts.
    pub fn writer<'a>(&'a mut self, budget: &'a mut Budget) -> LinkWriter<'a> {
        LinkWriter { link: self, budget }
    }
}

/// Takes every byte; see [`Link::send`].
pub struct LinkWriter<'a> {
    link: &'a mut Link,
    budget: &'a mut Budget,
}

impl Write for LinkWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.link.send(bytes, self.budget).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sent = 0;
        if !self.link.is_behind() {
            sent = unless_blocked(|| self.link.socket.write_vectored(parts))?.unwrap_or(0);
        }
        let mut taken = 0;
        for part in parts {
            let rest = &part[sent.saturating_sub(taken).min(part.len())..];
            if !rest.is_empty() {
                self.link.keep(rest, self.budget).map_err(io::Error::other)?;
            }
            taken += part.len();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[inline]
fn unless_blocked(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(n) => return Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
