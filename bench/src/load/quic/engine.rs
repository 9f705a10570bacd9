//! The turn of the load generator: wait, receive, fire timers, publish what is due, send. One thread does it all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::BytesMut;
use quinn_proto::{ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig, VarInt};

use super::connection::Link;
use super::hall::Hall;
use super::session::Stage;
use super::sockets::Sockets;
use super::timers::{NEVER, Timers};
use super::tls::{Configs, configs};
use crate::load::clock::{now_ns, resident_kib};
use crate::plan::Plan;

/// Before the open loop's next publication the thread does not sleep but looks again and again.
const SPIN_NS: u64 = 60_000;
/// Publications between two looks at what arrived.
const PUBLICATIONS_PER_TURN: usize = 256;
/// Packets of one connection that go out in one send.
const SEGMENTS_MAX: usize = 10;
/// How often the server is looked at.
const CHECK_NS: u64 = 250_000_000;

/// All connections of the load.
pub struct Engine {
    pub hall: Hall,
    /// Publications go out when they are due.
    pub publishing: bool,
    /// Slots whose connection became ready, in order.
    pub arrived: Vec<usize>,
    plan: Plan,
    endpoint: Endpoint,
    configs: Configs,
    sockets: Sockets,
    links: Vec<Option<Box<Link>>>,
    /// Slots of each room's publishers, and whose turn it is.
    publishers: Vec<(Vec<usize>, usize)>,
    timers: Timers,
    touched: Vec<usize>,
    /// More publications are due than one turn took.
    behind: bool,
    connected: usize,
    checked_ns: u64,
    /// The same instant on both clocks.
    epoch: (Instant, u64),
    packets: Vec<u8>,
}

impl Engine {
    /// # Errors
    /// The plan's authority can't be read, or the system gives no sockets.
    pub fn new(plan: &Plan) -> Result<Self> {
        // SAFETY: the call takes no pointers. Sleeps then end within microseconds of their time.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        Ok(Self {
            hall: Hall::new(plan)?,
            publishing: false,
            arrived: Vec::new(),
            plan: plan.clone(),
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None),
            configs: configs(plan)?,
            sockets: Sockets::open(plan.address)?,
            links: Vec::new(),
            publishers: vec![(Vec::new(), 0); plan.rooms.len()],
            timers: Timers::default(),
            touched: Vec::new(),
            behind: true,
            connected: 0,
            checked_ns: 0,
            epoch: (Instant::now(), now_ns()),
            packets: Vec::new(),
        })
    }

    /// Begins the connection of a member.
    ///
    /// # Errors
    /// It can't even begin.
    pub fn connect(&mut self, member: usize) -> Result<()> {
        let who = &self.hall.members[member];
        let config = if who.stops { &self.configs.stopping } else { &self.configs.reading };
        let name = self.plan.address.ip().to_string();
        let now = self.instant(now_ns());
        let (at, conn) = self.endpoint.connect(now, config.clone(), self.plan.address, &name)?;
        if who.publishes {
            self.publishers[who.room as usize].0.push(at.0);
        }
        if self.links.len() <= at.0 {
            self.links.resize_with(at.0 + 1, || None);
        }
        let socket = self.connected % self.sockets.count();
        self.connected += 1;
        self.links[at.0] = Some(Box::new(Link::new(conn, socket, member)));
        self.touch(at.0);
        Ok(())
    }

    /// One turn, which sleeps until `until_ns` at most; the time at its end.
    ///
    /// # Errors
    /// The server ends, or something happens that no measured run may meet.
    pub fn turn(&mut self, until_ns: u64) -> Result<u64> {
        self.settle_touched(now_ns())?;
        self.wait(until_ns)?;
        for socket in 0..self.sockets.count() {
            if self.sockets.is_ready(socket) {
                let now = self.receive(socket)?;
                self.settle_touched(now)?;
            }
        }
        let now = now_ns();
        self.fire(now);
        if self.publishing {
            self.publish(now)?;
        }
        self.settle_touched(now)?;
        self.check(now)?;
        Ok(now)
    }

    fn wait(&mut self, until_ns: u64) -> Result<()> {
        let mut at = until_ns.min(self.timers.next()).min(self.checked_ns + CHECK_NS);
        if self.publishing {
            let due = self.hall.pacer.next_ns().unwrap_or(NEVER);
            at = if self.behind { 0 } else { at.min(due.saturating_sub(SPIN_NS)) };
        }
        self.sockets.wait(at.saturating_sub(now_ns()))
    }

    /// Takes one batch of packets; when it came.
    fn receive(&mut self, socket: usize) -> Result<u64> {
        let Self { sockets, endpoint, links, touched, epoch, packets, .. } = self;
        let mut at = 0;
        sockets.receive(socket, |meta, bytes| {
            if at == 0 {
                at = now_ns();
            }
            let now = epoch.0 + Duration::from_nanos(at - epoch.1);
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            let mut bytes = BytesMut::from(bytes);
            while !bytes.is_empty() {
                let packet = bytes.split_to(meta.stride.min(bytes.len()));
                let event = endpoint.handle(now, meta.addr, meta.dst_ip, ecn, packet, packets);
                // A client has no use for connections of others, nor answers to strangers.
                if let Some(DatagramEvent::ConnectionEvent(slot, event)) = event
                    && let Some(link) = links[slot.0].as_mut()
                {
                    link.conn.handle_event(event);
                    if !std::mem::replace(&mut link.touched, true) {
                        touched.push(slot.0);
                    }
                }
                packets.clear();
            }
            Ok(())
        })?;
        Ok(if at == 0 { now_ns() } else { at })
    }

    fn fire(&mut self, now_ns: u64) {
        let now = self.instant(now_ns);
        while let Some((at, slot)) = self.timers.pop(now_ns) {
            let Some(link) = self.links[slot].as_mut().filter(|link| link.armed == at) else { continue };
            link.armed = NEVER;
            link.conn.handle_timeout(now);
            self.touch(slot);
        }
    }

    fn publish(&mut self, now_ns: u64) -> Result<()> {
        for _ in 0..PUBLICATIONS_PER_TURN {
            let Some((room, intended)) = self.hall.pacer.due(&self.hall.tally, now_ns) else {
                self.behind = false;
                return Ok(());
            };
            let (slots, turn) = &mut self.publishers[room as usize];
            *turn = (*turn + 1) % slots.len().max(1);
            let slot = *slots.get(*turn).with_context(|| format!("room {room} has nobody who publishes"))?;
            let link =
                self.links[slot].as_mut().with_context(|| format!("a publisher of room {room} left"))?;
            link.session.publish(&mut self.hall, intended);
            self.touch(slot);
        }
        self.behind = true;
        Ok(())
    }

    fn touch(&mut self, slot: usize) {
        let link = self.links[slot].as_mut().expect("only living connections are touched");
        if !std::mem::replace(&mut link.touched, true) {
            self.touched.push(slot);
        }
    }

    fn settle_touched(&mut self, now_ns: u64) -> Result<()> {
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            self.settle(slot, now_ns)?;
        }
        self.touched = touched;
        Ok(())
    }

    /// Hears what a connection has to say, sends its packets, arms its timer; frees it when it is gone.
    fn settle(&mut self, slot: usize, now_ns: u64) -> Result<()> {
        let now = self.instant(now_ns);
        let Some(link) = self.links[slot].as_mut() else { return Ok(()) };
        link.touched = false;
        let stage = link.session.stage;
        link.settle(&mut self.hall, now_ns)?;
        if stage == Stage::Arriving && link.session.stage == Stage::Ready {
            self.arrived.push(slot);
        }
        while let Some(event) = link.conn.poll_endpoint_events() {
            if let Some(back) = self.endpoint.handle_event(ConnectionHandle(slot), event) {
                link.conn.handle_event(back);
            }
        }
        link.flush()?;
        let segments = self.sockets.segments_max(link.socket).min(SEGMENTS_MAX);
        while let Some(transmit) = link.conn.poll_transmit(now, segments, &mut self.packets) {
            self.sockets.send(link.socket, &transmit, &self.packets[..transmit.size])?;
            self.packets.clear();
        }
        if link.conn.is_drained() {
            self.links[slot] = None;
        } else if let Some(at) = link.conn.poll_timeout() {
            let at = self.epoch.1 + at.saturating_duration_since(self.epoch.0).as_nanos() as u64;
            self.timers.arm(slot, &mut link.armed, at);
        }
        Ok(())
    }

    /// Closes a connection as its user would; its last packet goes out with the next turn.
    pub fn close(&mut self, slot: usize) {
        let now = self.instant(now_ns());
        let Some(link) = self.links[slot].as_mut() else { return };
        link.session.stage = Stage::Over;
        link.conn.close(now, VarInt::from_u32(0), bytes::Bytes::new());
        self.touch(slot);
    }

    /// Closes every connection, so that the server has them off its hands.
    ///
    /// # Errors
    /// The server is gone.
    pub fn close_all(&mut self) -> Result<()> {
        for slot in 0..self.links.len() {
            if self.links[slot].as_ref().is_some_and(|link| link.session.stage != Stage::Over) {
                self.close(slot);
            }
        }
        self.settle_touched(now_ns())
    }

    /// Those that stopped reading and were not cut read on.
    ///
    /// # Errors
    /// The server says something that no measured run may meet.
    pub fn read_on(&mut self) -> Result<()> {
        for slot in 0..self.links.len() {
            let Some(link) = self.links[slot].as_mut() else { continue };
            if self.hall.members[link.session.member].stops && link.session.stage == Stage::Ready {
                link.read_all(&mut self.hall, now_ns())?;
                self.touch(slot);
            }
        }
        Ok(())
    }

    /// Connections that neither side has closed.
    pub fn open(&self) -> usize {
        self.links.iter().flatten().filter(|link| link.session.stage != Stage::Over).count()
    }

    /// Looks now and then whether the server lives.
    fn check(&mut self, now_ns: u64) -> Result<()> {
        if now_ns >= self.checked_ns + CHECK_NS {
            self.checked_ns = now_ns;
            resident_kib(self.plan.server_pid).context("the server ended under load")?;
        }
        Ok(())
    }

    fn instant(&self, ns: u64) -> Instant {
        self.epoch.0 + Duration::from_nanos(ns - self.epoch.1)
    }
}
