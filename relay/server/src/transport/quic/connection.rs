//! One client's connection: turns what quinn-proto reports into frames and endings, in the order in
//! which they happened.

use super::config::QuicLimits;
use super::error::{CODE_NORMAL, CloseCause, Violation, WriteError};
use super::event::{ConnectionInfo, QuicEvent, QuicHandle, Via, Wrote};
use super::framing::FrameReader;
use super::lanes::Lanes;
use bytes::Bytes;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{Connection, Dir, Event, ReadError, StreamEvent, StreamId, VarInt};
use schema_wire::Disconnect;
use schema_wire::frame::Lane;
use std::net::SocketAddr;
use std::time::Instant;

/// Where a connection is in its life.
enum Phase {
    /// Until the handshake completes or this instant comes.
    Handshake(Instant),
    /// Frames flow both ways.
    Open,
    /// Queued frames are sent, then the connection closes; at this instant it closes anyway.
    Flushing { until: Instant, code: u32, reason: Bytes, cause: CloseCause },
    /// The end is reported; quinn-proto keeps the connection until late packets have died out.
    Over,
}

/// A connection and what this layer knows about it.
pub(super) struct Peer {
    pub(super) handle: QuicHandle,
    pub(super) conn: Connection,
    /// It is in the queue of connections with packets to send.
    pub(super) queued: bool,
    phase: Phase,
    opened: bool,
    early: bool,
    reading: bool,
    control: Option<StreamId>,
    reader: FrameReader,
    lanes: Lanes,
    address: SocketAddr,
}

impl Peer {
    pub(super) fn new(handle: QuicHandle, conn: Connection, now: Instant, limits: &QuicLimits) -> Peer {
        Peer {
            handle,
            queued: false,
            phase: Phase::Handshake(now + limits.handshake_deadline),
            opened: false,
            early: false,
            reading: true,
            control: None,
            reader: FrameReader::new(limits.frame_bytes_max),
            lanes: Lanes::new(limits.delivery_lanes),
            address: conn.remote_address(),
            conn,
        }
    }

    /// True until the handshake is complete or the connection is over.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshake(_))
    }

    /// True when the handshake is complete and the connection not closed.
    pub(super) fn is_confirmed(&self) -> bool {
        !self.conn.is_handshaking() && !self.conn.is_closed()
    }

    /// True while the relay may use the connection.
    pub(super) fn is_live(&self) -> bool {
        self.opened && !matches!(self.phase, Phase::Over)
    }

    /// When it next wants [`Peer::on_deadline`].
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Handshake(until) | Phase::Flushing { until, .. } => Some(until),
            Phase::Open | Phase::Over => None,
        };
        [own, self.conn.poll_timeout()].into_iter().flatten().min()
    }

    /// Time has come. Says whether a handshake was cut.
    pub(super) fn on_deadline(&mut self, now: Instant, events: &mut Vec<QuicEvent>) -> bool {
        self.conn.handle_timeout(now);
        match &self.phase {
            Phase::Handshake(until) if *until <= now => {
                let why = Disconnect::HandshakeTimeout;
                let reason = Bytes::from_static(why.name().as_bytes());
                self.end(now, why.code().into(), reason, CloseCause::HandshakeTimeout, events);
                true
            }
            Phase::Flushing { until, .. } if *until <= now => {
                self.end_flush(now, events);
                false
            }
            _ => false,
        }
    }

    /// Drains everything the connection has to report.
    pub(super) fn settle(&mut self, now: Instant, events: &mut Vec<QuicEvent>, flush_until: Instant) {
        while let Some(event) = self.conn.poll() {
            if matches!(self.phase, Phase::Over) {
                continue;
            }
            match self.on_event(event, now, events, flush_until) {
                Ok(()) => {}
                Err(violation) => self.end_violation(now, violation, events),
            }
        }
        self.notice_move(events);
        self.try_end_flush(now, events);
    }

    fn on_event(
        &mut self,
        event: Event,
        now: Instant,
        events: &mut Vec<QuicEvent>,
        flush_until: Instant,
    ) -> Result<(), Violation> {
        match event {
            Event::Connected => self.on_connected(events),
            Event::ConnectionLost { reason } => self.report_end(reason.into(), events),
            Event::DatagramReceived => self.read_datagrams(events),
            Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => {
                self.accept_control(events)?;
                self.read_control(now, events, flush_until)?;
            }
            Event::Stream(StreamEvent::Readable { .. }) => self.read_control(now, events, flush_until)?,
            Event::Stream(StreamEvent::Writable { id }) => {
                if self.lanes.on_writable(&mut self.conn, id) {
                    events.push(QuicEvent::Writable { handle: self.handle });
                }
            }
            Event::Stream(StreamEvent::Stopped { .. }) => self.on_stopped(now, events)?,
            Event::Stream(
                StreamEvent::Opened { dir: Dir::Uni }
                | StreamEvent::Finished { .. }
                | StreamEvent::Available { .. },
            )
            | Event::HandshakeDataReady
            | Event::DatagramsUnblocked => {}
        }
        Ok(())
    }

    fn on_connected(&mut self, events: &mut Vec<QuicEvent>) {
        if self.is_handshaking() {
            self.phase = Phase::Open;
        }
        if self.opened {
            events.push(QuicEvent::Confirmed { handle: self.handle });
        } else {
            self.open(false, events);
        }
    }

    /// A client on its way out may stop reading; before that it would lose deliveries unseen.
    fn on_stopped(&mut self, now: Instant, events: &mut Vec<QuicEvent>) -> Result<(), Violation> {
        if !matches!(self.phase, Phase::Flushing { .. }) {
            return Err(Violation::StreamStopped);
        }
        self.end_flush(now, events);
        Ok(())
    }

    fn open(&mut self, early: bool, events: &mut Vec<QuicEvent>) {
        self.opened = true;
        self.early = early;
        events.push(QuicEvent::Opened { handle: self.handle, peer: self.address, early });
    }

    /// QUIC's own limit of one stream allows the next when the first is over on both sides.
    fn accept_control(&mut self, events: &mut Vec<QuicEvent>) -> Result<(), Violation> {
        let Some(id) = self.conn.streams().accept(Dir::Bi) else { return Ok(()) };
        if self.control.is_some() {
            return Err(Violation::SecondStream);
        }
        self.control = Some(id);
        if self.lanes.open_control(&mut self.conn, id) {
            events.push(QuicEvent::Writable { handle: self.handle });
        }
        Ok(())
    }

    /// True when what is read now may be a replay: the handshake proves that the client is live.
    fn reads_early(&mut self, events: &mut Vec<QuicEvent>) -> bool {
        let early = self.conn.is_handshaking();
        if !self.opened {
            self.open(early, events);
        }
        early
    }

    fn read_control(
        &mut self,
        now: Instant,
        events: &mut Vec<QuicEvent>,
        flush_until: Instant,
    ) -> Result<(), Violation> {
        let wanted = self.reading && matches!(self.phase, Phase::Open | Phase::Handshake(_));
        let Some(id) = self.control.filter(|_| wanted) else { return Ok(()) };
        let early = self.reads_early(events);
        let handle = self.handle;
        let mut stream = self.conn.recv_stream(id);
        // A stream already read to its end has nothing more to read.
        let Ok(mut chunks) = stream.read(true) else { return Ok(()) };
        let result = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    let frame =
                        |bytes| events.push(QuicEvent::Frame { handle, bytes, early, via: Via::Control });
                    if let Err(violation) = self.reader.push(chunk.bytes, frame) {
                        break Err(violation);
                    }
                }
                Ok(None) => break self.reader.finish().map(|()| true),
                Err(ReadError::Blocked) => break Ok(false),
                Err(ReadError::Reset(_)) => break Err(Violation::ControlReset),
            }
        };
        // The caller polls for packets after every event, so the hint is not needed.
        let _ = chunks.finalize();
        if result? {
            self.begin_flush(now, flush_until, CODE_NORMAL, Bytes::new(), CloseCause::ClientFinished, events);
        }
        Ok(())
    }

    fn read_datagrams(&mut self, events: &mut Vec<QuicEvent>) {
        let early = self.reads_early(events);
        let handle = self.handle;
        while let Some(bytes) = self.conn.datagrams().recv() {
            if !bytes.is_empty() {
                events.push(QuicEvent::Frame { handle, bytes, early, via: Via::Datagram });
            }
        }
    }

    /// Stops or resumes reading the control stream; the client's window fills meanwhile.
    pub(super) fn set_reading(
        &mut self,
        on: bool,
        now: Instant,
        events: &mut Vec<QuicEvent>,
        flush_until: Instant,
    ) {
        self.reading = on;
        if on && let Err(violation) = self.read_control(now, events, flush_until) {
            self.end_violation(now, violation, events);
        }
    }

    pub(super) fn write(&mut self, frame: &Bytes, lane: Lane) -> Result<Wrote, WriteError> {
        match self.phase {
            Phase::Open | Phase::Handshake(_) => self.lanes.write(&mut self.conn, frame, lane),
            Phase::Flushing { .. } | Phase::Over => Err(WriteError::Closed),
        }
    }

    /// Takes the first frames of a run, each whole or not at all, and says how many.
    pub(super) fn write_run(
        &mut self,
        run: &Bytes,
        lens: impl Iterator<Item = usize>,
        lane: Lane,
    ) -> Result<usize, WriteError> {
        match self.phase {
            Phase::Open | Phase::Handshake(_) => self.lanes.write_run(&mut self.conn, run, lens, lane),
            Phase::Flushing { .. } | Phase::Over => Err(WriteError::Closed),
        }
    }

    /// True when ephemeral frames may travel in datagrams.
    pub(super) fn takes_datagrams(&mut self) -> bool {
        self.conn.datagrams().max_size().is_some()
    }

    /// Closes at once; what is queued is lost.
    pub(super) fn end(
        &mut self,
        now: Instant,
        code: u32,
        reason: Bytes,
        cause: CloseCause,
        events: &mut Vec<QuicEvent>,
    ) {
        self.conn.close(now, VarInt::from_u32(code), reason);
        self.report_end(cause, events);
    }

    fn end_violation(&mut self, now: Instant, violation: Violation, events: &mut Vec<QuicEvent>) {
        let why = violation.disconnect();
        let reason = Bytes::from_static(why.name().as_bytes());
        self.end(now, why.code().into(), reason, CloseCause::Violation(violation), events);
    }

    fn report_end(&mut self, cause: CloseCause, events: &mut Vec<QuicEvent>) {
        if self.is_live() {
            events.push(QuicEvent::Closed { handle: self.handle, cause });
        }
        self.phase = Phase::Over;
    }

    /// Closes once everything queued has arrived, or at `until`.
    pub(super) fn begin_flush(
        &mut self,
        now: Instant,
        until: Instant,
        code: u32,
        reason: Bytes,
        cause: CloseCause,
        events: &mut Vec<QuicEvent>,
    ) {
        if matches!(self.phase, Phase::Flushing { .. } | Phase::Over) {
            return;
        }
        self.phase = Phase::Flushing { until, code, reason, cause };
        self.try_end_flush(now, events);
    }

    fn try_end_flush(&mut self, now: Instant, events: &mut Vec<QuicEvent>) {
        if !matches!(self.phase, Phase::Flushing { .. }) || !self.lanes.is_flushed() {
            return;
        }
        // Finishing again a stream that is finished changes nothing.
        self.lanes.finish(&mut self.conn);
        if self.conn.streams().send_streams() == 0 {
            self.end_flush(now, events);
        }
    }

    fn end_flush(&mut self, now: Instant, events: &mut Vec<QuicEvent>) {
        let Phase::Flushing { code, reason, cause, .. } = std::mem::replace(&mut self.phase, Phase::Open)
        else {
            unreachable!("called in the flushing phase only")
        };
        self.end(now, code, reason, cause, events);
    }

    fn notice_move(&mut self, events: &mut Vec<QuicEvent>) {
        let peer = self.conn.remote_address();
        if peer != self.address {
            self.address = peer;
            if self.is_live() {
                events.push(QuicEvent::PeerMoved { handle: self.handle, peer });
            }
        }
    }

    pub(super) fn info(&mut self) -> ConnectionInfo {
        let handshake = self.conn.crypto_session().handshake_data();
        let handshake = handshake.and_then(|data| data.downcast::<HandshakeData>().ok());
        ConnectionInfo {
            peer: self.address,
            local_ip: self.conn.local_ip(),
            rtt: self.conn.rtt(),
            server_name: handshake.and_then(|data| data.server_name),
            confirmed: !self.conn.is_handshaking(),
            early: self.early,
            datagram_bytes_max: self.conn.datagrams().max_size(),
            packets_lost: self.conn.stats().path.lost_packets,
        }
    }
}
