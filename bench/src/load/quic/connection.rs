//! One QUIC connection of the load: its streams, and what quinn-proto reports about it.

use anyhow::{Context, Result, anyhow, bail};
use quinn_proto::{
    Connection, ConnectionError, Dir, Event, ReadError, StreamEvent, StreamId, VarInt, WriteError,
};

use super::hall::Hall;
use super::session::{Session, Stage};
use super::timers::NEVER;
use crate::framing::FrameReader;

/// Application error code of the relay that says "you read too slowly".
const SLOW_READER: VarInt = VarInt::from_u32(4_001);

/// A connection and what is done with it.
pub struct Link {
    pub conn: Connection,
    pub session: Session,
    /// The socket that carries it.
    pub socket: usize,
    /// What the timers hold for it.
    pub armed: u64,
    /// It waits to be settled.
    pub touched: bool,
    control: Option<StreamId>,
    streams: Vec<(StreamId, FrameReader)>,
}

impl Link {
    pub fn new(conn: Connection, socket: usize, member: usize) -> Self {
        Self {
            conn,
            session: Session::new(member),
            socket,
            armed: NEVER,
            touched: false,
            control: None,
            streams: Vec::new(),
        }
    }

    /// Takes everything that quinn-proto has to report.
    ///
    /// # Errors
    /// The server says something that no measured run may meet, or ends the connection.
    pub fn settle(&mut self, hall: &mut Hall, now_ns: u64) -> Result<()> {
        while let Some(event) = self.conn.poll() {
            if self.session.stage == Stage::Over {
                continue;
            }
            match event {
                Event::Connected => self.open(hall)?,
                Event::ConnectionLost { reason } => self.lost(hall, &reason)?,
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                    while let Some(id) = self.conn.streams().accept(Dir::Uni) {
                        self.streams.push((id, FrameReader::default()));
                        self.read(id, hall, now_ns)?;
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(id, hall, now_ns)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&mut self, hall: &Hall) -> Result<()> {
        let id = self.conn.streams().open(Dir::Bi).context("the server grants no stream")?;
        self.control = Some(id);
        self.streams.push((id, FrameReader::default()));
        self.session.greet(hall);
        Ok(())
    }

    /// Reads what all streams have.
    ///
    /// # Errors
    /// The server says something that no measured run may meet.
    pub fn read_all(&mut self, hall: &mut Hall, now_ns: u64) -> Result<()> {
        let streams: Vec<_> = self.streams.iter().map(|(id, _)| *id).collect();
        streams.into_iter().try_for_each(|id| self.read(id, hall, now_ns))
    }

    /// Reads what a stream has, unless its reader stopped reading.
    fn read(&mut self, id: StreamId, hall: &mut Hall, now_ns: u64) -> Result<()> {
        let member = self.session.member;
        if hall.readers.get(member).is_some_and(|reader| reader.stopped) {
            return Ok(());
        }
        let Some((_, reader)) = self.streams.iter_mut().find(|(known, _)| *known == id) else {
            return Ok(());
        };
        let mut stream = self.conn.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Ok(()) };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    let take = |frame: &[u8]| self.session.take(hall, frame, now_ns);
                    reader.push(&chunk.bytes, take).with_context(|| name(hall, member))?;
                }
                // A stream ends before its connection does, whose end says why.
                Ok(None) | Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(code)) => bail!("{}: stream reset with code {code}", name(hall, member)),
            }
        }
        // Packets are asked for after every settling, so the hint is not needed.
        let _ = chunks.finalize();
        Ok(())
    }

    /// Hands over what waits for the control stream, as far as the server allows.
    ///
    /// # Errors
    /// The server reads the control stream no more.
    pub fn flush(&mut self) -> Result<()> {
        let Some(id) = self.control.filter(|_| !self.session.out.is_empty()) else { return Ok(()) };
        if self.session.stage == Stage::Over {
            return Ok(());
        }
        match self.conn.send_stream(id).write(&self.session.out) {
            Ok(written) if written == self.session.out.len() => self.session.out.clear(),
            Ok(written) => drop(self.session.out.drain(..written)),
            Err(WriteError::Blocked | WriteError::ClosedStream) => {}
            Err(WriteError::Stopped(code)) => bail!("the server reads no more requests, code {code}"),
        }
        Ok(())
    }

    fn lost(&mut self, hall: &mut Hall, reason: &ConnectionError) -> Result<()> {
        self.session.stage = Stage::Over;
        let member = self.session.member;
        let slow = hall.members[member].stops && !hall.members[member].back;
        match reason {
            ConnectionError::ApplicationClosed(close) if slow && close.error_code == SLOW_READER => {
                hall.tally.outcome.cut += 1;
            }
            ConnectionError::TimedOut | ConnectionError::Reset if slow => hall.tally.outcome.severed += 1,
            reason => return Err(explain(reason).context(name(hall, member))),
        }
        hall.cut.push(member);
        Ok(())
    }
}

fn name(hall: &Hall, member: usize) -> String {
    let who = &hall.members[member];
    let role = if who.publishes { "publisher" } else { "subscriber" };
    format!("connection {member}, a {role} of room {}", who.room)
}

fn explain(reason: &ConnectionError) -> anyhow::Error {
    match reason {
        ConnectionError::ApplicationClosed(close) => {
            let name = String::from_utf8_lossy(&close.reason);
            anyhow!("the server closed it with code {} {name}", close.error_code)
        }
        ConnectionError::ConnectionClosed(close) => {
            anyhow!("the server refused it: {close} (too many connections, or another protocol)")
        }
        ConnectionError::TransportError(error) if is_certificate(error.code.into()) => {
            anyhow!("the server's certificate is not trusted: {error}; give the plan the `ca` that issued it")
        }
        ConnectionError::TimedOut => anyhow!("the server was silent for the idle timeout"),
        ConnectionError::Reset => anyhow!("the server knows the connection no more: it was started anew"),
        other => anyhow!("{other}"),
    }
}

/// TLS alerts about certificates (RFC 8446 section 6.2), as QUIC carries them (RFC 9001 section 4.8).
fn is_certificate(code: u64) -> bool {
    matches!(code.checked_sub(0x100), Some(42..=46 | 48 | 51))
}
