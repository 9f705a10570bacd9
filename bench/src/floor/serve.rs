//! The event loop of the floors over TCP: one thread, one epoll. Each wake reads what is ready, then sends every room
//! what it has to say, so that publications that arrive together leave together.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::buffered::Buffered;
use super::carrier::{Carrier, Desk, Plain};
use super::connection::{Connection, Read, Reading};
use super::epoll::{self, ENDED, Epoll, Event, READABLE, READABLE_OR_WRITABLE, STILL_READABLE, WRITABLE};
use super::link::Link;
use super::rooms::Rooms;
use super::sealed::Sealed;
use super::{Arguments, Kind, certificate};

/// Bytes read from a socket in one go.
const RECEIVED_BYTES: usize = 256 * 1024;
const EVENTS_PER_WAKE: usize = 1024;
/// Connections accepted in one wake, so that a storm of them does not hold up deliveries.
const ACCEPTS_PER_WAKE: usize = 64;
const ACCEPTS_WAITING: i32 = 4096;

/// Numbers of what is no connection.
const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

/// Serves until standard input ends.
pub fn run(arguments: &Arguments) -> Result<()> {
    epoll::raise_open_files().context("the limit on open files could not be raised")?;
    let listener = listen()?;
    let config = || certificate::config(&arguments.certificate, &arguments.key);
    match arguments.kind {
        Kind::Sealed => announce::<Sealed>(listener, config()?),
        Kind::Rustls => announce::<Buffered>(listener, config()?),
        _ => announce::<Plain>(listener, ()),
    }
}

fn announce<C: Carrier>(listener: TcpListener, terms: C::Terms) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "listening {}", listener.local_addr()?)?;
    out.flush()?;
    serve::<C>(listener, terms, std::io::stdin())
}

/// A port of loopback's. What it accepts inherits that small segments are not held back.
pub fn listen() -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(ACCEPTS_WAITING)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Serves until `stop` ends.
pub fn serve<C: Carrier>(
    listener: TcpListener,
    terms: C::Terms,
    mut stop: impl std::io::Read + AsFd,
) -> Result<()> {
    let epoll = Epoll::new()?;
    epoll.add(listener.as_fd(), LISTENER, STILL_READABLE)?;
    match epoll.add(stop.as_fd(), STOP, STILL_READABLE) {
        // A plain file or /dev/null: nothing to wait for.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
        added => added?,
    }
    let mut server = Server::<C>::new(epoll, listener, terms);
    let mut events = vec![epoll::NO_EVENT; EVENTS_PER_WAKE];
    loop {
        let unfinished = std::mem::take(&mut server.unfinished);
        let stopping = server.wake(&mut events, unfinished.is_empty())?;
        if stopping && stop.read(&mut [0; 4096])? == 0 {
            return Ok(());
        }
        for number in unfinished {
            server.read(number);
        }
        server.deliver();
        server.close_ending();
    }
}

struct Server<C: Carrier> {
    epoll: Epoll,
    listener: TcpListener,
    terms: C::Terms,
    connections: Vec<Option<Connection<C>>>,
    /// Places in `connections` that nobody has.
    free: Vec<u32>,
    /// Connections that may have more to read, though nothing new will be said about them.
    unfinished: Vec<u32>,
    ending: Vec<u32>,
    rooms: Rooms,
    reading: Reading,
    desk: Desk,
}

impl<C: Carrier> Server<C> {
    fn new(epoll: Epoll, listener: TcpListener, terms: C::Terms) -> Self {
        Self {
            epoll,
            listener,
            terms,
            connections: Vec::new(),
            free: Vec::new(),
            unfinished: Vec::new(),
            ending: Vec::new(),
            rooms: Rooms::default(),
            reading: Reading::new(RECEIVED_BYTES),
            desk: Desk::new(),
        }
    }

    /// Waits and reads all that is ready. True when the server may have to stop.
    fn wake(&mut self, events: &mut [Event], wait: bool) -> Result<bool> {
        let (mut accepting, mut stopping) = (false, false);
        for event in self.epoll.wait(events, wait)? {
            let (number, events) = (event.u64, event.events);
            match number {
                LISTENER => accepting = true,
                STOP => stopping = true,
                _ => self.attend(number as u32, events),
            }
        }
        if accepting {
            self.accept()?;
        }
        Ok(stopping)
    }

    fn attend(&mut self, number: u32, events: u32) {
        if events & WRITABLE != 0 {
            self.catch_up(number);
        }
        if events & !WRITABLE != 0 {
            self.read(number);
        }
        if events & ENDED != 0 {
            // Bytes may lie before the end; each read takes some until one finds it.
            self.unfinished.push(number);
        }
    }

    fn accept(&mut self) -> Result<()> {
        for _ in 0..ACCEPTS_PER_WAKE {
            let accepted = epoll::accept(&self.listener).context("a connection could not be accepted")?;
            let Some(socket) = accepted else { break };
            let connection = Connection::new(Link::new(socket), C::begin(&self.terms)?);
            let number = self.free.pop().unwrap_or(self.connections.len() as u32);
            self.epoll.add(connection.link.descriptor(), number.into(), READABLE)?;
            match self.connections.get_mut(number as usize) {
                Some(place) => *place = Some(connection),
                None => self.connections.push(Some(connection)),
            }
        }
        Ok(())
    }

    fn read(&mut self, number: u32) {
        let Some(connection) = present(&mut self.connections, number) else { return };
        match connection.read(number, &mut self.rooms, &mut self.reading, &mut self.desk) {
            Ok(Read::All) => {}
            Ok(Read::Some) => self.unfinished.push(number),
            Ok(Read::End) | Err(_) => return end(connection, number, &mut self.ending),
        }
        watch(connection, number, &self.epoll, &mut self.ending);
    }

    fn catch_up(&mut self, number: u32) {
        let Some(connection) = present(&mut self.connections, number) else { return };
        match connection.link.catch_up(&mut self.desk.budget) {
            Ok(()) => watch(connection, number, &self.epoll, &mut self.ending),
            Err(_) => end(connection, number, &mut self.ending),
        }
    }

    /// Every room says what it has to say, in as few records and sends as it fits.
    fn deliver(&mut self) {
        let Self { epoll, connections, rooms, ending, desk, .. } = self;
        rooms.for_each_due(|room| {
            for member in &room.members {
                let Some(connection) = present(connections, *member) else { continue };
                match connection.send(&room.pending, desk) {
                    Ok(()) => watch(connection, *member, epoll, ending),
                    Err(_) => end(connection, *member, ending),
                }
            }
        });
    }

    fn close_ending(&mut self) {
        for number in self.ending.drain(..) {
            let Some(mut connection) = self.connections[number as usize].take() else { continue };
            connection.link.abandon(&mut self.desk.budget);
            for room in connection.rooms {
                self.rooms.leave(room, number);
            }
            self.free.push(number);
        }
    }
}

#[inline]
fn present<C>(connections: &mut [Option<Connection<C>>], number: u32) -> Option<&mut Connection<C>> {
    connections.get_mut(number as usize)?.as_mut().filter(|connection| !connection.ending)
}

fn end<C>(connection: &mut Connection<C>, number: u32, ending: &mut Vec<u32>) {
    connection.ending = true;
    ending.push(number);
}

/// Asks to hear when the socket is writable exactly while something waits for it.
#[inline]
fn watch<C>(connection: &mut Connection<C>, number: u32, epoll: &Epoll, ending: &mut Vec<u32>) {
    let link = &mut connection.link;
    if link.is_behind() == link.watched {
        return;
    }
    link.watched = link.is_behind();
    let events = if link.watched { READABLE_OR_WRITABLE } else { READABLE };
    if epoll.modify(link.descriptor(), number.into(), events).is_err() {
        end(connection, number, ending);
    }
}
