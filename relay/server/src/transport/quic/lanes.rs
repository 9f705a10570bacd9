//! The sending side of a connection: which stream a frame goes to, and the one part frame a stream
//! may hold while the client's windows are full.

use super::error::WriteError;
use super::event::Wrote;
use super::framing;
use bytes::Bytes;
use quinn_proto::{Connection, Dir, StreamId};
use schema_wire::frame::Lane;

/// The control stream is sent before the delivery streams.
const CONTROL_PRIORITY: i32 = 1;

/// One stream's sending side.
struct Line {
    id: StreamId,
    /// What is left of a frame whose beginning was taken: a reference to the shared frame.
    rest: Bytes,
    /// A frame was refused and its writer waits.
    waiting: bool,
}

impl Line {
    fn new(id: StreamId) -> Line {
        Line { id, rest: Bytes::new(), waiting: false }
    }

    /// Pushes the rest into the connection until it refuses. An error means the stream is gone.
    fn flush(&mut self, conn: &mut Connection) -> Result<(), StreamGone> {
        while !self.rest.is_empty() {
            let mut chunk = [std::mem::take(&mut self.rest)];
            let result = conn.send_stream(self.id).write_chunks(&mut chunk);
            [self.rest] = chunk;
            match result {
                Ok(_) => {}
                Err(quinn_proto::WriteError::Blocked) => return Ok(()),
                Err(quinn_proto::WriteError::Stopped(_) | quinn_proto::WriteError::ClosedStream) => {
                    return Err(StreamGone);
                }
            }
        }
        Ok(())
    }

    /// Takes the frames that `run` is made of, each whole or not at all, and says how many. `lens` are their lengths.
    fn write(
        &mut self,
        conn: &mut Connection,
        run: &Bytes,
        lens: impl Iterator<Item = usize>,
    ) -> Result<usize, WriteError> {
        if !self.rest.is_empty() || self.waiting {
            self.waiting = true;
            return Ok(0);
        }
        self.rest = run.clone();
        self.flush(conn).map_err(|StreamGone| WriteError::Closed)?;
        let sent = run.len() - self.rest.len();
        let (mut taken, mut end) = (0, 0);
        for len in lens {
            if end >= sent {
                break;
            }
            end += len;
            taken += 1;
        }
        self.rest = run.slice(sent..end);
        self.waiting = end < run.len();
        Ok(taken)
    }
}

/// The stream no longer takes bytes.
struct StreamGone;

/// A delivery lane, from its first frame on.
enum Delivery {
    Unused,
    Own(Line),
    /// The client allowed no further stream when this lane was first used. The lane stays on the
    /// control stream for the connection's life, else its conversations could overtake themselves.
    OnControl,
}

/// All streams to one client.
pub(super) struct Lanes {
    control: Option<Line>,
    /// Empty until the first delivery: a connection that only listens costs nothing here.
    deliveries: Vec<Delivery>,
    count: usize,
    /// A writer came before the client had opened the control stream.
    control_wanted: bool,
}

impl Lanes {
    pub(super) fn new(count: usize) -> Lanes {
        Lanes { control: None, deliveries: Vec::new(), count, control_wanted: false }
    }

    /// The client opened the control stream. Says whether a writer waits for it.
    pub(super) fn open_control(&mut self, conn: &mut Connection, id: StreamId) -> bool {
        conn.send_stream(id).set_priority(CONTROL_PRIORITY).ok();
        self.control = Some(Line::new(id));
        std::mem::take(&mut self.control_wanted)
    }

    /// Takes a frame whole or not at all.
    pub(super) fn write(
        &mut self,
        conn: &mut Connection,
        frame: &Bytes,
        lane: Lane,
    ) -> Result<Wrote, WriteError> {
        if lane == Lane::Ephemeral && self.send_datagram(conn, frame) {
            return Ok(Wrote::Datagram);
        }
        match (self.write_run(conn, frame, std::iter::once(frame.len()), lane)?, lane) {
            (1, _) => Ok(Wrote::Stream),
            (_, Lane::Ephemeral) => Ok(Wrote::Dropped),
            _ => Err(WriteError::Blocked),
        }
    }

    /// Takes the first frames of a run on the stream of its lane, each whole or not at all, and says how many.
    /// `lens` are the frames' lengths.
    pub(super) fn write_run(
        &mut self,
        conn: &mut Connection,
        run: &Bytes,
        lens: impl Iterator<Item = usize>,
        lane: Lane,
    ) -> Result<usize, WriteError> {
        match lane {
            Lane::Control => self.write_control(conn, run, lens),
            Lane::Conversation(spread) => self.write_delivery(conn, run, lens, spread),
            Lane::Ephemeral => self.write_ephemeral(conn, run, lens),
        }
    }

    fn write_control(
        &mut self,
        conn: &mut Connection,
        run: &Bytes,
        lens: impl Iterator<Item = usize>,
    ) -> Result<usize, WriteError> {
        match &mut self.control {
            Some(line) => line.write(conn, run, lens),
            None => {
                self.control_wanted = true;
                Ok(0)
            }
        }
    }

    fn write_delivery(
        &mut self,
        conn: &mut Connection,
        run: &Bytes,
        lens: impl Iterator<Item = usize>,
        spread: u64,
    ) -> Result<usize, WriteError> {
        if self.deliveries.is_empty() {
            self.deliveries.resize_with(self.count, || Delivery::Unused);
        }
        let index = (spread % self.count as u64) as usize;
        if matches!(self.deliveries[index], Delivery::Unused) {
            self.deliveries[index] = match conn.streams().open(Dir::Uni) {
                Some(id) => Delivery::Own(Line::new(id)),
                None => Delivery::OnControl,
            };
        }
        match &mut self.deliveries[index] {
            Delivery::Own(line) => line.write(conn, run, lens),
            Delivery::OnControl | Delivery::Unused => self.write_control(conn, run, lens),
        }
    }

    /// Ephemeral frames of a client that takes no datagrams, or of one whose datagram would be too long.
    fn write_ephemeral(
        &mut self,
        conn: &mut Connection,
        run: &Bytes,
        lens: impl Iterator<Item = usize>,
    ) -> Result<usize, WriteError> {
        let Some(line) = &mut self.control else { return Ok(0) };
        let waiting = line.waiting;
        let taken = line.write(conn, run, lens);
        // An ephemeral frame never waits, so nobody needs to hear that it could have been sent.
        line.waiting = waiting;
        taken
    }

    /// False when the frame has to take the stream.
    fn send_datagram(&mut self, conn: &mut Connection, frame: &Bytes) -> bool {
        let body = framing::body(frame);
        conn.datagrams().max_size().is_some_and(|most| body.len() <= most)
            && conn.datagrams().send(body, true).is_ok()
    }

    /// The stream has room again: sends the rest, and says whether a refused writer may go on.
    pub(super) fn on_writable(&mut self, conn: &mut Connection, id: StreamId) -> bool {
        let Some(line) = self.lines().find(|line| line.id == id) else { return false };
        // A stream that is gone is reported by its own event.
        line.flush(conn).is_ok() && line.rest.is_empty() && std::mem::take(&mut line.waiting)
    }

    /// True when no stream holds a part frame.
    pub(super) fn is_flushed(&mut self) -> bool {
        self.lines().all(|line| line.rest.is_empty())
    }

    /// Ends every stream after what it carries.
    pub(super) fn finish(&mut self, conn: &mut Connection) {
        for line in self.lines() {
            // A stream that is gone has nothing left to say.
            conn.send_stream(line.id).finish().ok();
        }
    }

    fn lines(&mut self) -> impl Iterator<Item = &mut Line> {
        let own = self.deliveries.iter_mut().filter_map(|delivery| match delivery {
            Delivery::Own(line) => Some(line),
            Delivery::Unused | Delivery::OnControl => None,
        });
        self.control.iter_mut().chain(own)
    }
}
