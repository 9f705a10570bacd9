//! All connections of a run on one thread: opened a few at a time, woken by the reactor, published on when it is due.

use anyhow::{Context, Result, bail, ensure};

use super::frames;
use super::link::{BUFFER_BYTES, Opening};
use super::peer::{Desk, Part, Peer, Seat, Session};
use super::reactor::{Event, Reactor};
use super::tls;
use crate::load::clock;
use crate::load::dialect;
use crate::load::keys::Keys;
use crate::load::pace::Pacer;
use crate::load::tally::stamp;
use crate::plan::{Carrier, Dialect, Kind, Plan};

/// Handshakes under way while connections are opened.
const OPENING: usize = 128;
/// How long nothing may come of the handshakes under way.
const OPENING_NS: u64 = 30_000_000_000;
/// Connections from one source address: fewer than the ports there are.
const PER_SOURCE: usize = 25_000;
/// Source addresses of one process.
const SOURCES: usize = 8;
/// A publication due this soon is waited for without sleeping.
const SPIN_NS: u64 = 60_000;
/// Longest sleep, so that the end of a phase is not missed by more.
const SLEEP_NS: u64 = 50_000_000;

/// Everything of a run.
pub struct Hall<'p> {
    pub peers: Vec<Peer<'p>>,
    pub desk: Desk<'p>,
    pub reactor: Reactor,
    buffer: Vec<u8>,
    /// The peer that publishes in each room.
    publishers: Vec<usize>,
    publications: Publications,
}

/// What is being published, before it goes out.
struct Publications {
    body: Vec<u8>,
    message: Vec<u8>,
    /// Frames for each publisher, by room.
    frames: Vec<Vec<u8>>,
    /// Rooms with frames.
    dirty: Vec<u32>,
    keys: Keys,
}

impl<'p> Hall<'p> {
    /// Without connections yet.
    ///
    /// # Errors
    /// The plan's certificate authority or rooms are no good.
    pub fn new(plan: &'p Plan) -> Result<Self> {
        raise_descriptor_limit()?;
        let tls = match plan.carrier {
            Carrier::Plain => None,
            Carrier::Websocket => Some(tls::client_config(&plan.ca)?),
            Carrier::Quic => bail!("QUIC is not carried by TCP"),
        };
        Ok(Self {
            peers: Vec::new(),
            desk: Desk::new(plan, tls)?,
            reactor: Reactor::new()?,
            buffer: vec![0; BUFFER_BYTES],
            publishers: Vec::new(),
            publications: Publications {
                body: vec![b'x'; plan.payload],
                message: Vec::new(),
                frames: vec![Vec::new(); plan.rooms.len()],
                dirty: Vec::new(),
                keys: Keys::default(),
            },
        })
    }

    /// Opens the connections of all rooms; `watched` says which subscribers (counted over all rooms) will stop reading.
    ///
    /// # Errors
    /// One of them can't be opened.
    pub fn open_rooms(&mut self, watched: impl Fn(usize) -> bool) -> Result<()> {
        let plan = self.desk.plan;
        let mut sessions = Vec::new();
        let mut subscribers = 0;
        for (number, room) in plan.rooms.iter().enumerate() {
            ensure!(
                plan.kind == Kind::Ephemeral || room.publishers.len() < 2,
                "a room with durable publications has one publisher: with more, nothing says in which order they are"
            );
            let seat = |part, token| Seat { room: number as u32, part, token };
            for token in &room.subscribers {
                let mut session = Session::new(seat(Part::Subscriber, token.as_str()));
                session.watched = watched(subscribers);
                subscribers += 1;
                sessions.push(session);
            }
            self.publishers.push(sessions.len());
            sessions.extend(
                room.publishers.iter().map(|token| Session::new(seat(Part::Publisher, token.as_str()))),
            );
        }
        self.open(sessions)
    }

    /// Opens one connection after the other, a few at a time.
    fn open(&mut self, sessions: Vec<Session<'p>>) -> Result<()> {
        let (mut last_open, mut last_ns) = (self.desk.open, clock::now_ns());
        for session in sessions {
            self.connect(session, None)?;
            while self.peers.len() - self.desk.open >= OPENING {
                self.pump(SLEEP_NS)?;
                self.check_progress(&mut last_open, &mut last_ns)?;
            }
        }
        while self.desk.open < self.peers.len() {
            self.pump(SLEEP_NS)?;
            self.check_progress(&mut last_open, &mut last_ns)?;
        }
        Ok(())
    }

    fn check_progress(&self, last_open: &mut usize, last_ns: &mut u64) -> Result<()> {
        let now = clock::now_ns();
        if self.desk.open > *last_open {
            (*last_open, *last_ns) = (self.desk.open, now);
        }
        ensure!(
            now - *last_ns < OPENING_NS,
            "{} of {} connections opened, then the server let the others wait for 30 s",
            self.desk.open,
            self.peers.len()
        );
        Ok(())
    }

    /// Begins a connection at the end of the list, or again at a place in it.
    ///
    /// # Errors
    /// No descriptor or port is left.
    pub fn connect(&mut self, session: Session<'p>, place: Option<usize>) -> Result<()> {
        let number = place.unwrap_or(self.peers.len());
        let source = usize::from(self.desk.plan.process) * SOURCES + number / PER_SOURCE;
        let source = (source > 0).then_some(1 + source as u8);
        let address = self.desk.plan.address;
        let opening = Opening { address, source, small: session.watched, reset: false };
        self.connect_as(opening, session, number)
    }

    /// Begins a connection in a way of the caller's choice.
    ///
    /// # Errors
    /// No descriptor or port is left.
    pub fn connect_as(&mut self, opening: Opening, session: Session<'p>, number: usize) -> Result<()> {
        let peer = Peer::connect(opening, session)?;
        self.reactor.add(peer.link.fd(), number)?;
        match self.peers.get_mut(number) {
            Some(place) => *place = peer,
            None => self.peers.push(peer),
        }
        Ok(())
    }

    /// Publishing begins now, as the plan's pace says.
    ///
    /// # Errors
    /// A room has nobody who could.
    pub fn begin(&mut self) -> Result<()> {
        let plan = self.desk.plan;
        if let Some(room) = plan.rooms.iter().position(|room| room.publishers.is_empty()) {
            bail!("room {room} of the plan has no publisher");
        }
        self.desk.pacer = Some(Pacer::new(plan, clock::now_ns()));
        Ok(())
    }

    /// Carries on until a time.
    ///
    /// # Errors
    /// Anything that a measured run may not meet.
    pub fn run_until(&mut self, end_ns: u64) -> Result<()> {
        let mut now = clock::now_ns();
        while now < end_ns {
            self.publish(now)?;
            let due = self.next_ns().min(end_ns);
            let wait = due.saturating_sub(clock::now_ns());
            self.pump(if wait <= SPIN_NS { 0 } else { (wait - SPIN_NS / 2).min(SLEEP_NS) })?;
            now = clock::now_ns();
        }
        Ok(())
    }

    fn next_ns(&self) -> u64 {
        self.desk.pacer.as_ref().and_then(Pacer::next_ns).unwrap_or(u64::MAX)
    }

    /// Waits for events and lets their connections act; between them, what is due is published.
    ///
    /// # Errors
    /// As [`Hall::run_until`].
    pub fn pump(&mut self, timeout_ns: u64) -> Result<()> {
        let count = self.reactor.wait(timeout_ns)?;
        for at in 0..count {
            let event = self.reactor.event(at);
            if !self.wake(event)? {
                bail!("the server ended connection {} without a close frame; did it die?", event.number);
            }
            if let Some(due) = self.desk.pacer.as_ref().and_then(Pacer::next_ns) {
                let now = clock::now_ns();
                if due <= now {
                    self.publish(now)?;
                }
            }
        }
        Ok(())
    }

    /// One event. False: the server ended the connection.
    ///
    /// # Errors
    /// As [`Hall::run_until`].
    pub fn wake(&mut self, event: Event) -> Result<bool> {
        let total = self.peers.len();
        let peer = &mut self.peers[event.number];
        peer.wake(event, &mut self.desk, &mut self.buffer)
            .with_context(|| format!("connection {} of {total} to {}", event.number, self.desk.plan.address))
    }

    /// Everything that is due goes out, each connection's part in one write.
    fn publish(&mut self, now_ns: u64) -> Result<()> {
        let Some(mut pacer) = self.desk.pacer.take() else { return Ok(()) };
        while let Some((room, intended_ns)) = pacer.due(&self.desk.tally, now_ns) {
            self.write_down(room, intended_ns)?;
        }
        self.desk.pacer = Some(pacer);
        let publications = &mut self.publications;
        for room in publications.dirty.drain(..) {
            let frames = &mut publications.frames[room as usize];
            let publisher = self.publishers[room as usize];
            self.peers[publisher]
                .link
                .send(frames)
                .with_context(|| format!("publishing on connection {publisher}"))?;
            frames.clear();
        }
        Ok(())
    }

    fn write_down(&mut self, room: u32, intended_ns: u64) -> Result<()> {
        let desk = &mut self.desk;
        let Publications { body, message, frames, dirty, keys } = &mut self.publications;
        stamp(body, intended_ns, desk.tally.publish(room), room);
        message.clear();
        let conversation = &desk.conversations[room as usize];
        match (desk.plan.dialect, desk.plan.kind) {
            (Dialect::Floor, _) => dialect::publish_floor(message, room, body),
            (Dialect::Relay, Kind::Ephemeral) => dialect::signal(message, conversation, body),
            (Dialect::Relay, Kind::Durable) => {
                let request = self.peers[self.publishers[room as usize]].session.acks.wait(intended_ns);
                desk.unacked += 1;
                dialect::publish(message, request, conversation, &keys.fresh().0, body);
            }
        }
        let frames = &mut frames[room as usize];
        if frames.is_empty() {
            dirty.push(room);
        }
        frames::binary(frames, message);
        Ok(())
    }
}

/// As many descriptors as the system lets this process have.
fn raise_descriptor_limit() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct it is given.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads the struct it is given.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    ensure!(got == 0 && set == 0, "the limit of descriptors: {}", std::io::Error::last_os_error());
    Ok(())
}
